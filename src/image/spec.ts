// Names of images, written as rbd writes them: [pool/[namespace/]]image[@snap]

import { RbdeltaError } from '../error.ts';

export interface ImageSpec {
  pool: string;
  /** '' is the default namespace. */
  namespace: string;
  image: string;
  snap: string | null;
  /** Names the image instead of `image`, which is '' then: what is in the trash has no other name. To open only. */
  id?: string;
}

/** What stands in where a spec leaves something out. */
export interface SpecDefaults {
  pool: string;
  namespace?: string;
}

/**
 * rbd reads the names of what exists loosely (an image may have a `/`, a snapshot may have anything), so that whatever
 * was made can be named, and checks the names of what it is about to make: an image, or a snapshot of one that exists.
 */
export type SpecRules = 'existing' | 'new' | 'newSnap';

const grammars: Record<SpecRules, RegExp> = {
  existing: /^(?:([^/]+)\/(?:([^/@]+)\/)?)?([^@]+)(?:@(.+))?$/su,
  newSnap: /^(?:([^/]+)\/(?:([^/@]+)\/)?)?([^@]+)(?:@([^/@]+))?$/su,
  new: /^(?:([^/@]+)\/(?:([^/@]+)\/)?)?([^/@]+)(?:@([^/@]+))?$/su,
};

/** What a spec says, and no more: what it leaves out is null. Fails with `invalid` (22), as rbd does. */
export function readSpec(
  text: string,
  rules: SpecRules = 'existing',
): { pool: string | null; namespace: string | null; image: string; snap: string | null } {
  const match = grammars[rules].exec(text);
  if (match === null) {
    throw new RbdeltaError('invalid', `invalid spec '${text}'`, {
      hint: 'write it as [pool/[namespace/]]image[@snap]',
    });
  }
  return {
    pool: match[1] ?? null,
    namespace: match[2] ?? null,
    image: match[3] ?? '',
    snap: match[4] ?? null,
  };
}

/** The image that a spec names, with what it leaves out filled in. Fails with `invalid` (22), as rbd does. */
export function parseSpec(text: string, defaults: SpecDefaults, rules: SpecRules = 'existing'): ImageSpec {
  const said = readSpec(text, rules);
  return {
    pool: said.pool ?? defaults.pool,
    namespace: said.namespace ?? defaults.namespace ?? '',
    image: said.image,
    snap: said.snap,
  };
}

/** The spec in full; `parseSpec` reads it back to the same names (unless an image's name has a `/`). */
export function formatSpec(spec: ImageSpec): string {
  const namespace = spec.namespace === '' ? '' : `${spec.namespace}/`;
  const snap = spec.snap === null ? '' : `@${spec.snap}`;
  return `${spec.pool}/${namespace}${spec.id ?? spec.image}${snap}`;
}
