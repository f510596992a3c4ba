// The bits of an RBD image: features, flags, operations. Spec: formats/rbd-header/spec.md

/** Bits of `features`. */
export const feature = {
  layering: 0x1,
  striping: 0x2,
  exclusiveLock: 0x4,
  objectMap: 0x8,
  fastDiff: 0x10,
  deepFlatten: 0x20,
  journaling: 0x40,
  dataPool: 0x80,
  operations: 0x100,
  migrating: 0x200,
  nonPrimary: 0x400,
  dirtyCache: 0x800,
} as const;

/** What `rbd create` sets when nothing else is asked for: layering, exclusive-lock, object-map, fast-diff, deep-flatten. */
export const defaultFeatures = 0x3d;

/** Bits of `flags`, of the head and of each snapshot. */
export const flag = { objectMapInvalid: 0x1, fastDiffInvalid: 0x2 } as const;

/** Bits of `op_features`. */
export const opFeature = { cloneParent: 0x1, cloneChild: 0x2, group: 0x4, snapTrash: 0x8 } as const;

const featureNames = [
  'layering',
  'striping',
  'exclusive-lock',
  'object-map',
  'fast-diff',
  'deep-flatten',
  'journaling',
  'data-pool',
  'operations',
  'migrating',
  'non-primary',
  'dirty-cache',
];
const flagNames = ['object map invalid', 'fast diff invalid'];
const opFeatureNames = ['clone-parent', 'clone-child', 'group', 'snap-trash'];

/** Names as `rbd info` prints them, by rising bit; a bit without a name is `unknown-<bit>`. */
export const namesOfFeatures = (features: number): string[] => names(features, featureNames);
export const namesOfFlags = (flags: number): string[] => names(flags, flagNames);
export const namesOfOpFeatures = (opFeatures: number): string[] => names(opFeatures, opFeatureNames);

/** The bit of a feature that is named as rbd names it; null for a name that there is not. */
export const featureOfName = (name: string): number | null => {
  const bit = featureNames.indexOf(name);
  return bit < 0 ? null : 2 ** bit;
};

/** Bits as numbers go up to 2^53 - 1: divided, not shifted. */
const names = (bits: number, known: readonly string[]): string[] => {
  const found: string[] = [];
  for (let bit = 0, left = bits; left >= 1; bit++, left = Math.floor(left / 2)) {
    if (left % 2 === 1) found.push(known[bit] ?? `unknown-${bit}`);
  }
  return found;
};
