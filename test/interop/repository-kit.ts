// Repositories that tests make by the command line, in a directory and on S3, and what stock tools make of them.

import { mkdir, readdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect } from 'vitest';
import { digestOf, rbd, rbdelta, rbdeltaOk, rbdeltaProgram, run, succeed } from '../kit/command.ts';

export const onCeph = process.env['RBDELTA_TEST_CEPH'] === '1';
export const onS3 = onCeph && process.env['RBDELTA_TEST_S3'] === '1';

/** What the real rbd reads of an image or snapshot. */
export const bytesOf = (spec: string): Promise<string> => digestOf('rbd', ['export', '--no-progress', spec, '-']);

/** What a restore of the point to standard output gives. */
export const restoredBytes = (repository: string, point: string): Promise<string> =>
  digestOf(process.execPath, [rbdeltaProgram, 'restore', '--no-progress', repository, point, '-']);

export interface MadePoint {
  point: string;
  method: 'full' | 'increment' | 'compare';
  snapshot: string;
  read_bytes: number;
  stored_bytes: number;
}

/** `rbdelta backup` of one image, which must succeed. */
export async function backUp(image: string, repository: string, ...options: string[]): Promise<MadePoint> {
  const args = ['backup', '--json', '--no-progress', ...options, image, repository];
  const [made] = JSON.parse((await rbdeltaOk(args)).toString()) as MadePoint[];
  return made!;
}

export async function pointsOf(repository: string): Promise<{ point: string; kind: string }[]> {
  return JSON.parse((await rbdeltaOk(['repo', 'list', '--json', repository])).toString());
}

/** No findings at all: neither problems nor notes. */
export async function expectClean(repository: string): Promise<void> {
  const { status, stdout, stderr } = await rbdelta(['repo', 'check', '--json', '--no-progress', repository]);
  expect({ status, stderr, ...JSON.parse(stdout.toString()) }).toMatchObject({ status: 0, stderr: '', findings: [] });
}

/** The folder of the point of an image in pool volumes, as files: with s3cmd, if the repository is on S3. */
export async function filesOf(repository: string, image: string, point: string, into: string): Promise<string> {
  const [name = '', namespace] = image.split('/').reverse();
  const folder = `volumes${namespace === undefined ? '' : `+${namespace}`}/${name}/${point}`;
  if (!repository.startsWith('s3://')) return join(repository, folder);
  const host = new URL(process.env['AWS_ENDPOINT_URL'] ?? '').host;
  await rm(into, { recursive: true, force: true });
  await mkdir(into, { recursive: true });
  const place = [`--host=${host}`, `--host-bucket=${host}`, '--no-ssl', '--config=/dev/null', '--no-progress'];
  await succeed('s3cmd', [...place, 'get', '--recursive', `${repository}/${folder}/`, into]);
  return into;
}

/** A point applied to an image as the specification says, without rbdelta. */
export async function importWithStockTools(folder: string, image: string): Promise<void> {
  const segments = (await readdir(folder)).filter((name) => name.endsWith('.rbdiff.zst'));
  expect(segments).not.toEqual([]);
  const script = 'cat "$0"/*.rbdiff.zst | zstd -d | rbd import-diff --no-progress - "$1"';
  await succeed('bash', ['-o', 'pipefail', '-c', script, folder, image]);
}

/** Snapshots of the image that a backup made. */
export async function ownSnapshots(image: string): Promise<string[]> {
  const listed = JSON.parse((await rbd(['snap', 'ls', '--format', 'json', image])).toString()) as { name: string }[];
  return listed.map(({ name }) => name).filter((name) => name.startsWith('rbdelta-'));
}

/** Whatever its state, and also if it is not there. */
export async function dropImage(image: string): Promise<void> {
  await run('rbd', ['snap', 'purge', '--no-progress', image]);
  await run('rbd', ['rm', '--no-progress', image]);
}
