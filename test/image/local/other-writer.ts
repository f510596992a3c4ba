// A process of its own that writes to image volumes/disk of the pool in DIR; tells on stdout how far it is.

import { openLocalPool } from '../../../src/image/local/index.ts';

const objectBytes = 4096;
const objects = 64;

const [dir, what] = process.argv.slice(2);
const pool = await openLocalPool(dir!);
const image = await pool.openToWrite({ pool: 'volumes', namespace: '', image: 'disk', snap: null });
if (what === 'write') await image.write(0, Buffer.alloc(2 * objectBytes, 'b'));
process.stdout.write('open\n');
if (what === 'churn') {
  for (let pass = 1; ; pass += 1) {
    const data = Buffer.alloc(objectBytes);
    for (let at = 0; at < objectBytes; at += 4) data.writeUInt32LE(pass, at);
    await Promise.all(Array.from({ length: objects }, (_, object) => image.write(object * objectBytes, data)));
    if (pass % 2 === 0) await image.flush();
    else await image.createSnapshot(String(pass));
    process.stdout.write(`flushed ${pass}\n`);
    if (pass % 10 === 5) await image.removeSnapshot(String(pass - 2));
  }
}
setInterval(() => {}, 60_000);
