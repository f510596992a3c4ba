// For directory.test.ts: writes more than it may, or where it may not; says how it failed.

import { RbdeltaError } from '../../src/error.ts';
import { openDirectoryStore } from '../../src/store/directory.ts';

const store = await openDirectoryStore(process.argv[2]!);
try {
  await store.write('a/large', [Buffer.alloc(1 << 20)], { maxBytes: 1 << 20 });
} catch (error) {
  if (!(error instanceof RbdeltaError)) throw error;
  console.log(JSON.stringify({ code: error.code, message: error.message }));
}
