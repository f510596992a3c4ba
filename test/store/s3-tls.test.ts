// A server with a certificate of one's own, directly and through a proxy that wants a password.

import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { createServer as createHttp } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { type AddressInfo, connect, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test, vi } from 'vitest';
import { openS3Store } from '../../src/store/s3-store.ts';
import { makeWorld } from '../cli/world.ts';

const dir = mkdtempSync(join(tmpdir(), 'rbdelta-tls-'));
const caFile = join(dir, 'cert.pem');
let endpoint: string;
let proxy: string;
/** What the server and the proxy were asked. */
let asked: string[] = [];
let tunnels: string[] = [];
const servers: Server[] = [];

async function listen(server: Server): Promise<number> {
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return (server.address() as AddressInfo).port;
}

beforeAll(async () => {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'key');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'secret');
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  const key = join(dir, 'key.pem');
  const subject = ['-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost'];
  const made = [
    'req',
    '-x509',
    '-newkey',
    'rsa:2048',
    '-nodes',
    '-days',
    '2',
    '-keyout',
    key,
    '-out',
    caFile,
    ...subject,
  ];
  execFileSync('openssl', made, { stdio: 'ignore' });
  const empty =
    '<?xml version="1.0"?><ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/"><IsTruncated>false</IsTruncated></ListBucketResult>';
  const s3 = createHttps({ key: readFileSync(key), cert: readFileSync(caFile) }, (request, response) => {
    asked.push(`${request.headers.host?.split(':')[0]} ${request.url?.split('?')[0]}`);
    if (request.url?.includes('list-type=2')) response.setHeader('content-type', 'application/xml').end(empty);
    else response.writeHead(404).end();
  });
  endpoint = `https://localhost:${await listen(s3)}`;
  const tunnel = createHttp().on('connect', (request, socket) => {
    const isKnown = request.headers['proxy-authorization'] === `Basic ${btoa('me:secret')}`;
    tunnels.push(`${isKnown ? 'yes' : 'no'} ${request.url}`);
    if (!isKnown) return void socket.end('HTTP/1.1 407 Who are you\r\n\r\n');
    const there = connect(Number(request.url?.split(':')[1]), '127.0.0.1', () => {
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      there.pipe(socket).pipe(there);
    });
    for (const end of [there, socket]) end.on('error', () => undefined);
  });
  proxy = `127.0.0.1:${await listen(tunnel)}`;
});

beforeEach(() => {
  asked = [];
  tunnels = [];
});

afterAll(() => {
  vi.unstubAllEnvs();
  for (const server of servers) server.close();
  rmSync(dir, { recursive: true, force: true });
});

const open = async (options: Parameters<typeof openS3Store>[1]): Promise<void> => {
  const store = await openS3Store('s3://bucket/prefix', { endpoint, region: 'here', attempts: 1, ...options });
  await store.close();
};

test('a certificate is trusted that --ca-file has, and no other', async () => {
  await expect(open({})).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('certificate'),
  });
  await open({ caFile });
  expect(asked).toEqual(['localhost /bucket/']);
});

test('the name of the bucket may be in that of the host', async () => {
  await expect(open({ caFile, pathStyle: false })).rejects.toMatchObject({ code: expect.any(String) });
  expect(asked).toEqual([]);
});

test('a proxy is asked, with its password, but not for what is excepted', async () => {
  const { host } = new URL(endpoint);
  await open({ caFile, httpsProxy: `http://me:secret@${proxy}` });
  expect([tunnels, asked]).toEqual([[`yes ${host}`], ['localhost /bucket/']]);
  await open({ caFile, httpsProxy: `http://me:secret@${proxy}`, noProxy: 'localhost' });
  expect([tunnels.length, asked.length]).toEqual([1, 2]);
  await expect(open({ caFile, httpsProxy: proxy })).rejects.toMatchObject({
    code: 'unavailable',
    message: expect.stringContaining('the proxy answers 407'),
  });
  const nobody = open({ caFile, httpsProxy: '127.0.0.1:1' });
  await expect(nobody).rejects.toMatchObject({ code: 'unavailable' });
});

test('the command line: options, and what the environment says', async () => {
  const world = await makeWorld({ pools: [] });
  const where = ['--s3-endpoint', endpoint, '--s3-region', 'here'];
  const missing = await world.run(['repo', 'list', 's3://bucket/prefix', ...where, '--ca-file', caFile]);
  expect(missing).toMatchObject({ status: 2, stderr: expect.stringContaining('rbdelta.json') });
  world.env['AWS_CA_BUNDLE'] = caFile;
  world.env['HTTPS_PROXY'] = `http://me:secret@${proxy}`;
  const path = 's3://bucket/full.rbdiff';
  expect(await world.run(['inspect', path, ...where])).toMatchObject({ status: 2 });
  expect(tunnels.length).toBeGreaterThan(0);
  expect(await world.run(['inspect', path, '--s3-endpoint', 'nowhere'])).toMatchObject({ status: 1 });
  expect(await world.run(['inspect', path, ...where, '--path-style', 'maybe'])).toMatchObject({ status: 1 });
});
