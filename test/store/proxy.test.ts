// Which requests go through a proxy.

import { expect, test } from 'vitest';
import { proxyFor } from '../../src/store/proxy.ts';

const httpsProxy = 'http://me:secret@proxy.test:3128';
const url = 'https://s3.site.test:8443/';

test.each([
  ['', true],
  ['other.test', false],
  ['site.test', true],
  ['.site.test', true],
  ['*.site.test', true],
  ['3.site.test', false],
  ['s3.site.test:8443', true],
  ['s3.site.test:443', false],
  ['localhost, S3.SITE.TEST', true],
  ['*', true],
])('NO_PROXY=%s', (noProxy, isExcepted) => {
  const found = proxyFor(new URL(url), { httpsProxy, noProxy });
  expect(found === null).toBe(noProxy !== '' && isExcepted);
});

test('only of https, and only where there is one', () => {
  expect(proxyFor(new URL('http://s3.site.test'), { httpsProxy })).toBeNull();
  expect(proxyFor(new URL(url), {})).toBeNull();
  expect(proxyFor(new URL(url), { httpsProxy: 'proxy.test:3128' })?.href).toBe('http://proxy.test:3128/');
  expect(proxyFor(new URL('https://[::1]:9000'), { httpsProxy, noProxy: '::1' })).toBeNull();
  expect(proxyFor(new URL('https://[::1]:9000'), { httpsProxy, noProxy: '[::1]:9000' })).toBeNull();
  expect(proxyFor(new URL('https://[::1]:9000'), { httpsProxy, noProxy: '[::1]:9001' })).not.toBeNull();
  for (const bad of ['http://', 'socks5://me:secret@proxy', ':secret@'])
    expect(() => proxyFor(new URL(url), { httpsProxy: bad })).toThrow(expect.objectContaining({ code: 'usage' }));
  expect(() => proxyFor(new URL(url), { httpsProxy: 'socks5://me:secret@proxy' })).not.toThrow(/secret/);
});
