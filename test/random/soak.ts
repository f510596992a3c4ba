// Backups of a random past, with forget, prune, flatten, copy, lost snapshots, wrong clocks and failing stores between them:
// each point that is left is what the image was.

import { createHash } from 'node:crypto';
import { RbdeltaError } from '../../src/error.ts';
import type { Cluster } from '../../src/image/port.ts';
import type { ImageSpec } from '../../src/image/spec.ts';
import { backup, type BackupOptions, type BackupResult } from '../../src/ops/backup.ts';
import type { BackupSource } from '../../src/ops/backup-source.ts';
import { copyPoints } from '../../src/ops/copy-points.ts';
import { flatten, forget, prune } from '../../src/ops/forget.ts';
import { checkRepository } from '../../src/ops/repo-check.ts';
import { restoreOverImage, restoreToSink } from '../../src/ops/restore.ts';
import { readPoints } from '../../src/repo/catalog.ts';
import { type Chain, loadChain } from '../../src/repo/chain.ts';
import { chainIds } from '../../src/repo/find-point.ts';
import { readIntent } from '../../src/repo/intent.ts';
import { imageFolder, snapshotPrefix } from '../../src/repo/keys.ts';
import type { Repository } from '../../src/repo/repository.ts';
import { failsAt, watchedStore } from '../kit/faulty-store.ts';
import { contentOf } from '../kit/repo-world.ts';
import type { RandomHistory } from './world.ts';

export interface SoakWorld {
  history: RandomHistory;
  source: BackupSource;
  repository: Repository;
  /** Points are copied there, into a repository with another key. */
  other: Repository;
  cluster: Cluster;
  /** An image that restores go over. */
  scratch: ImageSpec;
  /** What is written is in the image, and no writer has it open. */
  settle: () => Promise<void>;
  snapshots: () => Promise<string[]>;
  /** By somebody else's hand. */
  removeSnapshot: (name: string) => Promise<void>;
}

const day = 86_400_000;
/** Several a point. */
const segmentBytes = 200_000;
const digestOf = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/** Rounds of change, backup, and whatever else happens to a repository; then everything is compared. */
export class Soak {
  /** How often each thing was done. */
  readonly did: Record<string, number> = {};
  readonly #world: SoakWorld;
  /** What each point must be. */
  readonly #truth = new Map<string, string>();
  /** Points whose removal was begun. */
  readonly #gone = new Set<string>();
  /** What backups that failed would have made. */
  readonly #begun = new Map<string, string>();
  #clockMs = 0;

  constructor(world: SoakWorld) {
    this.#world = world;
  }

  /** Resolves to how many points were left, and were right. Throws at the first lie, with the past that led to it. */
  async play(rounds: number, name: string): Promise<number> {
    const { history } = this.#world;
    try {
      for (let round = 1; round <= rounds; round++) {
        history.log.push(`round ${round}`);
        await history.change('');
        await this.#backup(15);
        await this.#between();
        await this.#look();
      }
      return await this.#end();
    } catch (error) {
      throw new Error(`${name}:\n${history.log.slice(-400).join('\n')}`, { cause: error });
    }
  }

  async #end(): Promise<number> {
    const { history, repository, other, snapshots } = this.#world;
    await history.change('');
    await this.#backup(0);
    const points = await this.#points();
    const lost = [...this.#truth.keys()].filter((id) => !this.#gone.has(id) && !points.some((one) => one.id === id));
    if (lost.length > 0) throw new Error(`lost: ${lost.join(' ')}`);
    for (const where of [repository, other]) {
      const { findings } = await checkRepository(where);
      if (findings.length > 0) throw new Error(findings.map(({ text }) => text).join('\n'));
      for (const { id } of await readPoints(where, this.#world.source.image)) await this.#compare(where, id);
    }
    const own = (await snapshots()).filter((name) => name.startsWith(snapshotPrefix(repository.id)));
    if (own.length > 1) throw new Error(`snapshots that nobody needs: ${own.join(' ')}`);
    return points.length;
  }

  async #backup(failPercent: number): Promise<void> {
    const { history, source, repository, settle } = this.#world;
    await settle();
    const snap = this.#chance(12) ? await history.snapshot() : null;
    await settle();
    const bytes = digestOf((snap === null ? undefined : history.truth.snapshots.get(snap)) ?? history.truth.head);
    const options: BackupOptions = {
      ...this.#about(),
      full: this.#chance(4),
      trim: this.#chance(30),
      level: 1,
      ...(snap !== null && { snap }),
    };
    this.#tell(snap === null ? 'backup' : 'backup --snap', options.full ? '--full' : '');
    let made: BackupResult | null = null;
    await this.#perhapsFailing(failPercent, async (where) => {
      made = await backup(where, source, options);
    });
    const result = made as BackupResult | null;
    if (result !== null) {
      this.#truth.set(result.point, this.#begun.get(result.point) ?? bytes);
      this.#tell(result.method, result.point);
    }
    const intent = await readIntent(repository, source.image, 'backup');
    if (intent !== null && !this.#begun.has(intent.point)) this.#begun.set(intent.point, bytes);
    // What this run finished of one before it, or had finished when it failed.
    for (const { id } of await this.#points())
      if (!this.#truth.has(id)) this.#truth.set(id, this.#begun.get(id) ?? bytes);
  }

  async #between(): Promise<void> {
    const { history, source, repository, other, settle, snapshots, removeSnapshot } = this.#world;
    const { image } = source;
    const ids = (await this.#points()).map(({ id }) => id);
    // The first backup may have failed.
    if (ids.length === 0) return;
    const some = new Set(Array.from({ length: history.pick(1, 2) }, () => this.#one(ids)));
    const about = this.#about();
    const lot = history.pick(1, 100);
    if (lot <= 25 && ids.length > 1) {
      this.#tell('forget', ...some);
      await this.#removing([...some], (where) => forget(where, image, some, about));
    } else if (lot <= 40 && ids.length > 60) {
      const last = history.pick(40, 60);
      this.#tell('prune', `--keep-last ${last}`);
      await this.#removing(ids, (where) => prune(where, image, { last }, about));
    } else if (lot > 92) {
      const id = this.#one(ids);
      this.#tell('flatten', id);
      await this.#perhapsFailing(15, async (where) => void (await flatten(where, image, id, about)));
    } else if (lot > 86) {
      this.#tell('copy', ...some);
      await copyPoints(repository, other, image, some, about);
    } else if (lot > 81) {
      this.#tell('lose the snapshots');
      await settle();
      const prefix = snapshotPrefix(repository.id);
      for (const name of await snapshots()) if (name.startsWith(prefix)) await removeSnapshot(name);
    } else if (lot > 76) {
      this.#clockMs = history.pick(-40, 40) * day;
      this.#tell('set the clock', `${this.#clockMs / day} days`);
    }
  }

  /** `ids` are those that may go: what is not there afterwards is not looked for, what is there must be right. */
  async #removing(ids: readonly string[], use: (repository: Repository) => Promise<{ removed: string[] }>) {
    for (const id of ids) this.#gone.add(id);
    await this.#perhapsFailing(15, async (where) => {
      const { removed } = await use(where);
      const left = (await this.#points()).map(({ id }) => id);
      for (const id of ids) {
        if (removed.includes(id) === left.includes(id)) throw new Error(`${id} is neither there nor removed, or both`);
        if (left.includes(id)) this.#gone.delete(id);
      }
    });
  }

  /** By a store that fails once, at times: whatever that leaves, the next backup finds. */
  async #perhapsFailing(percent: number, use: (repository: Repository) => Promise<void>): Promise<void> {
    const { repository, source, history } = this.#world;
    if (!this.#chance(percent)) return use(repository);
    const fault = failsAt(history.pick(1, 80));
    try {
      await use({ ...repository, store: watchedStore(repository.store, fault.at) });
    } catch (error) {
      if (!(error instanceof RbdeltaError) || error.code !== 'io') throw error;
      this.#tell('failure', error.message);
      // A process would be gone, and its lock dead; this one lives.
      const keys: string[] = [];
      for await (const { key } of repository.store.list(`${imageFolder(source.image)}lock/`)) keys.push(key);
      await repository.store.remove(keys);
    }
  }

  /** At one point, at times. */
  async #look(): Promise<void> {
    const points = await this.#points();
    if (points.length === 0) return;
    const { id } = this.#one(points);
    if (this.#chance(20)) await this.#compare(this.#world.repository, id);
    if (this.#chance(10)) await this.#compareOver(id);
  }

  async #compare(where: Repository, id: string): Promise<void> {
    const hash = createHash('sha256');
    await this.#withChain(where, id, (chain) =>
      restoreToSink(chain, {
        write: async (chunks) => chunks.forEach((chunk) => void hash.update(chunk)),
        finish: async () => {},
        abort: async () => {},
      }),
    );
    if (hash.digest('hex') !== this.#truth.get(id))
      throw new Error(`${id} of ${where.store.nameOf('')} is not what the image was`);
  }

  async #compareOver(id: string): Promise<void> {
    const { repository, cluster, scratch } = this.#world;
    this.#tell('restore in place', id);
    await this.#withChain(repository, id, (chain) => restoreOverImage(chain, cluster, scratch));
    const isEqual = digestOf(await contentOf(await cluster.open(scratch))) === this.#truth.get(id);
    if (!isEqual) throw new Error(`${id}, restored in place, is not what the image was`);
  }

  async #withChain(where: Repository, id: string, use: (chain: Chain) => Promise<unknown>): Promise<void> {
    const { image } = this.#world.source;
    const chain = await loadChain(where, image, id, { expected: chainIds(await readPoints(where, image), id) });
    try {
      await use(chain);
    } finally {
      await chain.close();
    }
  }

  #points = () => readPoints(this.#world.repository, this.#world.source.image);

  #about() {
    const clockMs = this.#clockMs;
    return { version: 'soak', nowMs: () => Date.now() + clockMs, segmentBytes };
  }

  #tell(what: string, ...more: string[]): void {
    this.did[what] = (this.did[what] ?? 0) + 1;
    this.#world.history.log.push(`rbdelta: ${what} ${more.join(' ')}`);
  }

  #chance(percent: number): boolean {
    return this.#world.history.pick(1, 100) <= percent;
  }

  #one<T>(all: readonly T[]): T {
    const found = all[this.#world.history.pick(0, all.length - 1)];
    if (found === undefined) throw new Error('there is no point');
    return found;
  }
}
