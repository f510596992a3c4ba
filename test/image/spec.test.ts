import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { formatSpec, parseSpec } from '../../src/image/spec.ts';

const inRbd = (text: string) => parseSpec(text, { pool: 'rbd' });
const made = (text: string) => parseSpec(text, { pool: 'rbd' }, 'new');

describe('a spec', () => {
  test.each([
    ['vm', { pool: 'rbd', namespace: '', image: 'vm', snap: null }],
    ['vm@mon', { pool: 'rbd', namespace: '', image: 'vm', snap: 'mon' }],
    ['volumes/vm', { pool: 'volumes', namespace: '', image: 'vm', snap: null }],
    ['volumes/tenant/vm@mon', { pool: 'volumes', namespace: 'tenant', image: 'vm', snap: 'mon' }],
  ])('%s is read as rbd reads it', (text, spec) => {
    expect(inRbd(text)).toEqual(spec);
    expect(made(text)).toEqual(spec);
  });

  test.each([
    ['vm@a@b', { image: 'vm', snap: 'a@b' }],
    ['vm@a/b', { pool: 'vm@a', image: 'b', snap: null }],
    ['p/n/vm/x', { pool: 'p', namespace: 'n', image: 'vm/x' }],
    ['p//vm', { pool: 'p', namespace: '', image: '/vm' }],
    ['p/', { pool: 'rbd', image: 'p/' }],
    ['snow\u{2603}@\udc80', { image: 'snow\u{2603}', snap: '\udc80' }],
  ])('%j names what exists, however strange, as it does for rbd', (text, spec) => {
    expect(inRbd(text)).toMatchObject(spec);
  });

  test.each(['', '@', '@snap', 'vm@'])('%j is refused', (text) => {
    expect(() => inRbd(text)).toThrow(expect.objectContaining({ code: 'invalid' }));
  });

  test.each(['p//vm', 'p/n/vm/x', 'vm@a@b', 'vm@a/b', 'p@q/vm'])('%j cannot be made', (text) => {
    expect(() => made(text)).toThrow(expect.objectContaining({ code: 'invalid' }));
  });

  test('a snapshot is made strictly, of an image that is named loosely', () => {
    expect(parseSpec('p/n/vm/x@s', { pool: 'rbd' }, 'newSnap')).toMatchObject({ image: 'vm/x', snap: 's' });
    expect(() => parseSpec('vm@a@b', { pool: 'rbd' }, 'newSnap')).toThrow(expect.objectContaining({ code: 'invalid' }));
  });

  test('what is left out comes from the defaults', () => {
    expect(parseSpec('vm', { pool: 'volumes', namespace: 'n' })).toMatchObject({ pool: 'volumes', namespace: 'n' });
  });

  test('reading what was written gives the same names', () => {
    const name = fc
      .string({ minLength: 1, maxLength: 20, unit: 'binary' })
      .map((text) => text.replaceAll(/[@/]/gu, '.'));
    const spec = fc.record(
      { pool: name, namespace: fc.oneof(fc.constant(''), name), image: name, snap: fc.option(name) },
      { noNullPrototype: true },
    );
    fc.assert(
      fc.property(spec, (one) => {
        expect(inRbd(formatSpec(one))).toEqual(one);
        expect(made(formatSpec(one))).toEqual(one);
      }),
    );
  });
});
