// What a point of a repository holds, read through its chain.

import type { DiffStream } from '../../src/format/rbd-diff.ts';
import { chainDiff } from '../../src/repo/chain-diff.ts';
import { chainFingerprint } from '../../src/repo/chain-fingerprint.ts';
import { type ChainOptions, loadChain } from '../../src/repo/chain.ts';
import type { ImageName } from '../../src/repo/keys.ts';
import type { Repository } from '../../src/repo/repository.ts';

/** The stream applied to `base`, which is cut or grown to the stream's size. */
export async function applied(stream: DiffStream, base: Uint8Array): Promise<Buffer> {
  const result = Buffer.alloc(stream.header.size ?? 0);
  result.set(base.subarray(0, result.length));
  for await (const record of stream.records) {
    if (record.kind === 'write') result.set(record.data, record.offset);
    else result.fill(0, record.offset, record.offset + record.length);
  }
  return result;
}

/** What a point holds, and whether all digests of its chain say so. */
export async function stateOf(
  repository: Repository,
  image: ImageName,
  point: string,
  options: ChainOptions = {},
): Promise<{ content: Buffer; fingerprint: string; proven: string; chain: string[] }> {
  const chain = await loadChain(repository, image, point, options);
  try {
    return {
      content: await applied(chainDiff(chain, null), Buffer.alloc(0)),
      fingerprint: chain.points.at(-1)!.manifest.fingerprint,
      proven: await chainFingerprint(chain),
      chain: chain.points.map(({ id }) => id),
    };
  } finally {
    await chain.close();
  }
}
