/** Real traffic between namespaces: small servers that end with the test, and clients that say what came back. */
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { execPath } from 'node:process';
import { PATIENCE, waitFor, type Namespace } from '../host/namespace.ts';

/** Answers every connection or datagram with `<own label> <address of the peer>`. */
const SERVER = `
const [label, protocol, port] = process.argv.slice(1);
const answer = (address) => label + ' ' + address;
if (protocol === 'tcp') {
  require('net').createServer((socket) => {
    socket.on('error', () => {});
    socket.end(answer(socket.remoteAddress));
  }).listen(Number(port), '::', () => console.log('ready'));
} else {
  const socket = require('dgram').createSocket('udp6');
  socket.on('message', (_, from) => socket.send(answer(from.address), from.port, from.address));
  socket.bind(Number(port), '::', () => console.log('ready'));
}`;

const CLIENT = `
const [protocol, address, port, local, patience] = process.argv.slice(1);
const fail = setTimeout(() => process.exit(1), Number(patience));
const done = (text) => { clearTimeout(fail); process.stdout.write(String(text)); process.exit(0); };
if (protocol === 'tcp') {
  const socket = require('net').connect({ host: address, port: Number(port) });
  let text = '';
  socket.on('data', (chunk) => { text += chunk; });
  socket.on('end', () => done(text));
  socket.on('error', () => process.exit(1));
} else {
  const socket = require('dgram').createSocket(address.includes(':') ? 'udp6' : 'udp4');
  socket.on('message', done);
  socket.on('error', () => process.exit(1));
  socket.bind(Number(local), () => socket.send('?', Number(port), address));
}`;

export type Protocol = 'tcp' | 'udp' | 'sctp';
export type Server = { stop(): Promise<void> };

/** Node has no SCTP, socat has: each association is answered and closed. It says on stderr when it listens. */
const sctpServer = (label: string, port: number): string[] =>
  `socat -d -d SCTP6-LISTEN:${port},ipv6only=0,fork,reuseaddr`
    .split(' ')
    .concat(`SYSTEM:echo ${label} $SOCAT_PEERADDR`);
const sctpClient = (address: string, port: number): string[] =>
  `timeout ${3 * PATIENCE} socat -u SCTP:${address.includes(':') ? `[${address}]` : address}:${port} -`.split(
    ' ',
  );

export async function serve(at: Namespace, label: string, protocol: Protocol, port: number): Promise<Server> {
  const argv =
    protocol === 'sctp' ? sctpServer(label, port) : [execPath, '-e', SERVER, label, protocol, String(port)];
  const child: ChildProcess = at.start(argv, {
    stdio: protocol === 'sctp' ? ['ignore', 'ignore', 'pipe'] : ['ignore', 'pipe', 'inherit'],
  });
  const speaks = child.stdout ?? child.stderr;
  if (speaks === null) throw new Error('no pipe');
  await once(speaks, 'data');
  return {
    stop: async () => {
      if (child.exitCode !== null) return;
      child.kill('SIGKILL');
      await once(child, 'exit');
    },
  };
}

/**
 * What the server answered (`label peer-address`), or undefined when nothing came in time. SCTP takes no localPort,
 * and its server writes IPv6 addresses (also mapped ones) in full.
 */
export async function ask(
  from: Namespace,
  protocol: Protocol,
  target: { readonly address: string; readonly port: number; readonly localPort?: number },
): Promise<string | undefined> {
  const words = [
    protocol,
    target.address,
    String(target.port),
    String(target.localPort ?? 0),
    String(1500 * PATIENCE),
  ];
  const argv =
    protocol === 'sctp' ? sctpClient(target.address, target.port) : [execPath, '-e', CLIENT, ...words];
  const done = await from.run(argv);
  return done.code === 0 ? done.stdout.trim().replace('::ffff:', '') : undefined;
}

/** Whether one of three echo requests within a second is answered. */
export async function pings(
  from: Namespace,
  address: string,
  options: readonly string[] = [],
): Promise<boolean> {
  const done = await from.run(['ping', '-n', '-c', '1', '-W', '1', ...options, address]);
  return done.code === 0;
}

/** Waits up to `timeoutMs` for a ping to pass: neighbour discovery of a fresh IPv6 link takes a moment. */
export async function waitForPing(from: Namespace, address: string, timeoutMs = 5000): Promise<void> {
  await waitFor(`a ping from ${from.name} to ${address}`, () => pings(from, address), timeoutMs);
}
