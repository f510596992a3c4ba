// A process for the tests: imports its standard input into rbd/target of a local pool, and is killed on the way.

import { ByteReader } from '../../src/bytes/reader.ts';
import { fdSource } from '../../src/bytes/source.ts';
import { openLocalPool } from '../../src/image/local/index.ts';
import { importDiff } from '../../src/ops/import-diff.ts';

const pool = await openLocalPool(process.argv[2] ?? '');
const spec = { pool: 'rbd', namespace: '', image: 'target', snap: null };
const image = await pool.openToWrite(spec);

const watched: typeof image = {
  ...image,
  // After the last byte and before the end snapshot: the worst moment.
  async flush() {
    await image.flush();
    process.kill(process.pid, 'SIGKILL');
  },
};
await importDiff(watched, (snap) => pool.open({ ...spec, snap }), new ByteReader(fdSource(0)));
throw new Error('it should have been killed');
