// The verbs of clones, trash, namespaces, metadata: what they print, as rbd prints it, and what they refuse.

import { writeFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { makeWorld } from './world.ts';

test('clone, children, flatten', async () => {
  const { ok, run } = await makeWorld();
  await ok('create --size 8M --object-size 1M volumes/par');
  await ok('snap create volumes/par@s');
  expect(await run('clone volumes/par@s volumes/kid')).toMatchObject({
    status: 22,
    stderr: expect.stringContaining('not protected'),
  });
  await ok('snap protect volumes/par@s');
  await ok('clone volumes/par@s volumes/kid');
  await ok('namespace create volumes/ns');
  expect((await run('clone volumes/par@s volumes/ns/kid')).status).toBe(18);
  await ok('clone --rbd-default-clone-format 2 volumes/par@s volumes/ns/kid');
  await ok('clone --rbd-default-clone-format 2 volumes/par@s --dest-pool backups --dest kid');
  expect(await ok('info volumes/kid')).toContain('\tparent: volumes/par@s\n\toverlap: 8 MiB\n');
  expect(await ok('children volumes/par@s')).toBe('backups/kid\nvolumes/kid\nvolumes/ns/kid\n');
  expect(await ok('children volumes/par --format json')).toBe(
    '[{"pool":"backups","pool_namespace":"","image":"kid"},{"pool":"volumes","pool_namespace":"","image":"kid"},{"pool":"volumes","pool_namespace":"ns","image":"kid"}]\n',
  );
  expect((await run('snap unprotect volumes/par@s')).status).toBe(16);
  expect((await run('rm volumes/par')).status).toBe(39);
  await ok('flatten volumes/kid');
  expect((await run('flatten volumes/kid')).status).toBe(22);
  await ok('snap unprotect volumes/par@s');
  await ok('trash mv backups/kid');
  expect(await ok('children volumes/par')).toBe('volumes/ns/kid\n');
  expect(await ok('children --all volumes/par')).toMatch(/^backups\/kid \(trash [0-9a-f]{12}\)\nvolumes\/ns\/kid\n$/u);
  await ok('snap rm volumes/par@s');
  expect(await ok('snap ls volumes/par')).toBe('');
  await ok('trash purge backups');
  await ok('rm volumes/ns/kid');
  await ok('rm volumes/par');
});

test('snap ls --all: what a snapshot in the trash was called', async () => {
  const { ok } = await makeWorld();
  await ok('create --size 1M volumes/par');
  await ok('snap create volumes/par@s');
  await ok('clone --rbd-default-clone-format 2 volumes/par@s volumes/kid');
  await ok('snap rm volumes/par@s');
  expect(await ok('snap ls --all volumes/par')).toMatch(/ trash \(s\) *\n$/u);
  expect(JSON.parse(await ok('snap ls --all --format json volumes/par'))).toMatchObject([
    { namespace: { type: 'trash', original_name: 's' } },
  ]);
});

test('clone --max-depth', async () => {
  const { ok, run } = await makeWorld();
  await ok('create --size 8M volumes/v0');
  for (const depth of [1, 2]) {
    await ok(`snap create volumes/v${depth - 1}@s`);
    await ok(`snap protect volumes/v${depth - 1}@s`);
    expect(await ok(`clone --max-depth 1 volumes/v${depth - 1}@s volumes/v${depth}`)).toBe('');
  }
  expect(await ok('info volumes/v1')).toContain('parent: volumes/v0@s');
  expect(await ok('info volumes/v2')).not.toContain('parent');
  expect(await run('clone --max-depth few volumes/v1@s volumes/v3')).toMatchObject({
    status: 1,
    stderr: expect.stringContaining('--max-depth takes a whole number'),
  });
});

test('import: a clone becomes one again, or one of another parent, or none', async () => {
  const { ok, run, path } = await makeWorld();
  const { writeFile } = await import('node:fs/promises');
  await writeFile(path('raw'), Buffer.alloc(300_000, 'x'));
  await ok('import --object-size 64K raw volumes/base');
  await ok('snap create volumes/base@s');
  await ok('clone --rbd-default-clone-format 2 volumes/base@s volumes/vm');
  await ok('export --export-format 2 volumes/vm vm.v2');
  const parentOf = async (image: string) => /parent: (.*)\n/u.exec(await ok(`info ${image}`))?.[1] ?? null;

  await ok('import --export-format 2 vm.v2 volumes/again');
  expect(await parentOf('volumes/again')).toBe('volumes/base@s');
  expect(await ok('du volumes/again')).toContain('0 B');
  await ok('import --export-format 2 --flatten vm.v2 volumes/flat');
  expect(await parentOf('volumes/flat')).toBeNull();
  await ok('import --parent volumes/base@s raw backups/vm');
  expect(await parentOf('backups/vm')).toBe('volumes/base@s');
  await ok('rename volumes/base volumes/moved');
  const whole = await run('import --export-format 2 vm.v2 volumes/whole');
  expect(whole).toMatchObject({ status: 0, stderr: expect.stringContaining('volumes/base@s, which is not here') });
  await ok('import --export-format 2 --parent volumes/moved@s vm.v2 volumes/named');
  expect(await parentOf('volumes/named')).toBe('volumes/moved@s');

  expect((await run('import --parent volumes/moved raw volumes/x')).status).toBe(22);
  expect((await run('import --parent volumes/none@s raw volumes/x')).status).toBe(2);
  expect((await run('import --parent volumes/moved@s --flatten raw volumes/x')).status).toBe(1);
  expect(await ok('ls volumes')).not.toContain('x\n');
});

test('trash', async () => {
  const { ok, run } = await makeWorld();
  await ok('create --size 4M volumes/a');
  await ok('create --size 4M volumes/b');
  await ok('trash mv volumes/a');
  await ok(['trash', 'mv', '--expires-at', '7 days', 'volumes/b']);
  expect(await ok('ls volumes')).toBe('');
  const lines = (await ok('trash ls volumes')).trim().split('\n');
  expect(lines.map((line) => line.split(' ')[1] ?? '').toSorted()).toEqual(['a', 'b']);
  const idOf = (name: string) => lines.find((line) => line.endsWith(` ${name}`))?.split(' ')[0] ?? '';
  const long = await ok('trash ls --long volumes');
  expect(long).toMatch(/^ID {12}NAME {2}SOURCE {2}DELETED_AT {16}STATUS {36}PARENT$/mu);
  expect(long).toMatch(/ a {5}USER {4}.{24} {2}expired at /u);
  expect(long).toMatch(/ b {5}USER {4}.{24} {2}protected until /u);
  expect((await run(`trash rm volumes/${idOf('b')}`)).status).toBe(1);
  expect((await run('trash rm volumes/nosuch')).status).toBe(2);
  expect((await run('trash rm')).status).toBe(22);
  expect((await run('trash mv --expires-at garbage volumes/a')).status).toBe(1);
  await ok('create --size 4M volumes/a');
  expect((await run(`trash restore volumes/${idOf('a')}`)).status).toBe(17);
  await ok(`trash restore volumes/${idOf('a')} --image again`);
  expect(await ok('ls volumes')).toBe('a\nagain\n');
  await ok('trash mv volumes/again');
  await ok('trash purge volumes');
  expect(await ok('trash ls volumes --format json')).toBe(`[{"id":"${idOf('b')}","name":"b"}]\n`);
  await ok(`trash rm --force volumes/${idOf('b')}`);
  expect(await ok('ls volumes')).toBe('a\n');
});

test('rename, metadata, status', async () => {
  const { ok, run } = await makeWorld();
  await ok('create --size 4M volumes/a');
  await ok('create --size 4M volumes/b');
  expect((await run('rename volumes/a volumes/b')).status).toBe(17);
  expect((await run('rename volumes/a backups/b')).status).toBe(22);
  expect((await run('rename volumes/nosuch volumes/x')).status).toBe(2);
  expect((await run('rename volumes/a')).status).toBe(22);
  await ok('mv volumes/a c');
  expect(await ok('ls volumes')).toBe('b\nc\n');
  expect(await ok('image-meta list volumes/c')).toBe('There are 0 metadata on this image.\n');
  await ok('image-meta set volumes/c k1 v1');
  expect(await ok('image-meta list volumes/c')).toBe('There is 1 metadatum on this image:\n\nKey  Value\nk1   v1   \n');
  await ok(['image-meta', 'set', 'volumes/c', 'k2', 'v 2']);
  expect(await ok('image-meta list volumes/c --format json')).toBe('{"k1":"v1","k2":"v 2"}\n');
  expect(await ok('image-meta list volumes/c --format xml')).toBe('<metadatas><k1>v1</k1><k2>v 2</k2></metadatas>\n');
  expect(await ok('image-meta get volumes/c k1')).toBe('v1\n');
  expect((await run('image-meta get volumes/c nok')).status).toBe(2);
  await ok('image-meta rm volumes/c k1');
  expect((await run('image-meta rm volumes/c k1')).status).toBe(2);
  expect((await run('image-meta set volumes/c k')).status).toBe(22);
  expect(await ok('status volumes/c')).toBe('Watchers: none\n');
  expect(await ok('status volumes/c --format json')).toBe('{"watchers":[]}\n');
});

test('namespaces', async () => {
  const { ok, run } = await makeWorld();
  await ok('namespace create volumes/ns1');
  await ok('namespace create --pool volumes --namespace ns2');
  expect((await run('namespace create volumes/ns1')).status).toBe(17);
  expect((await run('namespace create volumes')).status).toBe(22);
  expect(await ok('namespace ls volumes')).toBe('NAME\nns1 \nns2 \n');
  expect(await ok('namespace ls volumes --format json')).toBe('[{"name":"ns1"},{"name":"ns2"}]\n');
  await ok('create --size 4M volumes/ns1/x');
  expect((await run('namespace rm volumes/ns1')).status).toBe(16);
  expect((await run('namespace rm volumes/nope')).status).toBe(2);
  await ok('rm volumes/ns1/x');
  await ok('namespace rm volumes/ns1');
  expect(await ok('namespace ls volumes')).toBe('NAME\nns2 \n');
});

test('snap rename, snap limit', async () => {
  const { ok, run } = await makeWorld();
  await ok('create --size 4M volumes/c');
  await ok('snap create volumes/c@s1');
  await ok('snap rename volumes/c@s1 volumes/c@s2');
  expect((await run('snap rename volumes/c@nos volumes/c@s3')).status).toBe(2);
  expect((await run('snap rename volumes/c@s2 volumes/b@s3')).status).toBe(22);
  await ok('snap create volumes/c@s3');
  expect((await run('snap rename volumes/c@s2 volumes/c@s3')).status).toBe(17);
  await ok('snap limit set volumes/c --limit 2');
  expect((await run('snap create volumes/c@s4')).status).toBe(122);
  expect((await run('snap limit set volumes/c --limit 1')).status).toBe(34);
  expect((await run('snap limit set volumes/c')).status).toBe(34);
  await ok('snap limit clear volumes/c');
  await ok('snap create volumes/c@s4');
  expect((await run('snap limit')).stdout).toContain('snap limit set');
});

test('du, object-map', async () => {
  const { ok, run, path } = await makeWorld();
  const { writeFile } = await import('node:fs/promises');
  await writeFile(path('raw'), Buffer.alloc(300_000, 'x'));
  await ok('import --object-size 64K raw volumes/a');
  await ok('snap create volumes/a@s');
  await ok('create --size 8M volumes/b');
  expect(await ok('du volumes/a')).toBe(
    'NAME     PROVISIONED  USED   \na@s          293 KiB  293 KiB\na            293 KiB      0 B\n<TOTAL>      293 KiB  293 KiB\n',
  );
  expect(await ok('du volumes/b')).toBe('NAME  PROVISIONED  USED\nb           8 MiB   0 B\n');
  expect(JSON.parse(await ok('du --pool volumes --format json'))).toMatchObject({
    images: [
      { name: 'a', snapshot: 's', provisioned_size: 300_000, used_size: 300_000 },
      { name: 'a', provisioned_size: 300_000, used_size: 0 },
      { name: 'b', provisioned_size: 8 << 20, used_size: 0 },
    ],
    total_provisioned_size: 300_000 + (8 << 20),
    total_used_size: 300_000,
  });
  expect((await run('du volumes/nosuch')).status).toBe(2);
  await ok('object-map check volumes/a@s');
  await ok('object-map rebuild volumes/a');
  expect((await run('object-map check volumes/a')).stderr).toBe('');
});

test('objects, omap: what is inside', async () => {
  const { ok, run } = await makeWorld();
  await ok('create --size 4M volumes/a');
  await ok('snap create volumes/a@s');
  await ok('snap protect volumes/a@s');
  await ok('clone volumes/a@s volumes/kid');
  const objects = await ok('objects volumes');
  expect(objects).toMatch(/^NAMESPACE {2}NAME +SIZE *\n/u);
  const id = /rbd_header\.([0-9a-f]{12}) +0\n/u.exec(objects)?.[1] ?? '';
  for (const name of ['rbd_directory', 'rbd_children', 'rbd_id.a', 'rbd_id.kid', `rbd_object_map.${id}`]) {
    expect(objects).toContain(` ${name} `);
  }
  const directory = await ok('omap volumes rbd_directory');
  expect(directory).toMatch(/^name_a: "[0-9a-f]{12}"\n {4}00000000 {2}0c 00 00 00 /mu);
  const children = await ok('omap volumes rbd_children');
  expect(children).toMatch(/^\{"pool":1,"imageId":"[0-9a-f]{12}","snapId":1\}: \["[0-9a-f]{12}"\]\n/u);
  const parsed = JSON.parse(await ok(`omap volumes rbd_header.${id} --format json`)) as { key: string }[];
  expect(parsed.map(({ key }) => key)).toContain('size');
  expect((await run('omap volumes')).status).toBe(22);
});

test('a write past the quota of a pool is refused whole', async () => {
  const { ok, run, path } = await makeWorld();
  const { writeFile } = await import('node:fs/promises');
  await ok('pool set-quota volumes max_bytes 1M');
  expect(await ok('pool get-quota volumes')).toBe(
    "quotas for pool 'volumes':\n  max objects: N/A\n  max bytes  : 1 MiB\n",
  );
  await writeFile(path('small'), Buffer.alloc(900_000, 'x'));
  await ok('import --object-size 64K small volumes/a');
  expect(await run('import --object-size 64K small volumes/b')).toMatchObject({
    status: 122,
    stderr: expect.stringContaining("pool 'volumes' past its quota of 1048576 bytes"),
  });
  expect(await ok('ls volumes')).toBe('a\n');
  await ok('rm volumes/a');
  await ok('import --object-size 64K small volumes/b');
  await ok('pool set-quota volumes max_objects 14');
  expect((await run('import --object-size 64K small volumes/c')).status).toBe(122);
  await ok('pool set-quota volumes max_bytes 0');
  await ok('pool set-quota volumes max_objects 0');
  await ok('import --object-size 64K small volumes/c');
});

test('trash purge --threshold: the first to expire go, protected ones as well, until the pool is not too full', async () => {
  const { ok, run, path } = await makeWorld();
  await writeFile(path('raw'), Buffer.alloc(4 << 20, 1));
  await ok('pool set-quota volumes max_bytes 16M');
  for (const name of ['a', 'b', 'c']) await ok(`import raw volumes/${name}`);
  await ok(['trash', 'mv', '--expires-at', '9 days', 'volumes/a']);
  await ok(['trash', 'mv', '--expires-at', '7 days', 'volumes/b']);
  await ok('trash mv --expires-at tomorrow volumes/c');
  const names = async () => {
    const images = JSON.parse(await ok('trash ls volumes --format json')) as { name: string }[];
    return images.map(({ name }) => name).toSorted();
  };
  await ok('trash purge volumes --threshold 0.75');
  expect(await names()).toEqual(['a', 'b', 'c']);
  for (const wrong of ['1.01', '-0.1']) expect((await run(`trash purge volumes --threshold=${wrong}`)).status).toBe(22);
  expect((await run('trash purge volumes --threshold much')).status).toBe(1);
  expect(await names()).toEqual(['a', 'b', 'c']);
  await ok('trash purge volumes --threshold 0.7');
  expect(await names()).toEqual(['a', 'b']);
  await ok('trash purge volumes --threshold 0');
  expect(await names()).toEqual([]);
});
