// `repo verify`: proves that points can be restored, on one of four levels, and writes down what was found.
//
//   audit      manifests, links, files and their sizes, indexes, fingerprint       nothing but metadata is read
//   scrub      every frame of the chain, or a share of them: hash, checksum        all of it is fetched, nothing kept
//   source     the digests against the snapshot that the point is of              the image is read, no segment
//   rehearse   restored to a file, compared, and a program looks at it            the one that leaves no doubt

import { interruption } from '../bytes/errno.ts';
import { counted, printable } from '../bytes/text.ts';
import { RbdeltaError } from '../error.ts';
import { blockBytes } from '../format/archive-index.ts';
import type { Manifest } from '../format/manifest.ts';
import type { CatalogEntry, Proof, Proofs } from '../format/repository.ts';
import type { Image } from '../image/port.ts';
import { readCatalog, readManifest } from '../repo/catalog.ts';
import { type Chain, type ChainPoint, damagedPointOf, loadChain } from '../repo/chain.ts';
import { chainIds } from '../repo/find-point.ts';
import { type ImageName, textOf } from '../repo/keys.ts';
import { isOutdated } from '../repo/outdated.ts';
import { loadProofs } from '../repo/proofs.ts';
import { type NewProofs, recordProofs } from '../repo/record-proofs.ts';
import type { Repository } from '../repo/repository.ts';
import { startUnpacker, type Unpacker } from '../repo/unpack.ts';
import { compareState } from './compare-state.ts';
import { goneMeanwhile } from './repo-show.ts';
import { isOfRewrite } from './restore-again.ts';
import { auditChain, type Damage, isDamage } from './verify-audit.ts';
import { type RehearseOptions, rehearse } from './verify-rehearse.ts';
import { type Scrub, scrubPoint } from './verify-scrub.ts';

export type Level = Proof['level'];

export interface VerifyOptions {
  level: Level;
  /** Of the frames of each point, for `scrub`; 100 if absent: goes on where the one before it ended. */
  percent?: number;
  /** For `source`: opens the snapshot, or the file, that a point is of; the verification closes it. */
  openSource?: (manifest: Manifest) => Promise<Image>;
  rehearse?: Pick<RehearseOptions, 'command' | 'directory' | 'env'>;
  /** Of rbdelta, for the proofs. */
  version: string;
  /** How long to wait for another writer of the image, when the proofs are written; 60 s if absent. */
  waitMs?: number;
  signal?: AbortSignal | undefined;
  onNotice?: ((text: string) => void) | undefined;
  /** Bytes done, of all where that is known. */
  onProgress?: ((done: number, total: number | null) => void) | undefined;
}

export interface VerifiedPoint {
  image: ImageName;
  point: string;
  level: Level;
  ok: boolean;
  /** Of the frames, by this scrub and those before it. */
  percent: number;
  /** What was found, as a sentence. */
  what: string;
  damages: Damage[];
  /** Points of the image that cannot be restored for that, and those that nothing is known against, oldest first. */
  affected: string[];
  unaffected: string[];
}

export interface VerifyTarget {
  image: ImageName;
  point: string;
  /** All of the image that can be read, oldest first. */
  points: readonly CatalogEntry[];
}

/** One of several points: what they share is looked at once. */
export class Verifier {
  readonly #repository: Repository;
  readonly #options: VerifyOptions;
  readonly #unpacker: Unpacker = startUnpacker();
  /** By image, point and index: what a scrub of this run has read. */
  readonly #scrubbed = new Map<string, PointScrub>();

  constructor(repository: Repository, options: VerifyOptions) {
    this.#repository = repository;
    this.#options = options;
  }

  close(): Promise<void> {
    return this.#unpacker.stop();
  }

  /** Damage is a result; what keeps from looking (no network, no such snapshot, an interruption) is thrown. */
  async verify(target: VerifyTarget): Promise<VerifiedPoint> {
    const { level } = this.#options;
    const { proofs, of, ...found } = await this.#look(target);
    const bad = new Set(found.damages.map(({ point }) => point));
    const isAffected = ({ id }: CatalogEntry): boolean => chainIds(target.points, id).some((one) => bad.has(one));
    const result: VerifiedPoint = {
      image: target.image,
      point: target.point,
      level,
      ok: bad.size === 0,
      ...found,
      affected: target.points.filter(isAffected).map(({ id }) => id),
      unaffected: target.points.filter((entry) => !isAffected(entry)).map(({ id }) => id),
    };
    await this.#record(target.image, [...proofs, ...this.#proofOf(result, of)]);
    return result;
  }

  /** Nothing is locked: damage that a writer's rewrite makes it seem is looked at again, as the point is then. */
  async #look(target: VerifyTarget): Promise<Found> {
    const { image, point, points } = target;
    const expected = chainIds(points, point);
    let refusal: string | null = null;
    for (;;) {
      let chain: Chain;
      try {
        chain = await loadChain(this.#repository, image, point, { expected, unpacker: this.#unpacker });
      } catch (error) {
        if (!isDamage(error)) throw error;
        if (error.message === refusal) return this.#broken(target, expected, error);
        refusal = error.message;
        continue;
      }
      try {
        const found = await this.#lookAtChain(chain, point);
        if (found.damages.length === 0 || !(await isOutdated(chain))) return found;
        // of what was not rewritten
        await this.#record(image, found.proofs);
        this.#options.onNotice?.(`the chain of ${point} of ${textOf(image)} was rewritten meanwhile: it is read again`);
      } finally {
        await chain.close();
      }
    }
  }

  /** A chain that cannot be loaded. */
  async #broken({ image, point }: VerifyTarget, expected: readonly string[], error: RbdeltaError): Promise<Found> {
    const isThere = async (): Promise<boolean> =>
      (await readCatalog(this.#repository, image)).some(({ id }) => id === point);
    const broken = await this.#firstBroken(image, [point, ...expected.slice(1)]);
    if (error.code === 'notFound' && broken === point && !(await isThere())) throw goneMeanwhile(image, point);
    return {
      what: error.message,
      percent: 0,
      damages: [{ point: broken, message: error.message }],
      proofs: [],
      of: new Map(),
    };
  }

  async #lookAtChain(chain: Chain, point: string): Promise<Found> {
    const of = new Map(chain.points.map(({ id, manifest }) => [id, manifest.index.directorySha256]));
    let source: Image | null = null;
    try {
      // That the snapshot is gone is no damage of the point.
      if (this.#options.level === 'source') source = await this.#openSource(chain);
      const found = await this.#lookAt(chain, source).catch((error: unknown) => {
        // what a rewrite made it seem is found out where all of it is looked at again
        if (!isDamage(error) && !isOfRewrite(error)) throw error;
        const damages = [{ point: damagedPointOf(error) ?? point, message: error.message }];
        return { what: error.message, percent: 0, damages, proofs: [] };
      });
      return { ...found, of };
    } finally {
      await source?.close();
    }
  }

  async #lookAt(chain: Chain, source: Image | null): Promise<Omit<Found, 'of'>> {
    const { level } = this.#options;
    if (level === 'scrub') return this.#scrub(chain);
    const count = counted(chain.points.length, 'point');
    if (level === 'audit') {
      const damages = await auditChain(chain);
      const what = damages[0]?.message ?? `the chain of ${count} is whole, and shows the state of its fingerprint`;
      return { what, percent: 100, damages, proofs: [] };
    }
    const newest = chain.points.at(-1)!;
    const one = source === null ? await this.#rehearse(chain) : await this.#compareWithSource(chain, source);
    const damages = one.ok ? [] : [{ point: newest.id, message: one.what }];
    return { what: one.what, percent: 100, damages, proofs: [] };
  }

  /** Each point of the chain, once in a run; how far it came is written down, also when it is interrupted. */
  async #scrub(chain: Chain): Promise<Omit<Found, 'of'>> {
    const { percent = 100, signal, onProgress } = this.#options;
    const { image } = chain;
    const totalBytes = chain.points.reduce(
      (sum, { manifest }) => sum + (manifest.segments.reduce((all, { bytes }) => all + bytes, 0) * percent) / 100,
      0,
    );
    const proofs: NewProofs[] = [];
    const all: PointScrub[] = [];
    let doneBytes = 0;
    for (const point of chain.points) {
      const key = `${textOf(image)}@${point.id} ${point.manifest.index.directorySha256}`;
      const known = this.#scrubbed.get(key);
      const scrub = known ?? (await this.#scrubOf(chain, point));
      all.push(scrub);
      if (known !== undefined) continue;
      this.#scrubbed.set(key, scrub);
      try {
        await scrubPoint(chain, point, scrub, {
          from: scrub.before?.frames ?? 0,
          percent,
          signal,
          onBytes: (bytes) => onProgress?.((doneBytes += bytes), totalBytes),
        });
      } catch (error) {
        if (isDamage(error)) {
          scrub.damaged += 1;
          scrub.damages.push({ point: point.id, message: error.message });
        } else {
          if (scrub.done > 0) await this.#record(image, [...proofs, this.#scrubProof(point, scrub)]);
          throw error;
        }
      }
      proofs.push(this.#scrubProof(point, scrub));
    }
    const damages = chain.points.flatMap(({ id }, i) => [
      ...all[i]!.damages,
      ...knownDamage(all[i]!).map((message) => ({ point: id, message })),
    ]);
    const frames = all.reduce((sum, { done }) => sum + done, 0);
    const total = all.reduce((sum, scrub) => sum + scrub.total, 0);
    const share = total === 0 ? 100 : Math.floor((frames / total) * 100);
    const unread = all.reduce((sum, scrub) => sum + scrub.damaged, 0);
    const what =
      damages.length === 0
        ? `${frames} of the ${counted(total, 'frame')} of ${counted(all.length, 'point')} are what they should be${begunAnew(all)}`
        : unread === 0
          ? damages[0]!.message
          : `${counted(unread, 'frame')} cannot be read: ${damages[0]!.message}`;
    return { what, percent: share, damages, proofs };
  }

  /** With what is known of the point as it is: its files, not its name, are what a scrub is of. */
  async #scrubOf({ image }: Chain, { id, manifest }: ChainPoint): Promise<PointScrub> {
    const { proofs, scrubbed } = await loadProofs(this.#repository, image, id);
    const isSame = scrubbed?.directorySha256 === manifest.index.directorySha256;
    const isAgain = !isSame && proofs.some(({ level }) => level === 'scrub');
    const failed = proofs.find(({ level, ok }) => level === 'scrub' && !ok) ?? null;
    return { total: 0, done: 0, bytes: 0, damaged: 0, damages: [], before: isSame ? scrubbed : null, isAgain, failed };
  }

  #scrubProof({ id, manifest }: ChainPoint, scrub: PointScrub): NewProofs {
    const { total, done, damages, before } = scrub;
    const nowText = new Date().toISOString();
    const percent = total === 0 ? 100 : Math.floor((done / total) * 100);
    const isWhole = done >= total;
    const damaged = (before?.damaged ?? 0) + scrub.damaged;
    const first = before?.first ?? damages[0]?.message ?? null;
    const ok = damaged === 0;
    const what = ok
      ? `${done} of ${counted(total, 'frame')} read`
      : `${counted(damaged, 'frame')} cannot be read: ${first}`;
    const { version } = this.#options;
    const { directorySha256 } = manifest.index;
    return {
      point: id,
      // a share of the frames that are good takes nothing from an earlier proof of all of them, good or bad
      proofs:
        ok && !isWhole ? [] : [{ level: 'scrub', finished: nowText, ok, percent, what: printable(what), version }],
      scrubbed: isWhole
        ? null
        : {
            percent,
            frames: done,
            since: before?.since ?? nowText,
            directorySha256,
            damaged,
            first: first && printable(first),
          },
      of: new Map([[id, directorySha256]]),
    };
  }

  /** The very snapshot: another one of the same name is refused. */
  async #openSource(chain: Chain): Promise<Image> {
    const { openSource } = this.#options;
    if (openSource === undefined) throw new RangeError('nobody told how to open the source');
    const { manifest } = chain.points.at(-1)!;
    const image = await openSource(manifest);
    const { id, snapshot } = await image.info();
    if (id === manifest.image.id && (id === '' || snapshot?.id === manifest.snapshot.id)) return image;
    await image.close();
    const message = `${sourceName(manifest)} is not the snapshot that ${manifest.point} is of: it was made anew`;
    throw new RbdeltaError('diverged', message, {
      hint: 'only a point whose snapshot is still there can be compared with it: the newest one',
    });
  }

  async #compareWithSource(chain: Chain, image: Image): Promise<{ ok: boolean; what: string }> {
    const { signal, onNotice, onProgress } = this.#options;
    const name = sourceName(chain.points.at(-1)!.manifest);
    const { size } = await image.info();
    if (size !== chain.size) return { ok: false, what: `${name} has ${size} bytes, the point tells of ${chain.size}` };
    const { differing, bytesRead } = await compareState(chain, image, { signal, onNotice, onProgress });
    if (differing.count === 0)
      return { ok: true, what: `${name} is what the point has; ${counted(bytesRead, 'byte')} of it were read` };
    const [first] = differing.runs(0, Math.ceil(chain.size / blockBytes));
    const where = `the first at byte ${(first?.first ?? 0) * blockBytes}`;
    return { ok: false, what: `${counted(differing.count, 'block')} of ${name} differ from the point, ${where}` };
  }

  #rehearse(chain: Chain): Promise<{ ok: boolean; what: string }> {
    const { rehearse: how, signal, onNotice, onProgress } = this.#options;
    if (how === undefined) throw new RangeError('nobody told where to rehearse');
    return rehearse(chain, { ...how, signal, onNotice, onProgress });
  }

  /** The newest point of a chain that cannot be read, by its manifest alone; the newest of all if each of them can. */
  async #firstBroken(image: ImageName, ids: readonly string[]): Promise<string> {
    for (const id of ids) {
      const manifest = await readManifest(this.#repository, image, id).catch((error: unknown) => {
        if (isDamage(error)) return null;
        throw error;
      });
      if (manifest === null) return id;
      if (manifest.base !== null && !ids.includes(manifest.base.point)) return manifest.base.point;
    }
    return ids[0]!;
  }

  /** That of the point itself; a scrub tells of each point of the chain. */
  #proofOf({ point, level, ok, percent, what }: VerifiedPoint, of: NewProofs['of']): NewProofs[] {
    if (level === 'scrub') return [];
    const { version } = this.#options;
    const finished = new Date().toISOString();
    const proof: Proof = { level, finished, ok, percent: ok ? 100 : percent, what: printable(what), version };
    return [{ point, proofs: [proof], of }];
  }

  /** A proof that cannot be written down is a proof all the same. */
  async #record(image: ImageName, proofs: readonly NewProofs[]): Promise<void> {
    const { waitMs = 60_000, onNotice } = this.#options;
    if (proofs.length === 0) return;
    try {
      await recordProofs(this.#repository, image, proofs, { waitMs, onNotice });
    } catch (error) {
      if (!(error instanceof RbdeltaError)) throw error;
      onNotice?.(`what was proved of ${textOf(image)} could not be written down: ${error.message}`);
    }
    if (this.#options.signal?.aborted) throw interruption(this.#options.signal);
  }
}

interface Found {
  what: string;
  percent: number;
  damages: Damage[];
  /** What is to be written down besides the proof of the point. */
  proofs: NewProofs[];
  /** What was looked at: see `NewProofs`. */
  of: NewProofs['of'];
}

/** That of one point, and what was known before. */
interface PointScrub extends Scrub {
  /** Where the last one ended. */
  before: Proofs['scrubbed'];
  /** It begins anew: the one before has come to the end. */
  isAgain: boolean;
  /** The last one that read all of it, or that found damage. */
  failed: Proof | null;
}

/** Who reads a share each day sees that less is done than the day before. */
function begunAnew(all: readonly PointScrub[]): string {
  const again = all.filter(({ isAgain, done, total }) => isAgain && done < total).length;
  return again === 0
    ? ''
    : `; ${counted(again, 'point')} had been read to the end, and ${again === 1 ? 'is' : 'are'} read anew`;
}

/** Damage that this scrub did not come by, but has not disproved either: it has not read all of the point anew. */
function knownDamage({ before, failed, damages, done, total }: PointScrub): string[] {
  if (damages.length > 0) return [];
  if (before !== null && before.damaged > 0)
    return [`${before.first}; that was found by an earlier part of this scrub, which began at ${before.since}`];
  if (failed === null || done >= total) return [];
  return [`${failed.what}; that was found at ${failed.finished}, and no scrub of all of it has found it good since`];
}

const sourceName = ({ image, snapshot }: Manifest): string => {
  const { pool, namespace, name, id } = image;
  return `"${printable(id === '' ? name : `${textOf({ pool, namespace, image: name })}@${snapshot.name}`)}"`;
};
