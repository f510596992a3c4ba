#!/usr/bin/env node
// The library: what changed in an image between two snapshots, and the same as a stream that `rbd import-diff` takes.
//   node library.mjs LOCAL-POOL-DIRECTORY pool/image@new OLD [FILE]
// With a Ceph, `await connectCeph()` in the place of `await openLocalPool(directory)`; the rest is the same.

import { createFileSink, diffExtents, exportDiff, openLocalPool, parseSpec } from 'rbdelta';

const [directory, spec, old, file] = process.argv.slice(2);
const cluster = await openLocalPool(directory);
try {
  const image = await cluster.open(parseSpec(spec, { pool: 'rbd' }));
  const sum = { data: 0, zero: 0 };
  for await (const { offset, length, kind } of diffExtents(image, { fromSnap: old })) {
    console.log(`${kind} ${offset}~${length}`);
    sum[kind] += length;
  }
  console.log(`${sum.data} bytes may have changed, ${sum.zero} bytes became zeros`);
  if (file !== undefined) {
    const { method, streamBytes } = await exportDiff(image, () => createFileSink(file), { fromSnap: old });
    console.log(`${file}: ${streamBytes} bytes, found by ${method}`);
  }
  await image.close();
} finally {
  await cluster.close();
}
