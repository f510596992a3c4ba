import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { type Candidate, type Policy, retain } from '../../src/repo/retention.ts';

const at = (created: string, more: Partial<Candidate> = {}): Candidate => ({
  id: created,
  createdMs: Date.parse(created),
  tags: [],
  pinned: false,
  ...more,
});

const kept = (points: Candidate[], policy: Policy): string[] =>
  retain(points, policy).keep.map(({ point, reasons }) => `${point.id} ${reasons.join(', ')}`);

describe('retain', () => {
  test('the newest of each period, of the newest periods that have one', () => {
    const points = [
      at('2026-01-31T22:00:00Z'),
      at('2026-02-01T03:00:00Z'),
      at('2026-02-01T04:00:00Z'),
      at('2026-02-01T04:30:00Z'),
      at('2026-02-03T04:00:00Z'),
    ];
    expect(kept(points, { daily: 2 })).toEqual(['2026-02-01T04:30:00Z daily', '2026-02-03T04:00:00Z daily']);
    expect(kept(points, { hourly: 3 })).toEqual([
      '2026-02-01T03:00:00Z hourly',
      '2026-02-01T04:30:00Z hourly',
      '2026-02-03T04:00:00Z hourly',
    ]);
    expect(kept(points, { monthly: 9 })).toEqual(['2026-01-31T22:00:00Z monthly', '2026-02-03T04:00:00Z monthly']);
    expect(kept(points, { last: 1, yearly: 1 })).toEqual(['2026-02-03T04:00:00Z last, yearly']);
  });

  test('weeks begin on Monday, also where a year ends inside one', () => {
    const points = [at('2025-12-28T12:00:00Z'), at('2025-12-29T12:00:00Z'), at('2026-01-04T12:00:00Z')];
    expect(kept(points, { weekly: 2 })).toEqual(['2025-12-28T12:00:00Z weekly', '2026-01-04T12:00:00Z weekly']);
  });

  test('within counts from the newest point, not from now', () => {
    const points = [at('2020-01-01T00:00:00Z'), at('2020-01-09T00:00:00Z'), at('2020-01-10T00:00:00Z')];
    expect(kept(points, { withinMs: 86_400_000 })).toEqual([
      '2020-01-09T00:00:00Z within',
      '2020-01-10T00:00:00Z within',
    ]);
  });

  test('a point that a wrong clock has dated into the future makes no others old', () => {
    const wrong = at('2036-01-01T00:00:00Z', { id: '2026-11-03' });
    const points = ['2026-11-01', '2026-11-02', '2026-11-04', '2026-11-05'].map((day) => at(`${day}T03:00:00Z`));
    expect(retain([...points, wrong], { withinMs: 30 * 86_400_000 }).remove).toEqual([]);
    expect(retain([...points, wrong], { daily: 5 }).remove).toEqual([]);
  });

  test('tags and pins keep', () => {
    const points = [
      at('2020-01-01T00:00:00Z', { pinned: true }),
      at('2020-01-02T00:00:00Z', { tags: ['a', 'b'] }),
      at('2020-01-03T00:00:00Z'),
    ];
    const { keep, remove } = retain(points, { tags: ['b'] });
    expect(keep.map(({ reasons }) => reasons)).toEqual([['pinned'], ['tag b']]);
    expect(remove.map(({ id }) => id)).toEqual(['2020-01-03T00:00:00Z']);
  });

  test.each([{}, { last: 0, daily: 0 }, { tags: [] }])('a policy that keeps nothing is refused: %j', (policy) => {
    expect(() => retain([at('2020-01-01T00:00:00Z')], policy)).toThrow('the policy keeps nothing');
  });

  test('rules that keep no point at all are refused, whatever is pinned', () => {
    const points = [at('2020-01-01T00:00:00Z', { pinned: true }), at('2020-01-02T00:00:00Z', { tags: ['monthly'] })];
    expect(() => retain(points, { tags: ['montly'] })).toThrow('no rule keeps any point');
    expect(kept(points, { tags: ['monthly'] })).toHaveLength(2);
    // Nothing would go.
    expect(kept(points.slice(0, 1), { tags: ['montly'] })).toEqual(['2020-01-01T00:00:00Z pinned']);
    expect(kept([], { tags: ['montly'] })).toEqual([]);
  });

  const timeMs = fc.integer({ min: Date.parse('2019-12-01'), max: Date.parse('2021-03-01') });
  const points = fc
    .uniqueArray(timeMs, { maxLength: 60 })
    .map((times) => times.map((ms) => at(new Date(ms).toISOString())));
  const count = fc.integer({ min: 1, max: 8 });

  test('every point is kept or removed, in order, and the newest is always kept', () => {
    fc.assert(
      fc.property(points, fc.record({ last: count, daily: count, weekly: count, yearly: count }), (all, policy) => {
        const { keep, remove } = retain(all, policy);
        const ids = all.map(({ id }) => id).sort();
        expect([...keep.map(({ point }) => point.id), ...remove.map(({ id }) => id)].sort()).toEqual(ids);
        expect(keep.at(-1)?.point.id).toBe(ids.at(-1));
        expect(keep.length).toBeLessThanOrEqual(policy.last + policy.daily + policy.weekly + policy.yearly);
      }),
    );
  });

  test('to prune again removes nothing', () => {
    fc.assert(
      fc.property(points, fc.record({ last: count, hourly: count, monthly: count }), (all, policy) => {
        const once = retain(all, policy).keep.map(({ point }) => point);
        expect(retain(once, policy).remove).toEqual([]);
      }),
    );
  });
});
