#!/usr/bin/env node
// Writes the blocks in which two raw disks of the same size differ as a diff stream: the whole format `rbd diff v1`.
//   node blocks-that-differ.mjs BEFORE AFTER FROM-SNAP TO-SNAP | rbdelta import-diff - pool/image

import { readFileSync, writeSync } from 'node:fs';

const [before, after] = process.argv.slice(2, 4).map((path) => readFileSync(path));
const [from, to] = process.argv.slice(4, 6);

const put = (bytes) => {
  for (let done = 0; done < bytes.length; ) done += writeSync(1, bytes, done);
};
const text = (tag, name) => {
  const bytes = Buffer.from(`${tag}....${name}`);
  bytes.writeUInt32LE(bytes.length - 5, 1);
  return bytes;
};
const record = (tag, ...numbers) => {
  const bytes = Buffer.alloc(1 + 8 * numbers.length, tag);
  numbers.forEach((number, i) => bytes.writeBigUInt64LE(BigInt(number), 1 + 8 * i));
  return bytes;
};

put(Buffer.from('rbd diff v1\n'));
put(text('f', from)); //                      this diff is for an image that is as it was at that snapshot …
put(text('t', to)); //                        … and when it is applied, make that snapshot
put(record('s', after.length)); //            the size of the image then
const block = 4096;
for (let offset = 0; offset < after.length; offset += block) {
  const data = after.subarray(offset, offset + block);
  if (data.equals(before.subarray(offset, offset + block))) continue;
  const zero = data.every((byte) => byte === 0);
  put(record(zero ? 'z' : 'w', offset, data.length)); //   z: reads as zeros now; w: the bytes follow
  if (!zero) put(data);
}
put(Buffer.from('e')); //                     whole: a stream without it was cut, and must not count
