import { expect, test } from 'vitest';
import { diffExtents } from '../../src/ops/diff.ts';
import { ModelImage } from '../kit/model-image.ts';

test('diff tells changed extents as they are found, and reads no data', async () => {
  const image = new ModelImage({ size: 20_000 });
  image.snapshot('a');
  image.write(5000, Uint8Array.of(0, 0, 0));
  const found = [];
  for await (const extent of diffExtents(image.open(null), { fromSnap: 'a' })) found.push(extent);
  expect(found).toEqual([{ offset: 4096, length: 907, kind: 'data' }]);
  expect(image.calls.read).toBe(0);
});
