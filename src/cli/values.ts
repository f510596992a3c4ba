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

/** More than 0, at most 100; a fraction will do. */
export const percentFrom = (text: string): number | null => {
  const percent = /^\d{1,3}(?:\.\d+)?$/u.test(text) ? Number(text) : 0;
  return percent > 0 && percent <= 100 ? percent : null;
};

/** A part of a whole; whether it is from 0 to 1 is for others to say. */
export const shareFrom = (text: string): number | null =>
  /^[+-]?(?:\d+\.?\d*|\.\d+)$/u.test(text) ? Number(text) : null;

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

const unitMs: Record<string, number> = {
  second: 1e3,
  sec: 1e3,
  minute: 6e4,
  min: 6e4,
  hour: 36e5,
  day: 864e5,
  week: 6048e5,
};

/** A time, in ms since the epoch: `now`, `tomorrow`, `7 days`, `2026-12-24`, `2026-12-24 18:00`; local where no zone is said. */
export function timeFrom(text: string, nowMs: number = Date.now()): number | null {
  if (text === 'now') return nowMs;
  if (text === 'tomorrow') return nowMs + 864e5;
  const relative = /^\+?(\d{1,6})\s*([a-z]+?)s?$/u.exec(text);
  const unit = unitMs[relative?.[2] ?? ''];
  if (relative !== null && unit !== undefined) return nowMs + Number(relative[1]) * unit;
  const parsed = Date.parse(/^\d{4}-\d{2}-\d{2}$/u.test(text) ? `${text}T00:00` : text);
  return Number.isNaN(parsed) ? null : parsed;
}

export const oneOf =
  <T extends string>(...allowed: readonly T[]) =>
  (text: string): T | null =>
    allowed.find((one) => one === text) ?? null;
