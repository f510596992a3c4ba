// What a failure advises: the next step, in words that fit the command.

import { expect, test } from 'vitest';
import { makeWorld } from './world.ts';

test.each([
  ['import - --dest-pool volumes', 'name it as [pool/[namespace/]]image, or with --dest'],
  ['info', 'name it as [pool/[namespace/]]image, or with --image'],
  ['snap create volumes/vm', 'name it as image@snap, or with --snap'],
  ['create volumes/vm --size 1Q', '--size takes a size, as 512M or 10G; a number alone counts MiB'],
  ['create volumes/vm --size 1 --object-size 1', '--object-size takes a size from 4K to 32M'],
  ['create volumes/vm --size 1 --stripe-unit 4K --stripe-count x', '--stripe-count takes a whole number above 0'],
  ['create volumes/vm --size 1 --image-feature bogus', '--image-feature takes layering, .*'],
  ['create volumes/vm --size 1 --mirror-image-mode x', '--mirror-image-mode takes journal or snapshot'],
  ['create volumes/vm --size', '--size takes a size, .*'],
  ['diff volumes/vm --offset 1X', '--offset takes a size, as 4096, 64K or 10G'],
  ['ls --format yaml', '--format takes plain or json or xml'],
  ['ls --timeout never', '--timeout takes a number of seconds above 0, as 10 or 0.5'],
  ['repo list s3://', 'write it as s3://bucket/prefix'],
  ['repo list s3:///x', 'write it as s3://bucket/prefix'],
  ['repo list nosuch', 'is the file system mounted. rbdelta repo init .*'],
  ['ls -c /nonexist', 'name the right one with --conf or CEPH_CONF; .*'],
])('%s', async (line, hint) => {
  const { run } = await makeWorld({ pools: [] });
  const { stderr } = await run(line);
  const pattern = hint.replaceAll(/[[\]|]/gu, '\\$&');
  expect(stderr).toMatch(new RegExp(`\nhint: ${pattern}\n$`, 'u'));
});

test('an output in a directory that is not there', async () => {
  const { run, ok, path } = await makeWorld({ pools: ['volumes'] });
  await ok('create volumes/vm --size 1');
  for (const verb of ['export-diff', 'export']) {
    const { status, stderr } = await run(`${verb} volumes/vm ${path('nosuch/x')}`);
    expect(status).toBe(2);
    expect(stderr).toMatch(/\nhint: there is no directory .*nosuch\n$/u);
  }
});
