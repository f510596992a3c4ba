// The snapshot that a new image is made a clone of, when an import finds or is told one.

import { closing } from '../bytes/closing.ts';
import { printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { feature } from '../format/rbd-features.ts';
import type { ParentNote } from '../format/rbd-image-parent.ts';
import type { CloneOptions, Cluster, CreateOptions, Image, WritableImage } from '../image/port.ts';
import { formatSpec, type ImageSpec } from '../image/spec.ts';
import { samplesOf } from './parent-note.ts';

/** A parent, opened. */
export interface Base {
  spec: ImageSpec;
  image: Image;
  /** How much of it the new image shows, at most. */
  overlap: number;
  /** As the clone was before; null: as the cluster makes them. */
  cloneFormat: 1 | 2 | null;
}

/** The parent that was asked for by name, opened. */
export async function openBase(cluster: Cluster, spec: ImageSpec, note: ParentNote | null): Promise<Base> {
  if (spec.snap === null) throw new RbdeltaError('invalid', 'a parent is a snapshot: name it as image@snap');
  const image = await cluster.open(spec);
  return { spec, image, overlap: overlapOf((await image.info()).size, note), cloneFormat: note?.cloneFormat ?? null };
}

/**
 * The snapshot that the note tells of: where it was, or in the pool of the new image. null, with a notice, where none of
 * that name has its size and samples.
 */
export async function findBase(
  cluster: Cluster,
  note: ParentNote,
  target: ImageSpec,
  onNotice: (text: string) => void = () => {},
): Promise<Base | null> {
  const { image, snap } = note;
  const there = { pool: note.pool, namespace: note.namespace, image, snap };
  const beside = { pool: target.pool, namespace: target.namespace, image, snap };
  const places = formatSpec(there) === formatSpec(beside) ? [there] : [there, beside];
  let other: ImageSpec | null = null;
  for (const spec of places) {
    const opened = await cluster.open(spec).catch((error: unknown) => {
      if (error instanceof RbdeltaError && ['notFound', 'permission'].includes(error.code)) return null;
      throw error;
    });
    if (opened === null) continue;
    try {
      if (await isSame(opened, note))
        return { spec, image: opened, overlap: overlapOf(note.size, note), cloneFormat: note.cloneFormat };
    } catch (error) {
      await opened.close();
      throw error;
    }
    other = spec;
    await opened.close();
  }
  const name = printable(formatSpec(other ?? there));
  const why = other === null ? 'is not here' : 'is another one here';
  onNotice(`the image was a clone of ${name}, which ${why}: it becomes one of its own (--parent names a parent)`);
  return null;
}

async function isSame(image: Image, note: ParentNote): Promise<boolean> {
  const { size, features } = await image.info();
  return size === note.size && (features & feature.layering) !== 0 && (await samplesOf(image)) === note.samples;
}

const overlapOf = (size: number, note: ParentNote | null): number => Math.min(size, note?.overlap ?? size);

/** Makes the clone, as `create` has it where that says something. */
export async function createClone(
  cluster: Cluster,
  base: Base,
  child: ImageSpec,
  create: Omit<CreateOptions, 'size'>,
): Promise<void> {
  const parent = await base.image.info();
  const options: CloneOptions = { ...create };
  if (options.features !== undefined) options.features |= feature.layering;
  // what is left out, a clone has of its parent: also the stripe unit, which is for objects of another size perhaps
  const objectBytes = 2 ** (options.order ?? parent.order);
  if (options.stripeCount === undefined && (parent.stripeCount > 1 || parent.stripeUnit !== objectBytes))
    [options.stripeUnit, options.stripeCount] = [objectBytes, 1];
  const needs2 = parent.snapshot?.protection !== 'protected' || base.spec.namespace !== child.namespace;
  const cloneFormat = needs2 ? 2 : base.cloneFormat;
  await cluster.clone(base.spec, child, { ...options, ...(cloneFormat === null ? {} : { cloneFormat }) });
}

/** Cuts the clone to what it shows of its parent, and gives it its size; resolves to what it shows. */
export async function shapeClone(clone: WritableImage, base: Base, size: number): Promise<number> {
  const overlap = Math.min(base.overlap, size);
  const whole = (await clone.info()).size;
  // nothing was written yet: what is cut off is the parent's
  if (overlap < whole) await clone.resize(overlap);
  if (size !== Math.min(overlap, whole)) await clone.resize(size);
  return overlap;
}

/** Opens, uses, closes; without a parent, `use` gets null. */
export async function withBase<T>(opening: Promise<Base | null>, use: (base: Base | null) => Promise<T>): Promise<T> {
  const base = await opening;
  return base === null ? use(null) : closing(base.image, () => use(base));
}
