/**
 * Policy switched on and off on a node with living pods on its bridge, by the agent: they go on talking, damage is
 * repaired, policies hold between them, and routed pods that come later are reached in both families.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parse, stringify } from 'yaml';
import { PORT_RULE } from '#model/numbers.ts';
import { makeNamespace, type Namespace, waitFor, whyNoKernel } from './namespace.ts';
import { type Node, startNode, whyNoTartan } from './node.ts';
import { statusOf } from './reliability.ts';

const skip = whyNoKernel(['ip', 'nft', 'ping', 'bridge', 'conntrack']) ?? whyNoTartan() ?? false;
const NETWORK = {
  name: 'tartan',
  ipv4: { range: '10.78.0.0/16', nodeSubnet: '10.78.1.0/24' },
  ipv6: { range: 'fd78::/48', nodeSubnet: 'fd78:0:0:1::/64' },
};
const DENY = {
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { namespace: 'shop', name: 'deny' },
  spec: { podSelector: {}, policyTypes: ['Ingress'] },
};

type Pod = {
  readonly name: string;
  readonly netns: Namespace;
  readonly addresses: readonly string[];
  /** What ADD answered. */
  readonly result: unknown;
};

describe('policy on a node with bridge pods', { skip }, () => {
  let node: Node;
  const pods: Pod[] = [];
  before(async () => {
    node = await startNode('pg-sw', { network: NETWORK, addresses: { quarantineSeconds: 0 } });
  });
  after(async () => {
    await node?.stop();
    for (const { netns } of pods) netns.remove();
  });

  async function cni(
    verb: 'ADD' | 'DEL' | 'CHECK',
    { name, netns, result }: Pick<Pod, 'name' | 'netns'> & { readonly result?: unknown },
  ): Promise<string> {
    const environment = {
      CNI_CONTAINERID: `pg-${name}`,
      CNI_NETNS: netns.path,
      CNI_IFNAME: 'eth0',
      CNI_ARGS: `IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=${name}`,
    };
    const config = { cniVersion: '1.1.0', name: 'tartan', type: 'tartan-cni', prevResult: result };
    const { code, stdout } = await node.cni(verb, environment, config);
    assert.equal(code, 0, `${verb}: ${stdout}\n${node.log().slice(-2000)}`);
    return stdout;
  }
  async function add(name: string): Promise<Pod> {
    const netns = makeNamespace(`pg-sw-${name}`);
    const result = JSON.parse(await cni('ADD', { name, netns })) as { ips: { address: string }[] };
    const addresses = result.ips.map(({ address }) => address.split('/')[0] ?? '');
    const pod = { name, netns, addresses, result };
    pods.push(pod);
    return pod;
  }
  async function change(settings: { policy: { enforce: boolean }; wiring: { type: string } }): Promise<void> {
    const now = parse(readFileSync(node.settingsFile, 'utf8')) as Record<string, unknown>;
    writeFileSync(node.settingsFile, stringify({ ...now, ...settings }));
    await node.restart();
    await settled();
  }
  const settled = (): Promise<unknown> =>
    waitFor(
      'the node to be as it is wanted',
      async () => (await statusOf(node)).items.every(({ seen }) => seen === 'ok'),
      30_000,
    );
  const pings = async (from: Pod, address: string): Promise<boolean> =>
    (await from.netns.run(['ping', '-n', '-c1', '-W1', address])).code === 0;
  /** Until every address of the one is reached from the other, or none is. */
  async function awaitReach(from: Pod, to: Pod, expected: boolean): Promise<void> {
    for (const address of to.addresses)
      await waitFor(
        `${from.name} ${expected ? '' : 'not '}to reach ${to.name} at ${address}`,
        async () => (await pings(from, address)) === expected,
        20_000,
      );
  }
  const isolated = async (): Promise<boolean[]> => {
    const text = await node.netns.must(['bridge', '-j', '-d', 'link', 'show']);
    return (JSON.parse(text) as { isolated: boolean }[]).map((port) => port.isolated);
  };

  /** Pings without pause; `more` waits for more answers, and `stop` tells how many are missing between those that came. */
  function talk(from: Pod, address: string): { more: () => Promise<unknown>; stop: () => Promise<number> } {
    const child = from.netns.start(['ping', '-n', '-i', '0.05', '-W', '2', address], {
      stdio: ['ignore', 'pipe', 'ignore'],
    });
    let said = '';
    child.stdout?.on('data', (chunk: Buffer) => (said += chunk.toString()));
    const answered = (): number[] =>
      [...said.matchAll(/icmp_seq=(\d+) ttl/g)].map(([, number]) => Number(number));
    return {
      more: () => {
        const before = answered().length;
        return waitFor(`answers of ${address}`, () => answered().length > before + 3);
      },
      stop: async () => {
        const ended = once(child, 'close');
        child.kill('SIGINT');
        await ended;
        return Math.max(...answered()) - answered().length;
      },
    };
  }

  let a: Pod;
  let b: Pod;
  test('switched on, and off again, pods go on talking', async () => {
    [a, b] = [await add('a'), await add('b')];
    for (const enforce of [true, false, true]) {
      const talks = b.addresses.map((address) => talk(a, address));
      try {
        await Promise.all(talks.map(({ more }) => more()));
        await change({ policy: { enforce }, wiring: { type: 'bridge' } });
        await Promise.all(talks.map(({ more }) => more()));
      } finally {
        const lost = await Promise.all(talks.map(({ stop }) => stop()));
        // Some 100 ms pass between the flags of ports and the rule; without that it would be 30 s and more.
        for (const each of lost) assert.ok(each < 40, `${each} lost, enforce ${enforce}`);
      }
      assert.deepEqual(await isolated(), [enforce, enforce]);
      await awaitReach(a, b, true);
      for (const pod of [a, b]) await cni('CHECK', pod);
    }
  });

  test('damage is repaired', async () => {
    const [port] = node.netns.list<{ ifname: string }>('link show master cni0');
    await node.netns.must(['bridge', 'link', 'set', 'dev', port?.ifname ?? '', 'isolated', 'off']);
    await waitFor('the port to be isolated again', async () => (await isolated()).every(Boolean));
    for (const family of ['-4', '-6']) {
      node.netns.ip(`${family} rule del priority ${PORT_RULE.priority}`);
      await waitFor('the rule to come back', () =>
        node.netns.ip(`${family} rule show`).includes(`iif cni0 lookup ${PORT_RULE.table}`),
      );
    }
  });

  const file = (): string => join(node.directory, 'store/manifests/deny.yaml');
  const deny = (): void => {
    mkdirSync(join(node.directory, 'store/manifests'), { recursive: true });
    writeFileSync(file(), stringify(DENY));
  };
  test('a policy holds between them', async () => {
    deny();
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const)
      await awaitReach(from, to, false);
    rmSync(file());
    await awaitReach(a, b, true);
  });

  test('routed pods that come later are reached, and judged, in both families', async () => {
    await change({ policy: { enforce: true }, wiring: { type: 'routed' } });
    const routed = await add('routed');
    const pairs = [a, b].flatMap((pod) => [[pod, routed] as const, [routed, pod] as const]);
    for (const [from, to] of pairs) await awaitReach(from, to, true);
    deny();
    for (const [from, to] of pairs) await awaitReach(from, to, false);
    rmSync(file());
    await change({ policy: { enforce: false }, wiring: { type: 'routed' } });
    for (const [from, to] of pairs) await awaitReach(from, to, true);
    assert.deepEqual(await isolated(), [false, false]);
  });

  test('the bridge goes with its last pod, and nothing is missed', async () => {
    for (const pod of [a, b]) await cni('DEL', pod);
    await waitFor('the bridge to go', () => !node.netns.ip('link show').includes('cni0'), 40_000);
    await settled();
    const [routed] = pods.slice(-1);
    assert.equal((await node.netns.run(['ping', '-c1', '-W2', routed?.addresses[1] ?? ''])).code, 0);
  });
});
