// For tests of faults. `DIR OPERATION kill N` dies at the N-th moment that leaves something new. `DIR OPERATION copy TO`
// copies, at each of them, what a death would leave, to TO/1, TO/2, …. `DIR OPERATION run` lives, and says how it ended.

import { cpSync, mkdirSync } from 'node:fs';
import { RbdeltaError } from '../../src/error.ts';
import type { AtMoment } from '../kit/faulty-store.ts';
import { openFaultWorld, type Operation, operations } from '../kit/fault-world.ts';

const [dir = '', operation = '', mode = '', argument = ''] = process.argv.slice(2);
let count = 0;
const at: AtMoment = ({ what, key, changed }) => {
  if (!changed || mode === 'run') return;
  count += 1;
  if (mode === 'copy') {
    const to = `${argument}/${count}`;
    mkdirSync(to, { recursive: true });
    cpSync(dir, to, { recursive: true });
    console.log(`${count} ${what} ${key}`);
  } else if (count === Number(argument)) {
    process.kill(process.pid, 'SIGKILL');
  }
};
const world = await openFaultWorld(dir, at);
try {
  await operations[operation as Operation](world);
  if (mode === 'run') console.log('done');
} catch (error) {
  if (mode !== 'run' || !(error instanceof RbdeltaError)) throw error;
  console.log(error.code);
} finally {
  await world.close();
}
