/**
 * Relays (`tartan relay`) before a real API server, with the rights that an installation grants: the store contract through
 * one, and what may happen to them: killed, hung, cut off, asked by who may not.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { systemClock } from '../../src/lib/clock.ts';
import { RELAY_AUDIENCE } from '../../src/model/relay.ts';
import { KubernetesGate } from '../../src/relay/gate.ts';
import { startRelay as startRelayHere } from '../../src/relay/testing/relay.ts';
import { Follower, stateContract } from '../../src/stores/contract.ts';
import { openKubernetesStore } from '../../src/stores/kubernetes/kubernetes.ts';
import { relayed } from '../../src/stores/relay/relayed.ts';
import { type ApiServer, noApiServer, startApiServer } from '../kubernetes/api-server.ts';
import { clearState, defineState } from '../kubernetes/definitions.ts';
import { type CuttingProxy, startProxy } from '../runtimes/cutting-proxy.ts';
import { type Daemon, startDaemon, tail } from '../runtimes/daemon.ts';
import { waitFor } from './namespace.ts';

const skip = noApiServer ?? false;
const WAIT_MS = 60_000;
const QUICK = { fallBackMs: 20_000, lookMs: 500, awayMs: 500, holdMs: 500 };
const ACCOUNTS = '/api/v1/namespaces/tartan-system/serviceaccounts';

let server: ApiServer;
let directory: string;
let token: string;
const daemons = new Set<Daemon>();
const proxies: CuttingProxy[] = [];

type Object = { readonly kind: string };

/** Accounts and rights of an installation; its definitions would refuse what the contract writes. */
async function grant(): Promise<void> {
  const words = ['src/main.ts', 'install', '--profile', 'calico', '--kubernetes', '1.20', '-o', 'json'];
  const { items } = JSON.parse(execFileSync(process.execPath, words, { encoding: 'utf8' })) as {
    readonly items: readonly Object[];
  };
  const kinds = /^(?:Namespace|ServiceAccount|(?:Cluster)?Role(?:Binding)?)$/;
  const input = stringify({
    apiVersion: 'v1',
    kind: 'List',
    items: items.filter(({ kind }) => kinds.test(kind)),
  });
  const applied = await server.kubectl(['apply', '-f', '-'], { input });
  assert.equal(applied.code, 0, applied.stderr);
}

async function tokenFor(account: string, audience: string): Promise<string> {
  const spec = { audiences: [audience], expirationSeconds: 3600 };
  const body = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest', spec };
  const answer = await server.ask(`${ACCOUNTS}/${account}/token`, { method: 'POST', body });
  assert.equal(answer.status, 201, JSON.stringify(answer.body));
  return (answer.body['status'] as { readonly token: string }).token;
}

/** A way of its own to the API server. */
async function ownProxy(): Promise<CuttingProxy> {
  const proxy = await startProxy(Number(new URL(server.url).port));
  proxies.push(proxy);
  return proxy;
}

type Started = { readonly daemon: Daemon; readonly proxy: CuttingProxy };
async function startRelay(name: string): Promise<Started> {
  const proxy = await ownProxy();
  const url = `https://127.0.0.1:${proxy.port}`;
  const kubernetes = { kubeconfig: server.kubeconfig('relay'), server: url, requestTimeoutSeconds: 2 };
  const settings = {
    apiVersion: 'tartan.dev/v1',
    kind: 'Settings',
    store: { type: 'kubernetes', kubernetes },
    relay: { port: 0 },
  };
  const file = join(directory, `${name}.yaml`);
  writeFileSync(file, stringify(settings));
  const words = [process.execPath, 'src/main.ts', 'relay', '--config', file];
  const env = { ...process.env, TARTAN_ADDRESS: '127.0.0.1' };
  const daemon = startDaemon(words, join(directory, `${name}.log`), { env });
  daemons.add(daemon);
  await waitFor(
    `the relay ${name}`,
    () => {
      assert.equal(daemon.ended(), undefined, tail(daemon.log()));
      return daemon.log().includes('the relay runs');
    },
    WAIT_MS,
  );
  return { daemon, proxy };
}
const adverts = () => server.ask('/apis/tartan.dev/v1/relays');
async function known(count: number): Promise<void> {
  await waitFor(`${count} relays to be known`, async () => {
    const { body } = await adverts();
    return (body['items'] as unknown[]).length === count;
  });
}

function open(shown = token, patience = QUICK) {
  const settings = { kubeconfig: server.kubeconfig(), requestTimeoutSeconds: 5 };
  const notices: string[] = [];
  const store = openKubernetesStore({ settings, node: 'node1', holdMs: 500 });
  const notice = (text: string): void => void notices.push(text);
  return { notices, store: relayed({ store, token: () => shown, timeoutMs: 1000, notice, patience }) };
}

async function stopAll(): Promise<void> {
  for (const daemon of daemons) await daemon.stop();
  daemons.clear();
  await clearState(server);
}

if (noApiServer === undefined) {
  before(async () => {
    directory = mkdtempSync(join(tmpdir(), 'rl-'));
    const groups = ['system:serviceaccounts', 'system:authenticated'];
    const relay = { name: 'system:serviceaccount:tartan-system:tartan-relay', groups };
    server = await startApiServer({ audit: true, users: { relay } });
    await defineState(server);
    await grant();
    token = await tokenFor('tartan-agent', RELAY_AUDIENCE);
  });
  after(async () => {
    for (const daemon of daemons) await daemon.stop();
    for (const proxy of proxies) await proxy[Symbol.asyncDispose]();
    await server[Symbol.asyncDispose]();
    rmSync(directory, { recursive: true, force: true });
  });
}

describe('relays', { skip }, () => {
  if (noApiServer === undefined)
    stateContract('kubernetes, by way of a relay', async () => {
      await stopAll();
      const proxy = await ownProxy();
      const settings = { kubeconfig: server.kubeconfig('relay'), requestTimeoutSeconds: 2 };
      const way = { ...settings, server: `https://127.0.0.1:${proxy.port}` };
      const upstream = openKubernetesStore({ settings: way, holdMs: 500 });
      const gate = new KubernetesGate({ client: upstream.client, clock: systemClock });
      const relay = await startRelayHere(upstream, { gate });
      const other = openKubernetesStore({ settings: { ...settings, kubeconfig: server.kubeconfig() } });
      await other.put('Relay', 'here', relay.advert);
      const { store, notices } = open();
      return {
        store,
        other,
        interrupt: async (noticed) => {
          assert.deepEqual(notices, ['the store is watched through the relay here']);
          proxy.refuse(true);
          proxy.cut();
          await noticed();
          proxy.refuse(false);
        },
        close: async () => {
          store.close();
          other.close();
          await relay[Symbol.asyncDispose]();
          upstream.close();
        },
      };
    });

  test('one is killed, one hangs, one is cut off: another is read each time, and nothing is lost', async () => {
    await stopAll();
    const started = [await startRelay('a'), await startRelay('b')];
    await known(2);
    const { store, notices } = open();
    const stop = new AbortController();
    for (let index = 0; index < 20; index += 1) await store.put('Node', `n${index}`, { index });
    const follower = new Follower(store, 'Node', stop.signal);
    await follower.synced();
    const relayOf = async (): Promise<Started> => {
      const name = notices.at(-1)?.split(' ').at(-1) ?? '';
      return started.find(({ daemon }) => daemon.log().includes(name)) ?? assert.fail(notices.join());
    };
    let step = 0;
    const elsewhere = async (harm: (relay: Started) => void | Promise<void>): Promise<void> => {
      step += 1;
      const before = await relayOf();
      await harm(before);
      await store.put('Node', `new-${step}`, { step });
      await store.remove('Node', `n${step}`);
      await follower.until(
        () => follower.objects.has(`new-${step}`) && !follower.objects.has(`n${step}`),
        WAIT_MS,
      );
      assert.notEqual(await relayOf(), before, notices.join());
      assert.ok(
        notices.every((notice) => notice.includes('through the relay')),
        notices.join(),
      );
    };
    await elsewhere(({ daemon }) => daemon.signal('SIGSTOP'));
    for (const { daemon } of started) daemon.signal('SIGCONT');
    await elsewhere(({ proxy }) => {
      proxy.refuse(true);
      proxy.cut();
    });
    for (const { proxy } of started) proxy.refuse(false);
    await elsewhere(({ daemon }) => daemon.stop());
    assert.equal(follower.objects.size, 20);
    stop.abort();
    store.close();
  });

  test('an operator’s objects come by the relay, pods of the own node from the API server', async () => {
    await stopAll();
    const { daemon } = await startRelay('manifests');
    await known(1);
    const { store } = open();
    const stop = new AbortController();
    const follower = new Follower(store, 'Manifest', stop.signal);
    await follower.synced();
    const pod = (name: string, nodeName: string) => ({
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name },
      spec: { nodeName, containers: [{ name: 'a', image: 'a' }] },
    });
    for (const [name, node] of [
      ['here', 'node1'],
      ['there', 'node2'],
    ] as const) {
      const made = await server.ask('/api/v1/namespaces/default/pods', {
        method: 'POST',
        body: pod(name, node),
      });
      assert.equal(made.status, 201, JSON.stringify(made.body));
    }
    const namespace = { apiVersion: 'v1', kind: 'Namespace', metadata: { name: 'shop' } };
    await server.ask('/api/v1/namespaces', { method: 'POST', body: namespace });
    await follower.until(
      () => follower.objects.has('v1/Namespace/shop') && follower.objects.has('v1/Pod/default/here'),
    );
    const asked = server.audited().filter(({ user }) => user.username.endsWith(':tartan-relay'));
    assert.ok(asked.every(({ requestURI }) => !requestURI.startsWith('/api/v1/pods')));
    assert.ok(!follower.objects.has('v1/Pod/default/there'));
    stop.abort();
    store.close();
    // Ended in order, it takes back what it told.
    await daemon.stop('SIGTERM');
    await known(0);
  });

  test('tokens of others, and those that are for the API server, are refused', async () => {
    await stopAll();
    await startRelay('gate');
    await known(1);
    await server.ask(ACCOUNTS, {
      method: 'POST',
      body: { apiVersion: 'v1', kind: 'ServiceAccount', metadata: { name: 'stranger' } },
    });
    const tokens = [
      'no-token',
      await tokenFor('stranger', RELAY_AUDIENCE),
      await tokenFor('tartan-agent', 'https://kubernetes.default.svc'),
    ];
    for (const each of tokens) {
      const { store, notices } = open(each, { ...QUICK, fallBackMs: 0 });
      const stop = new AbortController();
      await new Follower(store, 'Node', stop.signal).synced();
      assert.equal(notices.length, 1, each);
      const refused = /^the store is watched without a relay: the relay \S+: it answers 40[13]: /;
      assert.match(notices.join(), refused, each);
      stop.abort();
      store.close();
    }
  });

  test('a relay did all that with the rights that it has', () => {
    const ours = server.audited().filter(({ user }) => user.username.endsWith(':tartan-relay'));
    const refused = ours.filter(({ responseStatus }) => responseStatus?.code === 403);
    assert.deepEqual([...new Set(refused.map(({ verb, requestURI }) => `${verb} ${requestURI}`))], []);
    assert.ok(ours.length > 20);
  });
});
