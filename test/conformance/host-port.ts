/** Checklist part d, first half: host ports, by real connections from everywhere a client can be. */
import assert from 'node:assert/strict';
import type { Case } from './case.ts';
import { expected } from './differences.ts';
import {
  add,
  addressesOf,
  check,
  del,
  deriveConfig,
  environmentOf,
  makePod,
  tryAdd,
  tryDel,
  withPod,
  type Attachment,
} from './runtime.ts';
import type { Subject } from './subject.ts';
import { ask, serve, waitForPing, type Protocol } from './traffic.ts';
import { makeNamespace, type Namespace } from '../host/namespace.ts';
import { whyLacking } from '../vm/features.ts';

const NODE = { 4: '172.30.0.1', 6: 'fd30::1' } as const;

const mapping = (protocol: string, more: object = {}) => ({
  runtimeConfig: { portMappings: [{ hostPort: 18080, containerPort: 8080, protocol, ...more }] },
});

/** A machine on the underlay, outside of the node. */
async function withOutsider(subject: Subject, body: (outsider: Namespace) => Promise<void>): Promise<void> {
  const outsider = makeNamespace(`out-${subject.title.replace(' ', '-')}`);
  const link = 'outside0';
  try {
    const node = subject.host.netns;
    node.ip(`link add ${link} type veth peer name eth0 netns ${outsider.name}`);
    node.ip(`addr add 172.31.0.1/24 dev ${link}`);
    node.ip(`addr add fd31::1/64 dev ${link} nodad`);
    node.ip(`link set ${link} up`);
    outsider.ip('addr add 172.31.0.2/24 dev eth0');
    outsider.ip('addr add fd31::2/64 dev eth0 nodad');
    outsider.ip('link set eth0 up');
    outsider.ip('route add default via 172.31.0.1');
    outsider.ip('route add default via fd31::1');
    await body(outsider);
  } finally {
    subject.host.netns.ip(`link del ${link}`);
    outsider.remove();
  }
}

async function reachable(subject: Subject, family: 4 | 6): Promise<void> {
  const network = subject.network({ families: [family], portMappings: true });
  await withOutsider(subject, async (outsider) => {
    await withPod(subject, network, mapping('tcp'), async (pod, result) => {
      const server = await serve(pod.netns, 'pod', 'tcp', 8080);
      const [address = ''] = addressesOf(result);
      const node = { address: NODE[family], port: 18080 };
      await waitForPing(outsider, address);
      assert.match((await ask(subject.host.netns, 'tcp', { address, port: 8080 })) ?? '', /^pod/, 'directly');
      assert.equal(
        await ask(outsider, 'tcp', node),
        `pod ${family === 4 ? '172.31.0.2' : 'fd31::2'}`,
        'by the host port, with the client’s own address',
      );
      assert.match((await ask(subject.host.netns, 'tcp', node)) ?? '', /^pod/, 'from the host itself');
      if (family === 4)
        assert.match(
          (await ask(subject.host.netns, 'tcp', { address: '127.0.0.1', port: 18080 })) ?? '',
          /^pod/,
          'by 127.0.0.1',
        );
      assert.match((await ask(pod.netns, 'tcp', node)) ?? '', /^pod/, 'hairpin: from the pod to itself');
      await server.stop();
    });
    assert.equal(
      await ask(outsider, 'tcp', { address: NODE[family], port: 18080 }),
      undefined,
      'refused after DEL',
    );
  });
}

/** A UDP client keeps its source port over two pods; a stale conntrack entry would send it to the dead one. */
async function staleConntrack(subject: Subject): Promise<void> {
  const network = subject.network({ portMappings: true });
  await withOutsider(subject, async (outsider) => {
    for (const label of ['first', 'second']) {
      await withPod(subject, network, mapping('udp'), async (pod) => {
        const server = await serve(pod.netns, label, 'udp', 8080);
        const answer = await ask(outsider, 'udp', { address: NODE[4], port: 18080, localPort: 40_000 });
        assert.equal(answer?.split(' ')[0], label);
        await server.stop();
      });
    }
  });
}

async function protocolsAndAddresses(subject: Subject): Promise<void> {
  const network = subject.network({ portMappings: true });
  await withOutsider(subject, async (outsider) => {
    await withPod(subject, network, mapping('tcp', { hostIP: '172.30.0.1' }), async (pod) => {
      const server = await serve(pod.netns, 'pod', 'tcp', 8080);
      const at = (address: string, protocol: Protocol = 'tcp') =>
        ask(outsider, protocol, { address, port: 18080 });
      assert.match((await at('172.30.0.1')) ?? '', /^pod/);
      assert.equal(await at('172.31.0.1'), undefined, 'only on its hostIP');
      assert.equal(await at('172.30.0.1', 'udp'), undefined, 'only its protocol');
      await server.stop();
    });
  });
}

/** prevResult lists an address of another interface first: the port leads to the interface that CNI_IFNAME names. */
async function ownInterface(subject: Subject): Promise<void> {
  const network = subject.network({ portMappings: true });
  const first = { ...network, plugins: network.plugins.slice(0, 1) };
  const plugin = network.plugins.at(-1);
  assert.ok(plugin);
  await withPod(subject, first, {}, async (pod, result) => {
    const interfaces = [...(result.interfaces ?? []), { name: 'net1', sandbox: pod.netns.path }];
    const foreign = { address: '10.77.0.9/24', interface: interfaces.length - 1 };
    const prevResult = { ...result, interfaces, ips: [foreign, ...(result.ips ?? [])] };
    const config = deriveConfig(network, plugin, { prevResult, ...mapping('tcp') });
    const server = await serve(pod.netns, 'pod', 'tcp', 8080);
    const run = (verb: string) => subject.host.cni(verb, environmentOf(pod), config, { type: plugin.type });
    const added = await run('ADD');
    assert.equal(added.code, 0, added.stdout);
    const reply = await ask(subject.host.netns, 'tcp', { address: NODE[4], port: 18080 });
    await server.stop();
    assert.equal((await run('DEL')).code, 0);
    assert.match(reply ?? '', /^pod/);
  });
}

/** How often the node's rules name the ports of `count` mappings, all of them 18100 and up. */
async function countRules(subject: Subject, count: number): Promise<{ during: number; after: number }> {
  const network = subject.network({ portMappings: true });
  const portMappings = Array.from({ length: count }, (_, index) => ({
    hostPort: 18_100 + index,
    containerPort: 80,
    protocol: 'tcp',
  }));
  const named = async (): Promise<number> =>
    (await subject.host.netns.must(['nft', 'list', 'ruleset'])).match(/\b181\d\d\b/g)?.length ?? 0;
  let during = 0;
  await withPod(subject, network, { runtimeConfig: { portMappings } }, async () => {
    during = await named();
  });
  return { during, after: await named() };
}

async function rulesPerMapping(subject: Subject): Promise<void> {
  for (const count of [1, 2, 16]) {
    const { during, after } = await countRules(subject, count);
    assert.equal(during / count, expected(subject, 'rules-per-host-port'), `${count} mappings`);
    assert.equal(after, 0, 'none after DEL');
  }
}

/** SCTP over both families, and no confusion with TCP on the same number. */
async function sctp(subject: Subject): Promise<void> {
  for (const family of [4, 6] as const) {
    const network = subject.network({ families: [family], portMappings: true });
    await withOutsider(subject, async (outsider) => {
      await withPod(subject, network, mapping('sctp'), async (pod, result) => {
        const server = await serve(pod.netns, 'pod', 'sctp', 8080);
        const [address = ''] = addressesOf(result);
        await waitForPing(outsider, address);
        const node = { address: NODE[family], port: 18080 };
        assert.match((await ask(outsider, 'sctp', { address, port: 8080 })) ?? '', /^pod/, 'directly');
        assert.match((await ask(outsider, 'sctp', node)) ?? '', /^pod/, 'by the host port');
        assert.equal(await ask(outsider, 'tcp', node), undefined, 'only its protocol');
        await server.stop();
      });
      assert.equal(
        await ask(outsider, 'sctp', { address: NODE[family], port: 18080 }),
        undefined,
        'after DEL',
      );
    });
  }
}

const BAD_MAPPINGS = [
  { hostPort: 65_536, containerPort: 80, protocol: 'tcp' },
  { hostPort: 8080, containerPort: 65_536, protocol: 'tcp' },
  { hostPort: 8080, containerPort: 0, protocol: 'tcp' },
  { hostPort: -1, containerPort: 80, protocol: 'tcp' },
  { hostPort: 8080, containerPort: 80, protocol: 'smoke' },
];

async function badMappings(subject: Subject): Promise<void> {
  const network = subject.network({ portMappings: true });
  for (const bad of BAD_MAPPINGS) {
    const pod = makePod({ runtimeConfig: { portMappings: [bad] } });
    const done = await tryAdd(subject, network, pod);
    await tryDel(subject, { ...network, plugins: network.plugins.slice(0, 1) }, pod);
    pod.netns.remove();
    assert.ok('error' in done, `${JSON.stringify(bad)} was accepted`);
    assert.equal(
      done.error.code,
      expected(subject, 'bad-port-mapping'),
      `${JSON.stringify(bad)}: ${done.error.msg}`,
    );
  }
}

/** Rules that somebody flushed are named by CHECK, or are back before it is asked; never silently missing. */
async function checkNoticesRules(subject: Subject): Promise<void> {
  const network = subject.network({ portMappings: true });
  await withPod(subject, network, mapping('tcp'), async (pod, result) => {
    const checks = async (): Promise<boolean> => (await check(subject, network, pod, result)) === undefined;
    assert.equal(await checks(), expected(subject, 'check-of-host-port'));
    await subject.host.netns.must(['nft', 'flush', 'ruleset']);
    const rules = async (): Promise<string> => subject.host.netns.must(['nft', 'list', 'ruleset']);
    if (await checks()) assert.match(await rules(), /18080/, 'CHECK passed, so the rule must be back');
  });
}

async function parallelDeletes(subject: Subject): Promise<void> {
  const network = subject.network({ portMappings: true });
  const pods: Attachment[] = Array.from({ length: 20 }, (_, index) =>
    makePod({
      runtimeConfig: { portMappings: [{ hostPort: 19_000 + index, containerPort: 80, protocol: 'tcp' }] },
    }),
  );
  const results = await Promise.all(pods.map((pod) => add(subject, network, pod)));
  await Promise.all(pods.map((pod, index) => del(subject, network, pod, results[index])));
  const rules = await subject.host.netns.must(['nft', 'list', 'ruleset']);
  assert.doesNotMatch(rules, /190[01]\d/, 'no rule names one of the ports');
  for (const pod of pods) await del(subject, network, pod);
  for (const pod of pods) pod.netns.remove();
}

async function portTaken(subject: Subject): Promise<void> {
  const network = subject.network({ portMappings: true });
  await withPod(subject, network, mapping('tcp'), async () => {
    const second = makePod(mapping('tcp'));
    const done = await tryAdd(subject, network, second);
    assert.equal('error' in done ? done.error.code : 0, expected(subject, 'port-mapping-taken'));
    await tryDel(subject, network, second);
    second.netns.remove();
  });
}

export const HOST_PORT: readonly Case[] = [
  {
    id: 'H1',
    name: 'TCP over IPv4 from outside, host, loopback and the pod itself',
    run: (subject) => reachable(subject, 4),
  },
  {
    id: 'H1',
    name: 'TCP over IPv6 from outside, host and the pod itself',
    run: (subject) => reachable(subject, 6),
  },
  { id: 'H2', name: 'UDP reaches the second pod on the same host port', run: staleConntrack },
  { id: 'H3', name: 'SCTP over both families', unless: () => whyLacking('sctp'), run: sctp },
  { id: 'H3', name: 'bad mappings', run: badMappings },
  { id: 'H3', name: 'hostIP and protocol distinguish', run: protocolsAndAddresses },
  { id: 'H3', name: 'one host port for two pods', run: portTaken },
  { id: 'H4', name: 'CHECK notices flushed rules', run: checkNoticesRules },
  { id: 'H3', name: 'an address of another interface is passed over', run: ownInterface },
  { id: 'H4', name: 'as many rules as mappings, none after DEL', run: rulesPerMapping },
  { id: 'H5', name: 'twenty parallel DELs leave no rule', run: parallelDeletes },
];
