// How a person names a point: by its id, or as image@when. All times are UTC.

import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { rawFile, type ImageName, isPointId, textOf } from './keys.ts';

/** What a text says; `image` is null for a bare id. `pool` is null where the text leaves it out. */
export interface PointSpec {
  image: { pool: string | null; namespace: string | null; image: string } | null;
  /** An id, `latest`, a day or time, an age, or the name of a snapshot. */
  when: string;
}

/** What has to be known of a point to find it. */
export interface FoundPoint {
  id: string;
  snapshot: string;
  createdMs: number;
}

const form = /^(?:(?<pool>[^/@]+)\/)?(?:(?<namespace>[^/@]+)\/)?(?<image>[^/@]+)@(?<when>.+)$/su;

const hint =
  'write it as pool/image@latest, image@2026-11-20, image@3d, image@SNAPSHOT, file:PATH@latest, or as the id of a point';

/** `usage` for what is no name of a point. */
export function parsePointSpec(text: string): PointSpec {
  if (isPointId(text)) return { image: null, when: text };
  const [, path, ofFile] = /^(file:.+)@([^@]+)$/su.exec(text) ?? [];
  if (path !== undefined && ofFile !== undefined) return { image: rawFile(path), when: ofFile };
  const { pool, namespace, image, when } = form.exec(text)?.groups ?? {};
  if (image === undefined || when === undefined)
    throw new RbdeltaError('usage', `"${printable(text)}" does not name a point`, { hint });
  return { image: { pool: pool ?? null, namespace: namespace ?? null, image }, when };
}

/** The images that the spec may mean. */
export const imagesOf = ({ image: named }: PointSpec, images: readonly ImageName[]): ImageName[] =>
  images.filter(
    ({ pool, namespace, image }) =>
      named === null ||
      (named.image === image &&
        (named.pool === null || named.pool === pool) &&
        // pool/image means the default namespace; a bare image any, if there is only one
        (named.pool === null || (named.namespace ?? '') === namespace)),
  );

/** The one image that is meant: `notFound` where there is none, `invalid` where there are several. */
export function theImage(spec: PointSpec & { image: object }, images: readonly ImageName[], where: string): ImageName {
  const found = imagesOf(spec, images);
  if (found[0] !== undefined && found.length === 1) return found[0];
  const name = printable(spec.image.image);
  if (found.length > 1) {
    const names = found.slice(0, 5).map((one) => printable(textOf(one)));
    throw new RbdeltaError('invalid', `${found.length} images in ${where} are called "${name}"`, {
      hint: `name the pool: ${names.join(', ')}`,
    });
  }
  throw new RbdeltaError('notFound', `there is no backup of "${name}" in ${where}`, {
    hint: 'rbdelta repo list shows what there is',
  });
}

/**
 * The point of one image that `when` names, of its points oldest first:
 * - an id, or the name of a snapshot (the newest of that name)
 * - `latest`
 * - `2026-11-20`, `2026-11-20T13:05`: the newest that was made before the end of that day, minute or second (by the time
 *   of its snapshot: one that was backed up late is as old as that)
 * - `3d`, `12h`, `90m`, `2w`, `1y`: the newest that is at least that old
 * `notFound` with what there is instead.
 */
export function pointAt<T extends FoundPoint>(points: readonly T[], when: string, nowMs: number, image: string): T {
  const newest = (fits: (point: T) => boolean): T | undefined => points.findLast(fits);
  const found =
    newest(({ id }) => id === when) ??
    newest(({ snapshot }) => snapshot === when) ??
    (when === 'latest' ? points.at(-1) : undefined);
  if (found !== undefined) return found;
  const untilMs = endOfTime(when) ?? ageMs(when, nowMs);
  if (untilMs !== null) {
    const before = points
      .toSorted((a, b) => a.createdMs - b.createdMs)
      .findLast(({ createdMs }) => createdMs <= untilMs);
    if (before !== undefined) return before;
    const oldest = points[0];
    throw new RbdeltaError('notFound', `${image} has no point that is as old as ${printable(when)}`, {
      hint: oldest === undefined ? 'it has none at all' : `its oldest one is ${oldest.id}`,
    });
  }
  const ids = points.slice(-3).map(({ id }) => id);
  throw new RbdeltaError('notFound', `${image} has no point "${printable(when)}"`, {
    hint: ids.length === 0 ? 'it has none at all' : `its newest ones: ${ids.join(', ')}`,
  });
}

const timeForm = /^(\d{4}-\d\d-\d\d)(?:[T ](\d\d:\d\d)(?::(\d\d))?Z?)?$/;

/** The last ms of the day, minute or second that the text names; null for any other text. */
function endOfTime(text: string): number | null {
  const [, day, minute, second] = timeForm.exec(text) ?? [];
  if (day === undefined) return null;
  const start = Date.parse(`${day}T${minute ?? '00:00'}:${second ?? '00'}Z`);
  if (Number.isNaN(start)) throw new RbdeltaError('usage', `"${text}" is not a day or time`, { hint });
  const lengthMs = minute === undefined ? unitMs['d']! : second === undefined ? unitMs['m']! : 1000;
  return start + lengthMs - 1;
}

const unitMs: Record<string, number> = {
  s: 1000,
  m: 60_000,
  h: 3_600_000,
  d: 86_400_000,
  w: 7 * 86_400_000,
  y: 365 * 86_400_000,
};

function ageMs(text: string, nowMs: number): number | null {
  const duration = durationMs(text);
  return duration === null ? null : nowMs - duration;
}

/** `90m`, `12h`, `3d`, `2w`, `1y`; null for any other text. */
export function durationMs(text: string): number | null {
  const [, count, unit] = /^(\d{1,6})([smhdwy])$/.exec(text) ?? [];
  return count === undefined || unit === undefined ? null : Number(count) * unitMs[unit]!;
}
