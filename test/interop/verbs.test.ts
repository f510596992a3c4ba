// The same command lines by the real rbd, by rbdelta on Ceph and by rbdelta on the local pool: the same output and status.

import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { run as runCommandLine } from '../../src/cli/run.ts';
import { run } from '../kit/command.ts';
import { noise } from '../kit/noise.ts';

const on = process.env['RBDELTA_TEST_CEPH'] === '1';

interface Answer {
  status: number | null;
  stdout: string;
}

type Line = Answer & { line: string };

/** POOL is each one's own, CLIENT who holds the lock of that id. */
const lines = `
create --size 8M --object-size 1M POOL/par
import --object-size 1M FILE POOL/full
image-meta set POOL/full color blue
snap create POOL/full@s
clone POOL/full@s POOL/kid
snap protect POOL/full@s
clone POOL/full@s POOL/kid
clone POOL/full@s POOL/kid
clone POOL/full@nosuch POOL/kid2
clone POOL/full POOL/kid2
clone POOL/full@s
clone --rbd-default-clone-format 2 --object-size 512K POOL/full@s POOL/kid2
clone --rbd-default-clone-format 2 POOL/full@s POOL/kid2
info POOL/kid
info POOL/kid2
info POOL/full
info POOL/full@s
info --format json POOL/kid2
ls -l POOL
ls -l POOL --format json
image-meta list POOL/kid
children POOL/full@s
children POOL/full
children POOL/full --format json
children POOL/full --all --format json
children POOL/full --all --format xml --pretty-format
children POOL/full@nosuch
children POOL/nosuch
snap unprotect POOL/full@s
snap rm POOL/full@s
rm POOL/full
import-diff DIFF POOL/kid
import-diff DIFF POOL/kid2
diff POOL/kid
diff POOL/kid2
diff --from-snap one POOL/kid
diff --whole-object POOL/kid
du POOL/kid
du POOL/kid@one
du POOL/kid --format json
du POOL/kid --exact
du -p POOL
du -p POOL --format xml
du POOL/nosuch
flatten POOL/kid
flatten POOL/kid
flatten POOL/par
children POOL/full
snap unprotect POOL/full@s
snap rm POOL/full@s
info POOL/full
snap ls POOL/full
children POOL/full
trash mv POOL/full
info POOL/kid2
trash ls POOL
trash ls POOL --format json
trash ls POOL --format xml
trash purge POOL
trash mv POOL/kid2
trash purge POOL
trash ls POOL
diff POOL/kid
status POOL/kid
status POOL/kid --format json
status POOL/kid@one
rename POOL/par POOL/kid
rename POOL/par renamed
rename POOL/nosuch POOL/x
rename POOL/renamed
ls POOL
image-meta list POOL/renamed
image-meta set POOL/renamed k1 v1
image-meta set POOL/renamed k2 v2
image-meta list POOL/renamed
image-meta list POOL/renamed --format xml
image-meta get POOL/renamed k1
image-meta get POOL/renamed nosuch
image-meta rm POOL/renamed k1
image-meta rm POOL/renamed k1
image-meta list POOL/renamed --format json
image-meta set POOL/renamed
namespace create POOL/ns
namespace create POOL/ns
namespace ls POOL
namespace ls POOL --format json
namespace rm POOL/nosuch
create --size 4M POOL/ns/x
namespace rm POOL/ns
rm POOL/ns/x
namespace rm POOL/ns
namespace ls POOL
snap create POOL/renamed@a
snap rename POOL/renamed@a POOL/renamed@b
snap rename POOL/renamed@a POOL/renamed@c
snap rename POOL/renamed@b POOL/kid@c
snap limit set POOL/renamed --limit 1
snap create POOL/renamed@c
snap limit set POOL/renamed --limit 0
snap limit set POOL/renamed
snap limit clear POOL/renamed
snap create POOL/renamed@c
snap rename POOL/renamed@b POOL/renamed@c
snap ls POOL/renamed
diff --whole-object --from-snap one POOL/kid
object-map rebuild POOL/kid
object-map rebuild POOL/kid@one
create --size 4M --image-feature layering POOL/nomap
object-map rebuild POOL/nomap
lock ls POOL/renamed
lock ls POOL/renamed --format json
lock ls POOL/renamed --format xml
lock add POOL/renamed id1
lock ls POOL/renamed
lock ls POOL/renamed --format json
lock ls POOL/renamed --format xml --pretty-format
ls -l POOL
lock add POOL/renamed id2
lock add POOL/renamed id2 --shared tag
resize --size 9M POOL/renamed
snap create POOL/renamed@z
image-meta set POOL/renamed a b
rename POOL/renamed POOL/again
lock rm POOL/renamed id1 client.1
lock rm POOL/renamed id1 foo
lock rm POOL/renamed id1
lock rm POOL/renamed
lock rm POOL/renamed id1 CLIENT
lock rm POOL/renamed id1 client.1
lock add POOL/renamed id1 --shared tag
lock ls POOL/renamed
lock add POOL/renamed id2 --shared tag
lock add POOL/renamed id3 --shared tag2
lock add POOL/renamed id3
lock list POOL/renamed
lock list POOL/renamed --format json
ls -l POOL --format json
lock remove POOL/renamed id1 CLIENT
lock remove POOL/renamed id2 CLIENT
lock add POOL/renamed
lock add
lock ls
lock ls POOL/renamed@b
lock add POOL/renamed@b x
lock ls POOL/nosuch
lock add POOL/nosuch x
lock rm POOL/nosuch x client.1
cp POOL/kid POOL/c1
cp POOL/kid POOL/c1
cp POOL/kid@one POOL/c2
cp POOL/kid@nosuch POOL/c3
cp POOL/nosuch POOL/c3
cp POOL/kid POOL/c3@x
cp POOL/kid
cp
cp POOL/kid POOL/nons/c3
copy --image-feature layering --object-size 512K --stripe-unit 64K --stripe-count 4 POOL/kid POOL/c3
cp --sparse-size 64K --image-shared -p POOL --image kid --snap one --dest-pool POOL --dest c4
info POOL/c1
info POOL/c2
info POOL/c3
info POOL/c4
diff POOL/c1
diff POOL/c3
du POOL/c2
image-meta list POOL/c1
deep cp POOL/kid POOL/d1
deep cp POOL/kid POOL/d1
deep cp POOL/kid@one POOL/d2
deep cp POOL/kid@nosuch POOL/d3
deep cp POOL/nosuch POOL/d3
deep cp POOL/kid POOL/d3@x
deep cp POOL/kid
deep copy --flatten --image-feature layering,exclusive-lock POOL/kid POOL/d3
info POOL/d1
info POOL/d1@one
info POOL/d2
info POOL/d3
snap ls POOL/d1
snap ls POOL/d2
image-meta list POOL/d1
diff --from-snap one POOL/d1
diff --whole-object --from-snap one POOL/d1
du POOL/d1
import --object-size 1M FILE POOL/base
snap create POOL/base@s
snap protect POOL/base@s
clone POOL/base@s POOL/kk
import-diff DIFF POOL/kk
snap protect POOL/kk@one
deep cp POOL/kk POOL/kk1
deep cp --flatten POOL/kk POOL/kk2
cp POOL/kk POOL/kk3
info POOL/kk1
info POOL/kk1@one
info POOL/kk2
info POOL/kk2@one
info POOL/kk3
du POOL/kk1
du POOL/kk3
diff POOL/kk1@one
children POOL/base --format json
ls -l POOL
snap unprotect POOL/kk1@one
snap unprotect POOL/kk2@one
snap unprotect POOL/kk@one
snap purge POOL/kk
snap purge POOL/kk1
snap purge POOL/kk2
rm POOL/kk
rm POOL/kk1
rm POOL/kk2
rm POOL/kk3
snap unprotect POOL/base@s
snap purge POOL/base
rm POOL/base
snap purge POOL/d1
snap purge POOL/d2
snap purge POOL/d3
rm POOL/c1
rm POOL/c2
rm POOL/c3
rm POOL/c4
rm POOL/d1
rm POOL/d2
rm POOL/d3
snap purge POOL/kid
snap purge POOL/renamed
rm POOL/kid
rm POOL/renamed
rm POOL/nomap
ls POOL
`
  .trim()
  .split('\n');

describe.skipIf(!on)('verbs', () => {
  let dir: string;
  const pools = { rbd: `verbs-rbd-${process.pid}`, ceph: `verbs-own-${process.pid}`, local: 'verbs-local' };

  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'rbdelta-verbs-'));
    for (const pool of [pools.rbd, pools.ceph]) {
      await run('ceph', ['osd', 'pool', 'create', pool, '8']);
      await run('rbd', ['pool', 'init', pool]);
    }
    await answer('local', `pool create ${pools.local}`);
    await writeFile(join(dir, 'raw'), Buffer.concat([noise(1, 5 << 20), Buffer.alloc(2 << 20), noise(2, 1 << 20)]));
    await writeFile(join(dir, 'diff'), diffBytes());
  });

  afterAll(async () => {
    await run('ceph', ['tell', 'mon.*', 'config', 'set', 'mon_allow_pool_delete', 'true']);
    for (const pool of [pools.rbd, pools.ceph]) {
      await run('ceph', ['osd', 'pool', 'rm', pool, pool, '--yes-i-really-really-mean-it']);
    }
    await rm(dir, { recursive: true });
  });

  async function answer(side: 'rbd' | 'ceph' | 'local', line: string, shown: typeof plain = plain): Promise<Answer> {
    if (line.endsWith(' CLIENT')) {
      const [, , image = '', id = ''] = line.split(' ');
      const { stdout: locks } = await answer(side, `lock ls ${image} --format json`, (text) => text);
      const { locker } = (JSON.parse(locks) as { id: string; locker: string }[]).find((one) => one.id === id)!;
      return answer(side, line.replace('CLIENT', locker));
    }
    const words = line
      .replaceAll('POOL', pools[side])
      .replaceAll('FILE', join(dir, 'raw'))
      .replaceAll('DIFF', join(dir, 'diff'))
      .split(' ');
    if (side === 'rbd') {
      const { status, stdout } = await run('rbd', words, { env: { TZ: 'UTC' } });
      return { status, stdout: shown(stdout.toString(), pools.rbd) };
    }
    // a clone has data, onto which rbdelta imports nothing unless it is told to
    if (words[0] === 'import-diff') words.push('--force');
    let stdout = '';
    const status = await runCommandLine(words, {
      env: side === 'local' ? { RBDELTA_DIR: join(dir, 'pool') } : { CEPH_CONF: process.env['CEPH_CONF'] },
      signal: new AbortController().signal,
      stdout: { write: async (text) => void (stdout += text), flush: async () => undefined },
      writeError: () => undefined,
      columns: () => 80,
      progress: false,
    });
    return { status, stdout: shown(stdout, pools[side]) };
  }

  test('rbdelta answers as rbd does, on Ceph and on the local pool', async () => {
    const [expected, ceph, local]: [Line[], Line[], Line[]] = [[], [], []];
    for (const line of lines) {
      expected.push({ line, ...(await answer('rbd', line)) });
      ceph.push({ line, ...(await answer('ceph', line)) });
      local.push({ line, ...(await answer('local', line)) });
    }
    expect(ceph).toEqual(expected);
    expect(local).toEqual(expected);
  }, 300_000);
});

/** Without what differs from time to time: ids, times, names that Ceph invents, widths that follow from them. */
const plain = (text: string, pool: string): string =>
  text
    .replaceAll(pool, 'POOL')
    .replaceAll(/127\.0\.0\.1:0\/\d+/gu, '-')
    .replaceAll(/\b[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}\b/gu, 'UUID')
    .replaceAll(/\b(?=[0-9a-f]*[0-9])[0-9a-f]{10,14}\b/gu, 'ID')
    .replaceAll(/[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d [\d:]{8} \d{4}/gu, 'TIME')
    .replaceAll(/("snapshot_id":|<snapshot_id>)\d+/gu, '$1N')
    .replaceAll(/\bclient\.\d+/gu, 'client.N')
    .replaceAll(/^(Locker .*Address|client\.N .*-) +$/gmu, '$1')
    .replaceAll(/^ *\d+ {2}/gmu, 'N  ')
    .replaceAll(/ {2,}/gu, '  ')
    // By id, which is another one each time: in the order of the names.
    .replaceAll(/(?:^ID .*\n)+/gmu, (lines) => `${lines.trimEnd().split('\n').sort().join('\n')}\n`)
    .replaceAll(/-{2,}/gu, '--');

/** An end snapshot, some bytes and some zeros. */
function diffBytes(): Buffer {
  const u32 = (value: number) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    return bytes;
  };
  const range = (tag: string, offset: number, length: number) => {
    const bytes = Buffer.alloc(17);
    bytes.write(tag);
    bytes.writeBigUInt64LE(BigInt(offset), 1);
    bytes.writeBigUInt64LE(BigInt(length), 9);
    return bytes;
  };
  return Buffer.concat([
    Buffer.from('rbd diff v1\n'),
    Buffer.from('t'),
    u32(3),
    Buffer.from('one'),
    range('s', 8 << 20, 0).subarray(0, 9),
    range('w', 100_000, 5000),
    noise(3, 5000),
    range('z', 1 << 20, 1 << 20),
    range('z', (3 << 20) + 4096, 8192),
    range('w', 6 << 20, 4096),
    noise(4, 4096),
    Buffer.from('e'),
  ]);
}
