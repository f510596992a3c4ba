// A process of its own that clones, writes and flattens, one clone after the other, in the pool in DIR, until it is killed.

import { openLocalPool } from '../../../src/image/local/index.ts';

const objectBytes = 4096;
const base = { pool: 'volumes', namespace: '', image: 'base', snap: 's' };

const pool = await openLocalPool(process.argv[2]!);
process.stdout.write('open\n');
for (let pass = 1; ; pass += 1) {
  const kid = { ...base, image: `kid${pass}`, snap: null };
  await pool.clone(base, kid, { cloneFormat: pass % 2 === 0 ? 1 : 2 });
  const image = await pool.openToWrite(kid);
  const { size } = await image.info();
  await image.createSnapshot('before');
  const word = Buffer.alloc(4);
  word.writeUInt32LE(pass);
  await Promise.all(Array.from({ length: size / objectBytes / 2 }, (_, i) => image.write(2 * i * objectBytes, word)));
  await image.flush();
  process.stdout.write(`flushed ${pass}\n`);
  await image.flatten();
  if (pass % 3 === 0) await image.rollback('before');
  await image.removeSnapshot('before');
  await image.close();
  if (pass > 1) await pool.remove({ ...kid, image: `kid${pass - 1}` });
}
