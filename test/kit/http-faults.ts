// A proxy in front of a real HTTP server that breaks chosen exchanges: what happens on the way to an S3 server.

import { createServer, type IncomingHttpHeaders, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';

export interface Fault {
  /** Which requests: matched against `METHOD /path?query`. */
  match: RegExp;
  /** How many of them, after `skip`; all if absent. */
  times?: number;
  skip?: number;
  act: FaultAction;
}

export type FaultAction =
  /** Answered here, with an error as S3 writes it; the server does not see it. */
  | { kind: 'answer'; status: number; code: string }
  /** Answered here, with this. */
  | { kind: 'answerWith'; status: number; body: string }
  /** Only looked at. */
  | { kind: 'see'; see: (headers: IncomingHttpHeaders) => void }
  /** The server does it, the answer is an error. */
  | { kind: 'loseAnswer'; status: number; code: string }
  /** The connection breaks before anything is answered; the server does not see it. */
  | { kind: 'cut' }
  /** The connection breaks after so many bytes of the answer's body. */
  | { kind: 'cutBody'; afterBytes: number }
  /** A byte of the request's body changes on the way. */
  | { kind: 'flipByte'; at: number }
  /** The request is held back until the connection ends. */
  | { kind: 'hang' }
  /** Runs before the request goes to the server. */
  | { kind: 'before'; run: () => Promise<void> };

export interface FaultyProxy extends AsyncDisposable {
  url: string;
  faults: Fault[];
  /** Every request so far, as `METHOD /path?query`. */
  requests: string[];
  /** Resolves when nothing is on its way to the server. */
  idle(): Promise<void>;
}

export async function faultyProxy(target: string): Promise<FaultyProxy> {
  const faults: Fault[] = [];
  const requests: string[] = [];
  const running = new Set<Promise<void>>();
  const server = createServer((incoming, outgoing) => {
    const line = `${incoming.method} ${incoming.url}`;
    requests.push(line);
    // Whatever breaks is meant to: the client sees it.
    const exchanged = exchange(new URL(target), incoming, outgoing, take(faults, line)).catch(
      () => void outgoing.destroy(),
    );
    running.add(exchanged);
    void exchanged.then(() => running.delete(exchanged));
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    faults,
    requests,
    async idle() {
      await Promise.all(running);
    },
    async [Symbol.asyncDispose]() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

function take(faults: Fault[], line: string): FaultAction | null {
  const fault = faults.find(({ match, times = 1 }) => match.test(line) && times > 0);
  if (!fault) return null;
  if (fault.skip) {
    fault.skip -= 1;
    return null;
  }
  if (fault.times !== undefined) fault.times -= 1;
  return fault.act;
}

async function exchange(
  target: URL,
  incoming: IncomingMessage,
  outgoing: ServerResponse,
  fault: FaultAction | null,
): Promise<void> {
  if (fault?.kind === 'hang') return;
  const body: Buffer[] = [];
  for await (const chunk of incoming) body.push(chunk as Buffer);
  const sent = Buffer.concat(body);
  if (fault?.kind === 'cut') throw new Error('cut');
  if (fault?.kind === 'answer') return answerError(outgoing, fault);
  if (fault?.kind === 'answerWith') return void outgoing.writeHead(fault.status).end(fault.body);
  if (fault?.kind === 'see') fault.see(incoming.headers);
  if (fault?.kind === 'before') await fault.run();
  if (fault?.kind === 'flipByte') sent[fault.at]! ^= 1;

  const answer = await forward(target, incoming, sent);
  const received: Buffer[] = [];
  for await (const chunk of answer) received.push(chunk as Buffer);
  const whole = Buffer.concat(received);
  if (fault?.kind === 'loseAnswer') return answerError(outgoing, fault);
  outgoing.writeHead(answer.statusCode ?? 500, answer.rawHeaders);
  if (fault?.kind === 'cutBody') {
    await new Promise((resolve) => outgoing.write(whole.subarray(0, fault.afterBytes), resolve));
    throw new Error('cut');
  }
  outgoing.end(whole);
}

/** With the client's own headers, Host too: they are signed. */
function forward(target: URL, { method, url, headers }: IncomingMessage, body: Buffer): Promise<IncomingMessage> {
  return new Promise((resolve, reject) => {
    const { expect: _, ...kept } = headers;
    const options = { host: target.hostname, port: target.port, method, path: url, headers: kept };
    request(options, resolve).on('error', reject).end(body);
  });
}

function answerError(outgoing: ServerResponse, { status, code }: { status: number; code: string }): void {
  const xml = `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code><Message>made up</Message></Error>`;
  outgoing.writeHead(status, { 'content-type': 'application/xml' }).end(xml);
}
