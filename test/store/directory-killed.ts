// For directory.test.ts: is killed in the middle of an object.

import { openDirectoryStore } from '../../src/store/directory.ts';

const store = await openDirectoryStore(process.argv[2]!);
const pieces = function* (): Generator<Uint8Array> {
  yield Buffer.alloc(1000);
  process.kill(process.pid, 'SIGKILL');
  yield Buffer.alloc(1000);
};
await store.write('p/i/object', pieces(), { maxBytes: 1 << 20 });
