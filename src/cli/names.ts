// Which image, snapshot and file a command line names: positionals and options together, with rbd's precedence.

import { RbdeltaError } from '../error.ts';
import { type ImageSpec, readSpec, type SpecRules } from '../image/spec.ts';
import type { Args } from './args.ts';
import type { OptionName } from './options.ts';

/** `pool` null: the cluster's default pool, which only the cluster knows. */
export interface NamedImage {
  pool: string | null;
  namespace: string;
  image: string;
  snap: string | null;
  /** `--image-id`: names the image instead of `image`, which is '' then. */
  id?: string;
}

export interface NameRules {
  /** `none`: naming a snapshot is refused. */
  snap?: 'none' | 'may' | 'must';
  rules?: SpecRules;
  /** The options of the destination (`--dest-pool` …). */
  dest?: boolean;
  /** What an image is called when nothing names it; null where that is an error. */
  otherwise?: NamedImage | null;
}

/** Hands out the positionals in turn, as rbd does: one that an option already stands for is not taken. */
export class Positionals {
  readonly #words: string[];
  constructor(args: Args) {
    this.#words = [...args.positionals];
  }
  peek(): string | null {
    return this.#words[0] ?? null;
  }
  take(): string | null {
    return this.#words.shift() ?? null;
  }
  rest(): string[] {
    return this.#words.splice(0);
  }
}

const invalid = (message: string): RbdeltaError => new RbdeltaError('invalid', message);

/**
 * `--image` may hold a whole spec; without it the next positional is the spec. What a spec says takes the place of
 * `--pool`, `--namespace` and `--snap`. Fails with `invalid` (22) as rbd does.
 */
export function imageFrom(args: Args, positionals: Positionals, options: NameRules = {}): NamedImage {
  const { rules = 'existing', dest = false, otherwise = null } = options;
  const option = (name: OptionName): string | null => args.text(dest ? (`dest-${name}` as OptionName) : name);
  const text = (dest ? args.text('dest') : args.text('image')) ?? positionals.take();
  const name = text || otherwise?.image;
  if (name?.startsWith('file:')) {
    throw new RbdeltaError('invalid', `'${name}' names a file where an image is meant`, {
      hint: 'export, export-diff, diff and import-diff take file:PATH; an image of such a name is POOL/file:NAME',
    });
  }
  const said = text === null || text === '' ? null : readSpec(text, rules);
  if ((said?.image ?? otherwise?.image ?? '') === '') {
    throw new RbdeltaError('invalid', `${dest ? 'destination ' : ''}image name was not specified`, {
      hint: guessOf(args) ?? `name it as [pool/[namespace/]]image, or with ${dest ? '--dest' : '--image'}`,
    });
  }
  const named: NamedImage = {
    pool: said?.pool ?? option('pool') ?? otherwise?.pool ?? null,
    namespace: said?.namespace ?? option('namespace') ?? otherwise?.namespace ?? '',
    image: said?.image ?? otherwise?.image ?? '',
    snap: said?.snap ?? (dest ? null : args.text('snap')) ?? otherwise?.snap ?? null,
  };
  if (rules === 'new' && named.pool !== null && /[@/]/u.test(named.pool)) {
    throw invalid(`invalid pool name '${named.pool}'`);
  }
  return checked(named, options);
}

/** What `imageFrom` refuses of names. */
function checked(named: NamedImage, { snap = 'may', rules = 'existing', dest = false }: NameRules): NamedImage {
  if (/[@/]/u.test(named.namespace)) throw invalid(`invalid namespace name '${named.namespace}'`);
  if (rules === 'newSnap' && named.snap !== null && /[@/]/u.test(named.snap)) {
    throw invalid(`invalid snap name '${named.snap}'`);
  }
  if (snap === 'none' && named.snap !== null) {
    throw invalid(`${dest ? 'destination ' : ''}snapshot name specified for a command that doesn't use it`);
  }
  if (snap === 'must' && named.snap === null) {
    throw new RbdeltaError('invalid', 'snapshot name was not specified', {
      hint: 'name it as image@snap, or with --snap',
    });
  }
  return named;
}

/** As `imageFrom`, of a command that knows `--image-id` as well: then there is nothing else to name the image. */
export function imageOrIdFrom(args: Args, positionals: Positionals, options: NameRules = {}): NamedImage {
  const id = args.text('image-id');
  if (id === null || id === '') return imageFrom(args, positionals, options);
  if (args.has('image') || positionals.peek() !== null) {
    throw new RbdeltaError('invalid', 'trying to access image using both name and id', {
      hint: 'the pool of --image-id is named with --pool, a snapshot with --snap',
    });
  }
  const [pool, namespace] = [args.text('pool'), args.text('namespace') ?? ''];
  return checked({ pool, namespace, image: '', snap: args.text('snap'), id }, options);
}

/** How messages name it. */
export const labelOf = ({ id, image, snap }: NamedImage): string => `${id ?? image}${snap === null ? '' : `@${snap}`}`;

export type ImageOrFile = { file: string } | { named: NamedImage };

/** As `imageFrom`; the image that a `file:PATH` names comes back as its path. */
export function imageOrFileFrom(args: Args, positionals: Positionals, options: NameRules = {}): ImageOrFile {
  const option = options.dest ? 'dest' : 'image';
  const text = args.text(option) ?? positionals.peek();
  if (text?.startsWith('file:')) {
    if (!args.has(option)) positionals.take();
    return { file: text.slice('file:'.length) };
  }
  return { named: imageFrom(args, positionals, options) };
}

/** `--path`, or the next positional. Fails with `invalid` (22) as rbd does. */
export function pathFrom(args: Args, positionals: Positionals, what = 'path'): string {
  const path = (what === 'path' ? args.text('path') : null) ?? positionals.take();
  if (path === null || path === '') {
    throw new RbdeltaError('invalid', `${what} was not specified`, {
      hint: guessOf(args) ?? 'it is a file, - or s3://bucket/key',
    });
  }
  return path;
}

function guessOf({ guessed }: Args): string | null {
  const [guess] = guessed;
  return guess === undefined
    ? null
    : `'${guess.value}' was taken for the value of ${guess.option}; write ${guess.option}=VALUE`;
}

/** `pool[/namespace]` or the options; for `ls`. */
export function poolFrom(args: Args, positionals: Positionals): { pool: string | null; namespace: string } {
  const text = args.has('pool') ? null : positionals.take();
  if (text === null) return { pool: args.text('pool'), namespace: args.text('namespace') ?? '' };
  const match = /^([^/]+)(?:\/([^/@]+))?$/u.exec(text);
  if (match === null) throw invalid(`invalid pool spec '${text}'`);
  return { pool: match[1] ?? null, namespace: match[2] ?? args.text('namespace') ?? '' };
}

/** `pool/namespace` or the options; the pool may be left out, the namespace not. Fails with `invalid` (22). */
export function namespaceFrom(args: Args, positionals: Positionals): { pool: string | null; namespace: string } {
  const named = poolFrom(args, positionals);
  if (named.namespace === '') throw invalid('namespace name was not specified');
  return named;
}

/** An image in the trash: `[pool/[namespace/]]id` or `--image-id`. Fails with `invalid` (22) as rbd does. */
export function trashedFrom(args: Args, positionals: Positionals): NamedImage {
  const text = args.text('image-id') ?? positionals.take();
  if (text === null || text === '') throw invalid('image id was not specified');
  const said = readSpec(text);
  const [pool, namespace] = [said.pool ?? args.text('pool'), said.namespace ?? args.text('namespace') ?? ''];
  return { pool, namespace, image: '', snap: null, id: said.image };
}

/** The one pool that is named; for `pool create`. Fails with `invalid` (22). */
export function poolNameFrom(args: Args, positionals: Positionals): string {
  const pool = args.text('pool') ?? positionals.take();
  if (pool === null || pool === '') throw invalid('pool name was not specified');
  if (/[@/]/u.test(pool)) throw invalid(`invalid pool name '${pool}'`);
  return pool;
}

/** The spec with the default pool in its place. */
export const inPool = (named: NamedImage, pool: string): ImageSpec => ({ ...named, pool: named.pool ?? pool });

/** The id of a lock, the next positional. Fails with `invalid` (22) as rbd does. */
export function lockIdFrom(positionals: Positionals): string {
  const id = positionals.take();
  if (id === null || id === '') throw new RbdeltaError('invalid', 'lock id was not specified');
  return id;
}
