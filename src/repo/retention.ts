// Which points are kept: the rules of a policy, each of which keeps some; what none keeps may go. All times are UTC.

import { RbdeltaError } from '../error.ts';

/** How many of each; 0 or absent: the rule keeps none. */
export interface Policy {
  /** The newest ones. */
  last?: number;
  /** The newest of each of the newest hours (days, …) that have a point. Weeks begin on Monday. */
  hourly?: number;
  daily?: number;
  weekly?: number;
  monthly?: number;
  yearly?: number;
  /** All that are at most this much older than the newest one: when backups have stopped, nothing more goes. */
  withinMs?: number;
  /** Those that have one of these tags. */
  tags?: readonly string[];
}

/** What a rule has to know of a point. */
export interface Candidate {
  id: string;
  createdMs: number;
  tags: readonly string[];
  pinned: boolean;
}

export interface Retained<T> {
  /** Oldest first, each with the rules that keep it: `last`, `daily`, `pinned`, … */
  keep: { point: T; reasons: string[] }[];
  /** Oldest first. */
  remove: T[];
}

/**
 * Splits the points of one image. A pinned one is kept whatever the policy says. Fails with `usage` if the policy has no
 * rule, and with `invalid` if its rules keep no point of these though there are some to go: a tag may be misspelt.
 */
export function retain<T extends Candidate>(points: readonly T[], policy: Policy): Retained<T> {
  checkPolicy(policy);
  const oldestFirst = [...points].sort((a, b) => a.createdMs - b.createdMs || (a.id < b.id ? -1 : 1));
  // The newest by its id: one that a wrong clock has dated into the future must not make all others old.
  const newestMs = points.reduce((newest, point) => (point.id > newest.id ? point : newest), none).createdMs;
  const reasons = new Map<T, string[]>(oldestFirst.map((point) => [point, []]));
  const keep = (point: T, reason: string): void => void reasons.get(point)?.push(reason);

  const newestFirst = oldestFirst.toReversed();
  for (const point of newestFirst.slice(0, policy.last ?? 0)) keep(point, 'last');
  for (const [rule, periodOf] of periods) {
    const seen = new Set<string>();
    for (const point of newestFirst) {
      const period = periodOf(new Date(point.createdMs));
      if (seen.has(period)) continue;
      if (seen.size >= (policy[rule] ?? 0)) break;
      seen.add(period);
      keep(point, rule);
    }
  }
  for (const point of oldestFirst) {
    if (policy.withinMs !== undefined && newestMs - point.createdMs <= policy.withinMs) keep(point, 'within');
    const tag = point.tags.find((one) => policy.tags?.includes(one));
    if (tag !== undefined) keep(point, `tag ${tag}`);
    if (point.pinned) keep(point, 'pinned');
  }
  const kept = [...reasons].filter(([, because]) => because.length > 0);
  const remove = oldestFirst.filter((point) => reasons.get(point)?.length === 0);
  if (remove.length > 0 && kept.every(([, because]) => because.every((reason) => reason === 'pinned'))) {
    throw new RbdeltaError('invalid', 'no rule keeps any point: all that are not pinned would be removed', {
      hint: 'add a rule, as --keep-last 1, or correct the tag; `repo forget` removes points by name',
    });
  }
  return { keep: kept.map(([point, because]) => ({ point, reasons: because })), remove };
}

const none = { id: '', createdMs: 0 };

const periods = [
  ['hourly', (time: Date) => time.toISOString().slice(0, 13)],
  ['daily', (time: Date) => time.toISOString().slice(0, 10)],
  ['weekly', (time: Date) => mondayOf(time)],
  ['monthly', (time: Date) => time.toISOString().slice(0, 7)],
  ['yearly', (time: Date) => time.toISOString().slice(0, 4)],
] as const;

const dayMs = 86_400_000;

const mondayOf = (time: Date): string =>
  new Date(time.getTime() - ((time.getUTCDay() + 6) % 7) * dayMs).toISOString().slice(0, 10);

/** Fails with `usage` if it has no rule. */
export function checkPolicy(policy: Policy): void {
  const counts = [policy.last, policy.hourly, policy.daily, policy.weekly, policy.monthly, policy.yearly];
  const keepsSome = counts.some((count) => (count ?? 0) > 0) || policy.withinMs !== undefined || policy.tags?.length;
  if (keepsSome) return;
  throw new RbdeltaError('usage', 'the policy keeps nothing: every point would be removed', {
    hint: 'name what is to stay, as --keep-daily 7; `repo forget` removes points by name',
  });
}
