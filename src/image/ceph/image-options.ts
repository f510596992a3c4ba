// The options of a new image, handed to librbd.

import { printable } from '../../bytes/text.ts';
import type { CloneOptions, DeepCopyOptions } from '../port.ts';
import { type Connection, cName } from './connection.ts';
import { check } from './errno.ts';
import type { Pointer } from './native.ts';

/** RBD_IMAGE_OPTION_* of librbd.h */
const option = {
  format: 0,
  features: 1,
  order: 2,
  stripeUnit: 3,
  stripeCount: 4,
  journalOrder: 5,
  journalSplayWidth: 6,
  journalPool: 7,
  dataPool: 10,
  flatten: 11,
  cloneFormat: 12,
  mirrorMode: 13,
} as const;

/** RBD_MIRROR_IMAGE_MODE_* */
const mirrorModes = { journal: 0, snapshot: 1 } as const;

/** Calls with librbd's own form of the options, which is gone afterwards. */
export async function withImageOptions<T>(
  connection: Connection,
  label: string,
  options: CloneOptions & Partial<Pick<DeepCopyOptions, 'flatten'>>,
  use: (options: Pointer) => Promise<T>,
): Promise<T> {
  const { native } = connection;
  const out: [Pointer | null] = [null];
  native.call('rbd_image_options_create', out);
  const opts = out[0]!;
  try {
    const set = (name: keyof typeof option, value: number | undefined) => {
      if (value === undefined) return;
      check(
        native.call('rbd_image_options_set_uint64', opts, option[name], value),
        `make ${label} with ${name} ${value}`,
      );
    };
    set('format', 2);
    set('order', options.order);
    set('features', options.features);
    set('stripeUnit', options.stripeUnit);
    set('stripeCount', options.stripeCount);
    set('cloneFormat', options.cloneFormat);
    set('flatten', options.flatten === true ? 1 : undefined);
    set('journalOrder', options.journal?.order);
    set('journalSplayWidth', options.journal?.splayWidth);
    set('mirrorMode', options.mirrorMode && mirrorModes[options.mirrorMode]);
    const setPool = async (name: 'dataPool' | 'journalPool', pool: string | undefined) => {
      if (pool === undefined) return;
      // librbd's answer to a pool that is not there does not say which one.
      await connection.io(pool, '');
      const result = native.call('rbd_image_options_set_string', opts, option[name], cName(pool, 'pool'));
      check(result, `make ${label} with ${name} ${printable(pool)}`);
    };
    await setPool('dataPool', options.dataPool);
    await setPool('journalPool', options.journal?.pool);
    return await use(opts);
  } finally {
    native.call('rbd_image_options_destroy', opts);
  }
}
