/** A store in an API server while everything fails that can: connections, answers, history, tokens, the server, etcd behind it. */
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { systemClock } from '../../src/lib/clock.ts';
import type { Follower } from '../../src/stores/contract.ts';
import { AccessReader } from '../../src/stores/kubernetes/access.ts';
import { type KubernetesStore, openKubernetesStore } from '../../src/stores/kubernetes/kubernetes.ts';
import { type ApiServer, noApiServer, startApiServer } from '../kubernetes/api-server.ts';
import { defineState } from '../kubernetes/definitions.ts';
import { startProxy } from '../runtimes/cutting-proxy.ts';
import { startEchoingApi } from '../runtimes/echoing-api.ts';
import { bearCuts, bearEchoes, numberOf, WAIT_MS } from '../runtimes/store-chaos.ts';
import { type Way, wayTo } from '../runtimes/store-way.ts';

const skip = noApiServer ?? false;

type Opened = Way<KubernetesStore> & { readonly notices: string[] };

function open(server: ApiServer, url = server.url, access?: AccessReader): Opened {
  const notices: string[] = [];
  const settings = { kubeconfig: server.kubeconfig(), server: url, requestTimeoutSeconds: 3 };
  const store = openKubernetesStore({
    settings,
    holdMs: 1000,
    notice: (text) => notices.push(text),
    ...(access === undefined ? {} : { access }),
  });
  return { ...wayTo(store), notices };
}

test(
  'connections cut at any byte, history compacted under load: no event lost, no write done twice',
  { skip },
  async () => {
    // Without its memory the server looks into etcd for every watch: what is compacted there is answered with 410.
    await using server = await startApiServer({ flags: { 'watch-cache': 'false' } });
    await defineState(server);
    await using proxy = await startProxy(Number(new URL(server.url).port));
    const url = `https://127.0.0.1:${proxy.port}`;
    using direct = open(server);
    using one = open(server, url);
    using two = open(server, url);
    // Of these, the handshake of TLS takes about 3,000.
    await bearCuts({ direct, one, two, proxy, forget: () => server.etcd.compact(), cutAfter: 20_000 });
  },
);

test('lines that come twice, answers that come late or never, tokens that end', { skip }, async (t) => {
  const groups = ['system:masters'];
  await using server = await startApiServer({
    users: { old: { name: 'pod', groups }, new: { name: 'pod', groups } },
  });
  await defineState(server);
  await using echo = await startEchoingApi(server.url, server.caFile);

  await t.test('what is told twice, or again much later, is told to nobody', async () => {
    using direct = open(server);
    using echoed = open(server, echo.url);
    await bearEchoes(direct, echoed, echo.echoes);
  });

  await t.test('a write whose answer is lost is known to be done, and not done twice', async () => {
    using far = open(server, echo.url);
    echo.lose('POST', 1);
    const first = await far.store.put('SubnetClaim', 'mine', { n: 1 }, { expect: 'absent', ttlSeconds: 600 });
    assert.equal((await far.store.get('SubnetClaim', 'mine'))?.version, first.version);
    echo.lose('PUT', 2);
    const options = { expect: first.version, ttlSeconds: 600 } as const;
    const second = await far.store.put('SubnetClaim', 'mine', { n: 2 }, options);
    assert.equal((await far.store.get('SubnetClaim', 'mine'))?.version, second.version);
    await assert.rejects(far.store.put('SubnetClaim', 'mine', { n: 3 }, options), { code: 'store-conflict' });
    echo.lose('DELETE', 1);
    await far.store.remove('SubnetClaim', 'mine', { expect: second.version });
    assert.equal(await far.store.get('SubnetClaim', 'mine'), undefined);
    echo.lose('POST', 100);
    await assert.rejects(far.store.put('Node', 'unsure', { n: 1 }, { expect: 'absent' }), {
      code: 'store-away',
    });
    echo.lose('POST', 0);
  });

  await t.test('a service account’s token that is exchanged: watches and writes go on', async () => {
    const directory = join(server.directory, 'account');
    const token = join(directory, 'token');
    mkdirSync(directory);
    writeFileSync(join(directory, 'ca.crt'), readFileSync(server.caFile));
    writeFileSync(token, server.token('old'));
    const { hostname, port } = new URL(server.url);
    const env = { KUBERNETES_SERVICE_HOST: hostname, KUBERNETES_SERVICE_PORT: port };
    const access = new AccessReader({ settings: {}, clock: systemClock, env, serviceAccount: directory });
    using pod = open(server, server.url, access);
    const follower = pod.follow();
    await follower.synced();
    await pod.store.put('Node', 'pod', { n: 1 });
    await follower.until(() => numberOf(follower, 'pod') === 1, WAIT_MS);
    // The old one is refused from now on: the server knows what it reads when it starts.
    const tokens = join(server.directory, 'tokens.csv');
    const lines = readFileSync(tokens, 'utf8').split('\n');
    writeFileSync(tokens, lines.filter((line) => !line.startsWith(server.token('old'))).join('\n'));
    await server.kill();
    writeFileSync(token, server.token('new'));
    await server.start();
    await pod.store.put('Node', 'pod', { n: 2 });
    await follower.until(() => numberOf(follower, 'pod') === 2, WAIT_MS);
    assert.ok(!JSON.stringify(pod.notices).includes('token-of'), JSON.stringify(pod.notices));
  });
});

test('the API server killed, hung, restarted, and its etcd wiped: nothing is removed', { skip }, async () => {
  await using server = await startApiServer();
  await defineState(server);
  using one = open(server);
  using two = open(server);
  await one.store.put('Node', 'one', { n: 1 });
  await two.store.put('Node', 'two', { n: 2 });
  await two.store.put('SubnetClaim', 'claimed', { n: 2 }, { ttlSeconds: 600 });
  const followers = [one.follow(), two.follow()];
  const manifests = one.follow('Manifest');
  for (const follower of [...followers, manifests]) await follower.synced();
  assert.ok(manifests.objects.has('v1/Namespace/default'));

  await server.kill();
  for (const follower of [...followers, manifests])
    await follower.until(() => follower.types.endsWith('gap'), WAIT_MS);
  await assert.rejects(one.store.put('Node', 'one', { n: 2 }), { code: 'store-away' });
  await server.start();
  for (const follower of [...followers, manifests])
    await follower.until(() => synced(follower) >= 2, WAIT_MS);
  assert.match(one.notices[0] ?? '', /^the API server does not answer/);
  assert.equal(one.notices.at(-1), 'the API server answers again');
  // While it starts it answers, and then does not again.
  assert.ok(one.notices.length <= 4, one.notices.join('; '));

  // A process that hangs keeps its connections.
  server.signal('SIGSTOP');
  for (const follower of followers) await follower.until(() => follower.types.endsWith('gap'), 2 * WAIT_MS);
  server.signal('SIGCONT');
  for (const follower of followers) await follower.until(() => synced(follower) >= 3, WAIT_MS);
  await one.store.put('Node', 'one', { n: 3 });
  for (const follower of followers) await follower.until(() => numberOf(follower, 'one') === 3, WAIT_MS);

  await server.wipe();
  await defineState(server);
  for (const follower of [...followers, manifests]) await follower.until(() => hasLost(follower), WAIT_MS);
  await sleep(500);
  await one.store.put('Node', 'one', { n: 1 });
  await two.store.put('Node', 'two', { n: 2 });
  for (const follower of followers) {
    await follower.until(() => synced(follower) >= 4, WAIT_MS);
    assert.deepEqual([...follower.objects.keys()].sort(), ['one', 'two']);
  }
  for (const follower of [...followers, manifests])
    assert.ok(!follower.types.includes('removed'), follower.types);
});

const synced = ({ events }: Follower): number => events.filter(({ type }) => type === 'synced').length;
const hasLost = ({ events }: Follower): boolean =>
  events.some((event) => event.type === 'gap' && event.isLoss === true);
