// Which requests go through a proxy, as HTTPS_PROXY and NO_PROXY of most tools say it.

import { RbdeltaError } from '../error.ts';
import { printable } from '../bytes/text.ts';

export interface ProxyOptions {
  /** `http://[user:password@]host:port`, or without the `http://`. Of https endpoints; absent or empty: none. */
  httpsProxy?: string | undefined;
  /** Hosts that are asked directly, separated by commas: `host`, `.domain` (with all below it), `host:port`, or `*`. */
  noProxy?: string | undefined;
}

/** The proxy for this address; null: none. `usage` for one that is no address. */
export function proxyFor(url: URL, { httpsProxy = '', noProxy = '' }: ProxyOptions): URL | null {
  if (httpsProxy === '' || url.protocol !== 'https:' || isExcepted(url, noProxy)) return null;
  const text = httpsProxy.includes('://') ? httpsProxy : `http://${httpsProxy}`;
  const proxy = URL.canParse(text) ? new URL(text) : null;
  if (proxy !== null && /^https?:$/.test(proxy.protocol) && proxy.hostname !== '') return proxy;
  throw new RbdeltaError('usage', `the proxy "${printable(withoutPassword(httpsProxy))}" is not the address of one`, {
    hint: 'write HTTPS_PROXY as http://host:port',
  });
}

const withoutPassword = (text: string): string => text.replace(/[^/@]*@/, '');

function isExcepted({ hostname, port }: URL, noProxy: string): boolean {
  const host = hostname.replace(/^\[|\]$/g, '');
  return noProxy.split(/[\s,]+/).some((entry) => {
    // A bare address of IPv6 has colons of its own.
    const [, bracketed, plain, onPort] = /^(?:\[(.*)\]|([^:]*))(?::(\d+))?$/.exec(entry.toLowerCase()) ?? [];
    const name = bracketed ?? plain ?? entry.toLowerCase();
    if (name === '' || (onPort !== undefined && onPort !== (port || '443'))) return false;
    const domain = name.replace(/^\*?\./, '');
    return name === '*' || host === domain || host.endsWith(`.${domain}`);
  });
}
