// A process of its own that writes objects to an image of the pool in DIR, eight at once, until the quota refuses each:
// `quota-writer.ts DIR IMAGE`. It waits for a line first; tells how many writes were acknowledged.

import { once } from 'node:events';
import { RbdeltaError } from '../../../src/error.ts';
import { openLocalPool } from '../../../src/image/local/index.ts';

const objectBytes = 4096;
const [dir = '', name = ''] = process.argv.slice(2);
const pool = await openLocalPool(dir);
const image = await pool.openToWrite({ pool: 'volumes', namespace: '', image: name, snap: null });
process.stdout.write('ready\n');
await once(process.stdin, 'data');
let acknowledged = 0;
let next = 0;
await Promise.all(
  Array.from({ length: 8 }, async () => {
    try {
      for (;;) {
        await image.write(next++ * objectBytes, Buffer.alloc(objectBytes, 1));
        acknowledged += 1;
      }
    } catch (error) {
      if (!(error instanceof RbdeltaError && error.code === 'quota')) throw error;
    }
  }),
);
await image.close();
await pool.close();
process.stdout.write(`${acknowledged}\n`);
process.exit(0);
