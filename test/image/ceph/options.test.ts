// How a cluster is named on a command line.

import { describe, expect, test } from 'vitest';
import { identify } from '../../../src/image/ceph/options.ts';

describe('who and where', () => {
  test('without options it is client.admin of the cluster ceph', () => {
    expect(identify({})).toEqual({ identity: { conf: null, cluster: 'ceph', entity: 'client.admin' }, rest: [] });
  });

  test.each([
    [['-c', '/a.conf', '--id', 'x'], { conf: '/a.conf', entity: 'client.x' }],
    [['--conf=/a.conf', '--user=x'], { conf: '/a.conf', entity: 'client.x' }],
    [['-n', 'client.y', '--cluster', 'other'], { cluster: 'other', entity: 'client.y' }],
    [['--name=client.y', '-i', 'x'], { entity: 'client.x' }],
    [['-i', 'x', '--name=client.y'], { entity: 'client.y' }],
  ])('%s are taken out of the arguments', (args, expected) => {
    const { identity, rest } = identify({ args });
    expect(identity).toMatchObject(expected);
    expect(rest).toEqual([]);
  });

  test('the rest is left for Ceph, in order', () => {
    const args = ['--rbd_cache=true', '--id', 'x', '-m', 'host', '--debug-rbd', '20'];
    expect(identify({ args }).rest).toEqual(['--rbd_cache=true', '-m', 'host', '--debug-rbd', '20']);
  });

  test('what is given as a field beats what is in the arguments', () => {
    const args = ['-n', 'client.y', '-c', '/b.conf', '--cluster', 'b'];
    expect(identify({ args, id: 'x', conf: '/a.conf', cluster: 'a' }).identity).toEqual({
      conf: '/a.conf',
      cluster: 'a',
      entity: 'client.x',
    });
  });

  test('an option without its value is a mistake of usage, as is a name without a type', () => {
    for (const options of [{ args: ['--id'] }, { name: 'admin' }, { name: 'client.' }, { id: '' }]) {
      expect(() => identify(options)).toThrow(expect.objectContaining({ code: 'usage' }));
    }
  });
});
