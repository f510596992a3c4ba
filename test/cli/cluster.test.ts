import { describe, expect, test } from 'vitest';
import { readArgs } from '../../src/cli/args.ts';
import { chooseCluster } from '../../src/cli/cluster.ts';

const choose = (line: string, env: Record<string, string>, files: string[] = []) =>
  chooseCluster(readArgs(line === '' ? [] : line.split(' ')), { HOME: '/home/me', ...env }, (path) =>
    files.includes(path),
  );

describe('which cluster is meant', () => {
  test('--cluster-dir before all, then options of Ceph, then RBDELTA_DIR, then a ceph.conf, then the own directory', () => {
    const files = ['/etc/ceph/ceph.conf'];
    const env = { RBDELTA_DIR: '/env', CEPH_CONF: '/c' };
    expect(choose('--cluster-dir /dir', env, files)).toMatchObject({ kind: 'local', dir: '/dir' });
    expect(choose('--id backup', env, files)).toMatchObject({ kind: 'ceph', options: { id: 'backup', conf: '/c' } });
    expect(choose('', env, files)).toMatchObject({ kind: 'local', dir: '/env' });
    expect(choose('', { CEPH_CONF: '/c' }, files)).toMatchObject({ kind: 'ceph', conf: '/c' });
    expect(choose('', {}, files)).toMatchObject({ kind: 'ceph', conf: '/etc/ceph/ceph.conf' });
    expect(choose('', {})).toMatchObject({ kind: 'local', dir: '/home/me/.local/share/rbdelta' });
    expect(choose('', { XDG_DATA_HOME: '/data' })).toMatchObject({ kind: 'local', dir: '/data/rbdelta' });
  });

  test('ceph.conf is looked for where librados does, under the name of the cluster', () => {
    const files = ['/home/me/.ceph/dr.conf', 'dr.conf', '/etc/ceph/ceph.conf'];
    expect(choose('--cluster dr', {}, files)).toMatchObject({ conf: '/home/me/.ceph/dr.conf' });
    expect(choose('--cluster dr', {}, files.slice(1))).toMatchObject({ conf: 'dr.conf' });
    expect(choose('-c /my.conf --cluster dr', {}, files)).toMatchObject({ conf: '/my.conf' });
  });

  test('CEPH_ARGS and CEPH_KEYRING count, options on the command line beat them', () => {
    const env = { CEPH_ARGS: '--id robot --conf /args.conf --debug-rbd 20', CEPH_KEYRING: '/ring' };
    expect(choose('-K /key', env)).toMatchObject({ options: { keyfile: '/key', args: [] } });
    expect(choose('', env)).toMatchObject({ options: { id: 'robot', conf: '/args.conf', keyring: '/ring', args: [] } });
    expect(choose('--id me -k /mine --rbd-cache=false', env)).toMatchObject({
      options: { id: 'me', conf: '/args.conf', keyring: '/mine', args: ['--rbd-cache=false'] },
    });
  });

  test('two clusters at once are refused', () => {
    expect(() => choose('--cluster-dir /dir --id x', {})).toThrow(expect.objectContaining({ code: 'usage' }));
  });

  test('it says why', () => {
    expect(choose('', { RBDELTA_DIR: '/env' }).because).toContain('RBDELTA_DIR');
    expect(choose('', {}, ['/etc/ceph/ceph.conf']).because).toContain('/etc/ceph/ceph.conf');
  });
});
