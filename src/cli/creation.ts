// The options of a new image, as rbd's create and import take them.

import { RbdeltaError } from '../error.ts';
import { defaultFeatures, feature, featureOfName } from '../format/rbd-features.ts';
import type { CreateOptions } from '../image/port.ts';
import { type Args, invalidValue } from './args.ts';
import type { Call } from './command.ts';
import { journalObjectSizeFrom, oneOf, orderFrom, orderOfObjectSize, sizeFrom, wholeNumberFrom } from './values.ts';

/** Only one client may write such an image: what `--image-shared` does without. */
const singleClient = feature.exclusiveLock | feature.objectMap | feature.fastDiff | feature.journaling;

/** Features that can be asked for by name; the others come from what else is asked for. */
const selectable =
  feature.layering |
  feature.striping |
  feature.exclusiveLock |
  feature.objectMap |
  feature.fastDiff |
  feature.deepFlatten |
  feature.journaling;

export function creationFrom({ args, notice }: Call): Omit<CreateOptions, 'size'> {
  const mirrorMode = args.value('mirror-image-mode', oneOf('journal', 'snapshot'));
  const format = args.value('image-format', oneOf('1', '2'));
  if (format === '1') throw new RbdeltaError('invalid', 'images of format 1 can no longer be made');
  if (args.has('new-format')) notice('--new-format is deprecated: it is the default');
  if (args.has('order')) notice('--order is deprecated, use --object-size');

  const order = args.value('object-size', orderOfObjectSize) ?? args.value('order', orderFrom);
  // 0 of either is as good as not said.
  const stripeUnit = args.value('stripe-unit', sizeFrom) || null;
  const stripeCount = args.value('stripe-count', wholeNumberFrom) || null;
  if ((stripeUnit === null) !== (stripeCount === null)) {
    throw new RbdeltaError('invalid', 'must specify both (or neither) of --stripe-unit and --stripe-count');
  }
  const features = featuresFrom(args.texts('image-feature'), args.has('image-shared'));
  const dataPool = args.text('data-pool');
  return {
    ...(order === null ? {} : { order }),
    ...(stripeUnit === null ? {} : { stripeUnit }),
    ...(stripeCount === null ? {} : { stripeCount }),
    ...(features === null ? {} : { features }),
    ...(dataPool === null ? {} : { dataPool }),
    ...(mirrorMode === null ? {} : { mirrorMode }),
    journal: journalFrom(args),
  };
}

function journalFrom(args: Args): NonNullable<CreateOptions['journal']> {
  const splayWidth = args.value('journal-splay-width', wholeNumberFrom);
  const size = args.value('journal-object-size', journalObjectSizeFrom);
  const pool = args.text('journal-pool');
  return {
    ...(splayWidth === null ? {} : { splayWidth }),
    // rbd rounds up, though it rounded to the nearest to see whether the size will do.
    ...(size === null ? {} : { order: Math.max(12, Math.ceil(Math.log2(size))) }),
    ...(pool === null ? {} : { pool }),
  };
}

/** Bits; null leaves them to the cluster. */
function featuresFrom(lists: readonly string[], shared: boolean): number | null {
  const names = lists.flatMap((list) => list.split(','));
  if (names.length === 0) return shared ? defaultFeatures & ~singleClient : null;
  let features = 0;
  for (const name of names) {
    const bit = featureOfName(name);
    if (bit === null || (bit & selectable) === 0) {
      throw invalidValue('image-feature', name);
    }
    features |= bit;
  }
  // rbd has one switch for the two.
  if (features & feature.objectMap) features |= feature.fastDiff;
  return shared ? features & ~singleClient : features;
}
