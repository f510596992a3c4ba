import { mkdtempSync, rmSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openLocalPool } from '../../src/image/local/index.ts';
import { doctor, type DoctorQuestion, type Finding } from '../../src/ops/doctor.ts';

const noS3 = { endpoint: null, region: null, credentials: null };
const problems = (findings: Finding[]): Finding[] => findings.filter(({ state }) => state === 'problem');

function place(): string {
  const dir = mkdtempSync(join(tmpdir(), 'rbdelta-doctor-'));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

const ask = (question: Partial<DoctorQuestion>): Promise<Finding[]> =>
  doctor({ cluster: { kind: 'local', dir: '/nosuch', because: 'of the test' }, image: null, s3: noS3, ...question });

describe('doctor', () => {
  test('a local pool that is not there yet is no problem', async () => {
    const findings = await ask({});
    expect(problems(findings)).toEqual([]);
    expect(findings).toContainEqual(expect.objectContaining({ area: 'cluster', state: 'note' }));
    expect(findings).toContainEqual(expect.objectContaining({ area: 'zstd', state: 'ok' }));
  });

  test('an image without an object map is told to be slow, with the remedy', async () => {
    const dir = place();
    const pool = await openLocalPool(join(dir, 'pool'));
    await pool.createPool('rbd');
    const spec = { pool: 'rbd', namespace: '', image: 'vm', snap: null };
    await pool.create(spec, { size: 1 << 20, features: 1 });
    await pool.close();
    const findings = await ask({
      cluster: { kind: 'local', dir: join(dir, 'pool'), because: 'of the test' },
      image: { ...spec, pool: null },
    });
    expect(problems(findings)).toEqual([]);
    expect(findings).toContainEqual(
      expect.objectContaining({ area: 'image', state: 'note', hint: expect.stringContaining('object-map rebuild') }),
    );
  });

  test('a directory that cannot be made is a problem', async () => {
    const dir = place();
    await writeFile(join(dir, 'file'), '');
    for (const inside of ['/proc/nosuch', join(dir, 'file', 'pool')]) {
      const findings = await ask({ cluster: { kind: 'local', dir: inside, because: 'of the test' } });
      expect(problems(findings)).toMatchObject([{ area: 'cluster', code: 'permission' }]);
    }
  });

  test('a raw file is looked at', async () => {
    const file = join(place(), 'raw');
    expect(problems(await ask({ file }))).toMatchObject([{ area: 'image', code: 'notFound' }]);
    await writeFile(file, 'twelve bytes');
    const findings = await ask({ file });
    expect(problems(findings)).toEqual([]);
    expect(findings).toContainEqual(
      expect.objectContaining({ area: 'image', text: expect.stringContaining('12 bytes') }),
    );
  });

  test('a directory of something else is a problem with a code', async () => {
    const dir = place();
    await writeFile(join(dir, 'letter.txt'), '');
    const findings = await ask({ cluster: { kind: 'local', dir, because: 'of the test' } });
    expect(problems(findings)).toMatchObject([{ area: 'cluster', code: 'invalid' }]);
  });

  test('a ceph.conf that is not there is a problem; nothing is waited for', async () => {
    const findings = await ask({
      cluster: { kind: 'ceph', options: { conf: '/nosuch/ceph.conf', timeoutMs: 1000 }, because: 'of the test' },
    });
    expect(problems(findings)).toHaveLength(1);
    expect(problems(findings)[0]?.hint).not.toBe(null);
  });

  test('secrets are not looked at, credentials are told by where they come from', async () => {
    const s3 = { endpoint: 'http://localhost', region: 'x', credentials: 'AWS_PROFILE prod' };
    expect(await ask({ s3 })).toContainEqual(
      expect.objectContaining({ area: 's3', state: 'ok', text: expect.stringContaining('AWS_PROFILE prod') }),
    );
  });
});

describe.skipIf(!process.env['RBDELTA_TEST_CEPH'])('doctor on Ceph', () => {
  test('tells versions, the user and its caps', async () => {
    const conf = process.env['CEPH_CONF'] ?? '';
    const findings = await ask({ cluster: { kind: 'ceph', options: { conf }, because: 'of the test' } });
    expect(problems(findings)).toEqual([]);
    const text = findings.map((finding) => finding.text).join('\n');
    for (const part of ['librbd 1.', 'client.admin', "osd 'allow *'", 'volumes']) expect(text).toContain(part);
  });

  test('monitors that do not answer, and a user without a key, are problems in time', async () => {
    const conf = process.env['CEPH_CONF'] ?? '';
    const cluster = (options: object) =>
      ({ kind: 'ceph', options: { conf, timeoutMs: 1000, ...options }, because: 'of the test' }) as const;
    expect(problems(await ask({ cluster: cluster({ monHost: '127.0.0.1:1' }) }))).toMatchObject([
      { area: 'cluster', code: 'timeout' },
    ]);
    expect(problems(await ask({ cluster: cluster({ keyring: '/nosuch' }) }))).toMatchObject([
      { area: 'keyring', code: 'unavailable' },
    ]);
  });
});
