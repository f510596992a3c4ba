// What was written once is restored for ever: a repository of format 1, which was made without rbdelta.

import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { images, readPoints } from '../../src/repo/catalog.ts';
import { openRepository } from '../../src/repo/repository.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';
import { stateOf } from '../kit/chain-state.ts';

const vectors = new URL('../../formats/repository/vectors/', import.meta.url);
const told = JSON.parse(readFileSync(new URL('two-points.json', vectors), 'utf8')) as {
  point: string;
  imageSha256: string;
}[];

test('format 1: two points, one on the other', async () => {
  const store = await openDirectoryStore(fileURLToPath(new URL('two-points', vectors)));
  const repository = await openRepository(store);
  const found = [];
  for await (const image of images(repository)) found.push(image);
  expect(found).toEqual([{ pool: 'volumes', namespace: 'tenant', image: 'vm 1' }]);
  const image = found[0]!;
  expect((await readPoints(repository, image)).map(({ id }) => id)).toEqual(told.map(({ point }) => point));
  for (const { point, imageSha256 } of told) {
    const { content, fingerprint, proven } = await stateOf(repository, image, point);
    const sha256 = createHash('sha256').update(content).digest('hex');
    expect({ point, sha256, proven }).toEqual({ point, sha256: imageSha256, proven: fingerprint });
  }
  await store.close();
});
