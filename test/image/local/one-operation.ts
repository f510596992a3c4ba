// A process that does one operation to the family of images in DIR: `one-operation.ts DIR NAME`. It waits for a line first.

import { once } from 'node:events';
import { openLocalPool } from '../../../src/image/local/index.ts';
import { operations } from './family.ts';

const [dir = '', name = ''] = process.argv.slice(2);
const pool = await openLocalPool(dir);
// whatever is loaded only when it is needed is loaded by now
await (await pool.openToWrite({ pool: 'volumes', namespace: '', image: 'warm', snap: null })).close();
process.stdout.write('ready\n');
await once(process.stdin, 'data');
await operations[name]!.run(pool);
await pool.close();
process.exit(0);
