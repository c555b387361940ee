/**
 * Controllers as processes on a real etcd, with all that may come between them and it: a network that holds what is sent and
 * delivers it later, processes that stand still, wall clocks that are set, and monotonic clocks that begin elsewhere. Never do two
 * act at once.
 */
import assert from 'node:assert/strict';
import { globSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { newBlock, nodesOf, take } from '../../src/ipam/blocks/block.ts';
import type { Block } from '../../src/model/block.ts';
import type { SubnetClaim } from '../../src/model/world.ts';
import { prefix } from '../../src/net/prefix.ts';
import { type EtcdStore, openEtcdStore } from '../../src/stores/etcd/etcd.ts';
import { type CuttingProxy, startProxy } from '../runtimes/cutting-proxy.ts';
import type { Daemon } from '../runtimes/daemon.ts';
import { type Etcd, noEtcd, startEtcd } from '../runtimes/etcd.ts';
import { type Controllers, noProgram, openControllers, Witness } from './controllers.ts';
import { waitFor } from './namespace.ts';

const FAKETIME = globSync('/usr/lib/*/faketime/libfaketimeMT.so.1')[0];
const skip = noEtcd || noProgram || (process.getuid?.() === 0 ? false : 'needs root');
const WAIT_MS = 60_000;

let etcd: Etcd;
let store: EtcdStore;
let controllers: Controllers;
let witness: Witness;
const directory = mkdtempSync(join(tmpdir(), 'kc-'));
const stop = new AbortController();
const clockFile = join(directory, 'clock');

type One = { readonly name: string; readonly daemon: Daemon; readonly proxy: CuttingProxy };
const ones: One[] = [];

async function start(name: string, words: readonly string[] = [], env: NodeJS.ProcessEnv = {}): Promise<One> {
  const proxy = await startProxy(Number(new URL(etcd.settings.endpoints[0] ?? '').port));
  const endpoints = [`http://127.0.0.1:${proxy.port}`];
  const daemon = controllers.start(
    name,
    { type: 'etcd', etcd: { endpoints, requestTimeoutSeconds: 2 } },
    words,
    env,
  );
  const one = { name, daemon, proxy };
  ones.push(one);
  return one;
}

/** By what it logs: its name does not know its identity. */
function identityOf({ daemon }: One): string {
  return /"node":"([^"]+)"/.exec(daemon.log())?.[1] ?? 'unknown';
}
function leader(): One | undefined {
  return ones.find((one) => identityOf(one) === witness.holder);
}
function waitForLeader(what: string, suits: (one: One) => boolean = () => true): Promise<One> {
  return waitFor(what, () => ones.find((one) => one === leader() && suits(one)), WAIT_MS);
}
/** So many more states of the cluster by that controller. */
async function waitForActs(one: One, count = 1): Promise<void> {
  const acts = (): number => witness.written().filter(({ by }) => by === identityOf(one)).length;
  const wanted = acts() + count;
  await waitFor(`${one.name} to act`, () => acts() >= wanted, WAIT_MS);
}

function assertOneActs(): void {
  const written = witness.written();
  for (const { by, holder, revision } of written)
    assert.equal(by, holder, `${by} wrote revision ${revision} while ${holder} held the lease`);
  const turns = written.filter(({ by }, index) => by !== written[index - 1]?.by);
  const revisions = written.map(({ revision }) => revision);
  assert.deepEqual(
    revisions,
    revisions.toSorted((a, b) => a - b),
  );
  assert.ok(turns.length > 0);
}

if (skip === false) {
  before(async () => {
    etcd = await startEtcd();
    store = openEtcdStore({ settings: etcd.settings });
    controllers = openControllers(directory);
    witness = new Witness(store, stop.signal);
    writeFileSync(clockFile, '+0\n');
    await start('plain');
    // Its monotonic clock is eleven days ahead.
    await start('ahead', ['unshare', '--time', '--monotonic', '1000000', '--boottime', '1000000']);
  });
  after(async () => {
    stop.abort();
    await controllers[Symbol.asyncDispose]();
    for (const { proxy } of ones) await proxy[Symbol.asyncDispose]();
    store.close();
    await etcd[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });
}

/** Nodes come and go, so that there is always something to tell. */
let changing: NodeJS.Timeout | undefined;
let round = 0;

const advert = (name: string, ready: boolean) => ({
  name,
  addresses: { 4: '192.0.2.1' },
  subnets: {},
  road: 'vxlan',
  mtu: 1500,
  ready,
});

test('what nodes had that are gone is taken back; who answers keeps what is his', { skip }, async () => {
  const claim = (node: string, third: number, reserved = false): Promise<unknown> => {
    const value: SubnetClaim = { node, subnet: prefix(`10.77.${third}.0/24`), reserved };
    return store.put('SubnetClaim', `10.77.${third}.0-24`, value, { ttlSeconds: 3600 });
  };
  await store.put('Node', 'here', advert('here', true));
  await claim('here', 1);
  await claim('gone', 2);
  await claim('starting', 3);
  await claim('gone', 4, true);
  await store.put('Workloads', 'gone', { node: 'gone', pods: [] });
  const range = prefix('10.77.128.0/26');
  const [gone, here] = [
    { node: 'gone', term: 1 },
    { node: 'here', term: 1 },
  ];
  await store.put('Block', '10.77.128.0-26', take(take(newBlock(range, gone), gone, [1, 2]), here, [3]));
  // One node has a claim, no advert yet, and an agent that answers.
  const claims = store.watch('SubnetClaim', stop.signal);
  let answers = 0;
  void (async () => {
    for await (const event of claims) {
      if (event.type !== 'put' || event.object.name !== '10.77.3.0-24') continue;
      const { questioned, ...own } = event.object.value as SubnetClaim;
      if (questioned === undefined) continue;
      answers += 1;
      await store.put('SubnetClaim', event.object.name, own, { ttlSeconds: 3600 });
    }
  })();
  const names = async (): Promise<string> =>
    Array.from(await store.list('SubnetClaim'), ({ name }) => name.split('.')[2] ?? '')
      .toSorted()
      .join();
  await waitFor('the claim to be taken back', async () => (await names()) === '1,3,4', WAIT_MS);
  await waitFor('a second question', () => answers > 1, WAIT_MS);
  assert.equal(await names(), '1,3,4');
  await waitFor(
    'the block to be given back',
    async () => {
      const block = (await store.get('Block', '10.77.128.0-26'))?.value as Block;
      return nodesOf(block).join() === 'here';
    },
    WAIT_MS,
  );
  assert.equal(await store.get('Workloads', 'gone'), undefined);
  assert.equal(witness.status?.nodes.ready, 1);
  assertOneActs();
});

test(
  'a leader that the network separates: another leads, and what was on its way comes to nothing',
  { skip },
  async () => {
    changing = setInterval(() => {
      round += 1;
      store.put('Node', 'here', advert('here', round % 2 === 0)).catch(() => undefined);
    }, 200);
    stop.signal.addEventListener('abort', () => clearInterval(changing));
    const separated = await waitForLeader('a leader');
    await waitForActs(separated);
    separated.proxy.hold(true);
    const other = await waitForLeader('another leader', (one) => one !== separated);
    await waitForActs(other);
    separated.proxy.hold(false);
    await waitForActs(other, 2);
    assertOneActs();
    await waitFor(
      'the separated one to know',
      () => /does not lead any more/.test(separated.daemon.log()),
      WAIT_MS,
    );
  },
);

test('a leader that stands still finds another when it wakes', { skip }, async () => {
  const still = await waitForLeader('a leader');
  await waitForActs(still);
  still.daemon.signal('SIGSTOP');
  const other = await waitForLeader('another leader', (one) => one !== still);
  await waitForActs(other);
  still.daemon.signal('SIGCONT');
  await waitForActs(other);
  await waitFor('it to know', () => still.daemon.log().split('does not lead any more').length > 1, WAIT_MS);
  assertOneActs();
});

test(
  'wall clocks that are set by days change nothing but that the leader asks again',
  { skip: skip || (FAKETIME === undefined ? 'faketime is not installed (apt-get install faketime)' : false) },
  async () => {
    for (const { daemon } of ones) await daemon.stop('SIGTERM');
    const env = {
      LD_PRELOAD: FAKETIME,
      FAKETIME_TIMESTAMP_FILE: clockFile,
      FAKETIME_NO_CACHE: '1',
      DONT_FAKE_MONOTONIC: '1',
    };
    const jumping = await start('jumping', [], env);
    await waitForLeader('the one that jumps', (one) => one === jumping);
    const straight = await start('straight');
    for (const offset of ['+3d', '-3d']) {
      writeFileSync(clockFile, `${offset}\n`);
      await waitForActs(jumping, 2);
    }
    assertOneActs();
    const holders = witness.leases.events.flatMap((event) =>
      event.type === 'put' ? [(event.object.value as { holderIdentity: string }).holderIdentity] : [],
    );
    assert.ok(!holders.includes(identityOf(straight)), 'a lease is not taken for a time that stands in it');
  },
);

test(
  'one that ends gives the lease up; the state of the cluster can be read by anybody',
  { skip },
  async () => {
    const ending = await waitForLeader('a leader');
    const began = performance.now();
    await ending.daemon.stop('SIGTERM');
    const next = ones.find(({ daemon }) => daemon.ended() === undefined) ?? (await start('next'));
    await waitForLeader('the next one', (one) => one === next);
    assert.ok(performance.now() - began < WAIT_MS);
    await waitForActs(next);
    clearInterval(changing);
    await store.put('Node', 'here', advert('here', true));
    const text = await waitFor(
      'the state to be told',
      async () => {
        const { code, stdout } = await controllers.tartan(next.name, 'status', '--cluster');
        return code === 0 && stdout;
      },
      WAIT_MS,
    );
    assert.match(text, /Nodes +1 of 1 ready/);
    assert.match(text, new RegExp(`Controller +${identityOf(next)}`));
  },
);
