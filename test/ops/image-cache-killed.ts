// A process that makes a volume through the image cache of the pool in DIR: another base goes for it. It waits for a line first.

import { once } from 'node:events';
import { bytesSource } from '../../src/bytes/source.ts';
import { openLocalPool } from '../../src/image/local/index.ts';
import { cloneFromCache } from '../../src/ops/image-cache-clone.ts';
import { noise } from '../kit/noise.ts';

const [dir = '', name = '', n = ''] = process.argv.slice(2);
const pool = await openLocalPool(dir);
process.stdout.write('ready\n');
await once(process.stdin, 'data');
const bytes = noise(Number(n), 200_000);
const source = {
  identity: `source ${n}`,
  label: n,
  size: bytes.length,
  open: async () => bytesSource(bytes),
  check: async () => undefined,
};
const volume = { pool: 'volumes', namespace: '', image: name, snap: null };
const options = { maxCount: 1, maxBytes: null, waitMs: 1000, size: 300_000, create: { order: 16 } };
await cloneFromCache(pool, source, volume, options);
await pool.close();
process.exit(0);
