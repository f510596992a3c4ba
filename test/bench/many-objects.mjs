// Folds the object maps of an image with very many objects (argument) and 8 snapshots, simulated: all that a diff does
// before it asks for any data. Prints {"seconds"}, without the time to make the maps up. Runs the built code.

import { encodeObjectMap } from '../../dist/format/object-map.js';
import { foldMaps } from '../../dist/ops/fold-maps.js';

const count = Number(process.argv[2]);
const order = 22;

/** Mostly unchanged data, and every so often an object that was written, deleted, or is not there. */
const map = (seed) => {
  const states = Buffer.alloc(Math.ceil(count / 4), 0xff);
  for (let at = seed; at < states.length; at += 997) states[at] = (at * seed) & 0xff;
  return encodeObjectMap(count, states);
};
const stored = [map(3), map(5)];

const snapshots = Array.from({ length: 8 }, (_, i) => ({
  id: i + 1,
  name: `s${i + 1}`,
  size: count * 2 ** order,
  protection: 'unprotected',
  flags: 0,
  namespace: 'user',
  createdMs: null,
  parentOverlap: null,
}));
const info = {
  id: '1',
  name: 'simulated',
  pool: '',
  namespace: '',
  format: 2,
  size: count * 2 ** order,
  order,
  stripeUnit: 2 ** order,
  stripeCount: 1,
  features: 0x3d,
  opFeatures: 0,
  flags: 0,
  objectPrefix: 'rbd_data.1',
  dataPool: null,
  parent: null,
  snapshots,
  snapshot: null,
};
const image = { kind: 'local', info: async () => info, objectMap: async (id) => stored[(id ?? 0) % 2] };

const begin = performance.now();
const folded = await foldMaps(image, info, snapshots[0]);
if (folded.outcome !== 'maps') throw new Error(JSON.stringify(folded));
const changed = folded.fold.changedCount();
const seconds = (performance.now() - begin) / 1000;
if (changed.data === 0) throw new Error('nothing changed');
console.log(JSON.stringify({ seconds, changed }));
