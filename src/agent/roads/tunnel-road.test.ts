/** The tunnel's road against a process of the test's making, over a real socket: it answers, but carries nothing. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Events, type Logger } from '#lib/log.ts';
import { openTunnelRoad, TUNNEL_SOCKET, type TunnelRoad } from './tunnel-road.ts';
import type { TunnelSecrets } from './tunnel-secrets.ts';
import { systemClock } from '#lib/clock.ts';
import type { Step } from '#model/diff.ts';
import { type Item, keyOf, type TunnelItem, type TunnelPeerItem } from '#model/host.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { type LineServer, serveLines } from '#tunnel/lines.ts';
import type { Look, Order, Request } from '#tunnel/order.ts';
import { programOf } from '#tunnel/program.ts';

const TUNNEL: TunnelItem = {
  kind: 'tunnel',
  link: 'tartan.udp',
  node: 'a',
  mtu: 1432,
  port: 8285,
  cipher: 'aes-256-gcm',
};
const peer = (name: string, last: number): TunnelPeerItem => ({
  kind: 'tunnel-peer',
  link: 'tartan.udp',
  peer: name,
  endpoint: address(`192.0.2.${last}`),
  port: 8285,
  publicKeys: ['key'],
  allowed: [prefix(`10.1.${last}.0/24`)],
});
const add = (item: Item): Step => ({ op: 'add', key: keyOf(item), item });
const remove = (was: Item): Step => ({ op: 'remove', key: keyOf(was), was });

const QUIET: Logger = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };

class Process {
  readonly orders: Order[] = [];
  readonly #socket: string;
  readonly #program: string;
  order: Order | undefined;
  /** Why the next orders are refused. */
  refusal: string | undefined;
  ended = false;
  #server: LineServer | undefined;

  constructor(socket: string, program: string) {
    this.#socket = socket;
    this.#program = program;
  }
  async start(): Promise<void> {
    this.#server = await serveLines(this.#socket, (request) => this.#answer(request));
  }
  stop(): void {
    void this.#server?.close();
  }
  async #answer(request: Request): Promise<unknown> {
    if (request.do === 'look') return this.#look();
    if (request.do === 'end') this.ended = true;
    if (request.do !== 'carry') return undefined;
    if (this.refusal !== undefined) throw Object.assign(new Error(this.refusal), { code: 'EADDRINUSE' });
    this.order = request.order;
    this.orders.push(request.order);
    return undefined;
  }
  #look(): Look {
    return { program: this.#program, pid: 1, ...(this.order === undefined ? {} : { order: this.order }) };
  }
}

type Scene = {
  readonly process: Process;
  readonly secrets: { now: TunnelSecrets };
  readonly events: Events;
  readonly open: () => Promise<TunnelRoad>;
};

async function scene(t: TestContext): Promise<Scene> {
  const directory = mkdtempSync(join(tmpdir(), 'tunnel-road-'));
  const file = join(directory, 'program');
  writeFileSync(file, 'program');
  const process = new Process(join(directory, TUNNEL_SOCKET), programOf(file));
  await process.start();
  const ending = new AbortController();
  t.after(() => {
    ending.abort();
    process.stop();
    rmSync(directory, { recursive: true });
  });
  const events = new Events(QUIET);
  const secrets: Scene['secrets'] = { now: { text: { mode: 'keys', own: ['secret'] } } };
  const { signal } = ending;
  const common = { directory, file, clock: systemClock, signal, log: QUIET, events };
  return {
    process,
    secrets,
    events,
    open: () => openTunnelRoad({ ...common, secrets: () => secrets.now }),
  };
}

async function until(what: string, holds: () => boolean): Promise<void> {
  for (let waited = 0; !holds(); waited += 5) {
    assert.ok(waited < 20_000, what);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

test('steps become whole orders with the secrets; many at once are one', async (t) => {
  const { process, open } = await scene(t);
  const road = await open();
  assert.deepEqual(road.observe(), []);
  const peers = [peer('b', 2), peer('c', 3)];
  assert.deepEqual(road.apply([TUNNEL, ...peers].map(add)), []);
  assert.deepEqual(road.observe(), [TUNNEL, ...peers]);
  await until('the order', () => process.orders.length === 1);
  assert.deepEqual(process.order?.secrets, { mode: 'keys', own: ['secret'] });
  assert.deepEqual(
    process.order?.peers.map(({ name, endpoint, prefixes }) => [name, endpoint?.address, prefixes]),
    [
      ['b', '192.0.2.2', ['10.1.2.0/24']],
      ['c', '192.0.2.3', ['10.1.3.0/24']],
    ],
  );
  road.apply([remove(peers[0] as Item), add(peer('c', 4))]);
  await until('the second order', () => process.orders.length === 2);
  assert.deepEqual(
    process.order?.peers.map(({ name }) => name),
    ['c'],
  );
  road.apply([remove(peer('c', 4)), remove(TUNNEL)]);
  await until('the end', () => process.ended);
});

test('what a process carries already is seen, and nothing is dropped of it', async (t) => {
  const { process, open } = await scene(t);
  const road = await open();
  road.apply([TUNNEL, peer('b', 2)].map(add));
  await until('the order', () => process.orders.length === 1);
  const next = await open();
  assert.deepEqual(next.observe(), [TUNNEL, peer('b', 2)]);
  next.apply([add(peer('c', 3))]);
  await until('its order', () => process.order?.peers.length === 2);
});

test('what is refused is not there, says why, and is tried until it is there', async (t) => {
  const { process, events, open } = await scene(t);
  const road = await open();
  let changes = 0;
  road.onChange = () => (changes += 1);
  process.refusal = 'the port is taken';
  assert.deepEqual(road.apply([add(TUNNEL), add(peer('b', 2))]), []);
  await until('the refusal', () => changes === 1);
  assert.deepEqual(road.observe(), [peer('b', 2)]);
  assert.deepEqual(
    road.apply([add(TUNNEL)]).map(({ step, code, message }) => [step.key, code, message]),
    [['tunnel tartan.udp', 'EADDRINUSE', 'the port is taken']],
  );
  assert.match(events.list().at(-1)?.text ?? '', /the port is taken/);
  assert.ok(road.isBehind, 'what was asked for is not carried');
  let carried = 0;
  road.onCarried = () => (carried += 1);
  process.refusal = undefined;
  await until('the order', () => changes === 2);
  await until('it to be carried', () => carried === 1 && !road.isBehind);
  assert.deepEqual(road.observe(), [TUNNEL, peer('b', 2)]);
});

test('a process that comes again gets its order again; other secrets are an order', async (t) => {
  const { process, secrets, open } = await scene(t);
  const road = await open();
  road.apply([add(TUNNEL)]);
  await until('the order', () => process.orders.length === 1);
  process.stop();
  await process.start();
  await until('the order again', () => process.orders.length === 2);
  let told = 0;
  road.onSecrets = () => (told += 1);
  secrets.now = { text: { mode: 'keys', own: ['newer', 'secret'] } };
  road.apply([]);
  await until('the other secrets', () => process.orders.length === 3);
  assert.equal(told, 1);
  assert.deepEqual(process.order?.secrets, { mode: 'keys', own: ['newer', 'secret'] });
});
