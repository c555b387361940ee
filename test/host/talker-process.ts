/**
 * A program that listens and asks in one network namespace: `node talker-process.ts LABEL PORT …` answers every TCP
 * connection and UDP datagram at these ports with `LABEL ADDRESS-OF-PEER` and echoes what else comes. What it is asked
 * itself comes as lines of JSON on its standard input (./talker.ts); each is answered by one line.
 */
import { createSocket } from 'node:dgram';
import { connect, createServer } from 'node:net';
import { createInterface } from 'node:readline';
import type { Answer, Request, Target } from './talker.ts';

const [label = '', ...ports] = process.argv.slice(2);
const REFUSED: ReadonlySet<string> = new Set(['ECONNREFUSED', 'ECONNRESET']);
const TICK_MS = 50;

const answerTo = (address = ''): string => `${label} ${address.replace('::ffff:', '')}\n`;

function listen(port: number): Promise<void>[] {
  const tcp = createServer((socket) => {
    socket.on('error', () => {});
    socket.write(answerTo(socket.remoteAddress));
    socket.pipe(socket);
  });
  const udp = createSocket('udp6');
  udp.on('message', (_, { address, port: to }) => udp.send(answerTo(address), to, address));
  return [
    new Promise((done) => tcp.listen(port, '::', done)),
    new Promise((done) => udp.bind(port, '::', done)),
  ];
}

const reason = (error: Error): Answer =>
  REFUSED.has((error as NodeJS.ErrnoException).code ?? '') ? 'refused' : error.message;

function askTcp({ address, ...more }: Target, done: (answer: Answer) => void): () => void {
  const socket = connect({ ...more, host: address });
  socket.once('data', (text) => done(String(text).trim()));
  socket.on('error', (error) => done(reason(error)));
  return () => socket.destroy();
}

const udpOf = ({ address }: Target) => createSocket(address.includes(':') ? 'udp6' : 'udp4');

function askUdp(target: Target, done: (answer: Answer) => void): () => void {
  const socket = udpOf(target);
  socket.on('error', (error) => done(reason(error)));
  socket.once('message', (text) => done(String(text).trim()));
  // A connected socket hears of ICMP errors.
  socket.bind(0, target.localAddress, () =>
    socket.connect(target.port, target.address, () => socket.send('?')),
  );
  return () => socket.close();
}

function ask(target: Target, patienceMs: number): Promise<Answer> {
  return new Promise((resolve) => {
    const end = (answer: Answer): void => {
      clearTimeout(timer);
      close();
      resolve(answer);
    };
    const timer = setTimeout(() => end('silence'), patienceMs);
    const close = (target.protocol === 'tcp' ? askTcp : askUdp)(target, end);
  });
}

/** What came back on a connection that was opened so far. */
type Stream = { bytes: number; tick(): void; close(): void };
const streams: Stream[] = [];

function openTcp({ address, ...more }: Target): Stream {
  const socket = connect({ ...more, host: address });
  const stream: Stream = {
    bytes: 0,
    // What waits to be sent again is enough of a tick.
    tick: () => void (socket.writableLength === 0 && socket.write('tick')),
    close: () => void socket.destroy(),
  };
  socket.on('data', (data) => (stream.bytes += data.length));
  socket.on('error', () => {});
  return stream;
}

function openUdp(target: Target): Stream {
  const socket = udpOf(target);
  socket.bind(0, target.localAddress);
  const stream: Stream = {
    bytes: 0,
    tick: () => socket.send('tick', target.port, target.address),
    close: () => void socket.close(),
  };
  socket.on('message', (data) => (stream.bytes += data.length));
  socket.on('error', () => {});
  return stream;
}

setInterval(() => {
  for (const stream of streams) stream.tick();
}, TICK_MS);

async function perform(request: Request): Promise<readonly (Answer | number)[]> {
  if (request.do === 'ask')
    return Promise.all(request.targets.map((target) => ask(target, request.patienceMs)));
  if (request.do === 'open')
    streams.push(...request.targets.map((target) => (target.protocol === 'tcp' ? openTcp : openUdp)(target)));
  if (request.do === 'close') for (const stream of streams.splice(0)) stream.close();
  return streams.map(({ bytes }) => bytes);
}

await Promise.all(ports.flatMap((port) => listen(Number(port))));
console.log('ready');
createInterface(process.stdin)
  .on('line', (line) => {
    const { id, request } = JSON.parse(line) as { id: number; request: Request };
    void perform(request).then((answers) => console.log(JSON.stringify({ id, answers })));
  })
  .on('close', () => process.exit(0));
