// Values of options as text: sizes, features, levels. Each gives null for what it does not understand.

/** Numbers of bytes as rbd reads them: `4096`, `10G`, `10GB`, `10Gi`; a bare number is in units of `bare` bytes. */
export function sizeFrom(text: string, bare = 1): number | null {
  const match = /^\+?(\d+)(?:([BKMGTPE])[Bi]?)?$/u.exec(text);
  if (match === null) return null;
  const unit = match[2] === undefined ? bare : 1024 ** 'BKMGTPE'.indexOf(match[2]);
  const size = Number(match[1]) * unit;
  return Number.isSafeInteger(size) ? size : null;
}

/** The size of an image: a bare number is in MiB. */
export const imageSizeFrom = (text: string): number | null => sizeFrom(text, 1 << 20);

export const countFrom = (text: string): number | null => {
  const count = /^\d{1,9}$/u.test(text) ? Number(text) : 0;
  return count > 0 ? count : null;
};

export const wholeNumberFrom = (text: string): number | null => (/^\d{1,15}$/u.test(text) ? Number(text) : null);

export const rateFrom = (text: string): number | null => sizeFrom(text) || null;

/** Seconds (a fraction will do) as milliseconds. */
export const millisecondsFrom = (text: string): number | null => {
  const ms = /^\d{1,7}(?:\.\d+)?$/u.test(text) ? Math.ceil(Number(text) * 1000) : 0;
  return ms > 0 ? ms : null;
};

export const orderFrom = (text: string): number | null => {
  const order = countFrom(text);
  return order !== null && order >= 12 && order <= 25 ? order : null;
};

/** An object size becomes the nearest power of two, as in rbd. */
export const orderOfObjectSize = (text: string): number | null => {
  const size = sizeFrom(text);
  const order = size === null || size === 0 ? 0 : Math.round(Math.log2(size));
  return order >= 12 && order <= 25 ? order : null;
};

/** From 4K to 64M once it is rounded to a power of two, as rbd bounds the objects of a journal. */
export const journalObjectSizeFrom = (text: string): number | null => {
  const size = sizeFrom(text);
  const order = size === null || size === 0 ? 0 : Math.round(Math.log2(size));
  return order >= 12 && order <= 26 ? size : null;
};

export const oneOf =
  <T extends string>(...allowed: readonly T[]) =>
  (text: string): T | null =>
    allowed.find((one) => one === text) ?? null;
