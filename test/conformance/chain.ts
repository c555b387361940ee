/** Debian's plugins after the main one in a chain: tuning, firewall, portmap, bandwidth and sbr do their work on what it made. */
import assert from 'node:assert/strict';
import { join } from 'node:path';
import type { Case } from './case.ts';
import { expected } from './differences.ts';
import {
  addressesOf,
  check,
  deriveConfig,
  environmentOf,
  parseError,
  withPod,
  type Attachment,
  type Result,
} from './runtime.ts';
import type { NetworkConfig, PluginConfig, Subject } from './subject.ts';
import { ask, serve, waitForPing } from './traffic.ts';

type Link = { ifname: string; flags: string[]; mtu: number; address: string };

const chainOf = (subject: Subject, ...later: PluginConfig[]): NetworkConfig => {
  const network = subject.network();
  return { ...network, plugins: [...network.plugins, ...later] };
};

const tuning = (subject: Subject, more: object): PluginConfig => ({
  type: 'tuning',
  dataDir: join(subject.host.directory, 'tuning'),
  ...more,
});

const linkOf = (pod: Attachment): Link => {
  const [link] = pod.netns.list<Link>(`link show dev ${pod.ifname}`);
  assert.ok(link);
  return link;
};

async function assertWorks(
  subject: Subject,
  network: NetworkConfig,
  { pod, result }: { pod: Attachment; result: Result },
): Promise<void> {
  await waitForPing(pod.netns, '172.30.0.1');
  for (const address of addressesOf(result)) await waitForPing(subject.host.netns, address);
  const error = await check(subject, network, pod, result);
  assert.equal(error, undefined, `CHECK tolerates what came later: ${error?.msg} ${error?.details}`);
}

async function tuned(subject: Subject): Promise<void> {
  const sysctl = { 'net.core.somaxconn': '500' };
  const network = chainOf(subject, tuning(subject, { sysctl, promisc: true, allmulti: true, mtu: 1300 }));
  await withPod(subject, network, {}, async (pod, result) => {
    const { flags, mtu } = linkOf(pod);
    assert.equal(mtu, 1300);
    for (const flag of ['PROMISC', 'ALLMULTI']) assert.ok(flags.includes(flag), flag);
    assert.equal((await pod.netns.must(['sysctl', '-n', 'net.core.somaxconn'])).trim(), '500');
    await assertWorks(subject, network, { pod, result });
  });
}

async function macChangedLater(subject: Subject): Promise<void> {
  const network = chainOf(subject, tuning(subject, { mac: 'c2:11:22:33:44:88' }));
  await withPod(subject, network, {}, async (pod, result) => {
    assert.equal(linkOf(pod).address, 'c2:11:22:33:44:88');
    const passes = (await check(subject, network, pod, result)) === undefined;
    assert.equal(passes, expected(subject, 'mac-changed-later'));
  });
}

async function firewalled(subject: Subject): Promise<void> {
  const network = chainOf(subject, { type: 'firewall', backend: 'iptables' });
  const rules = (): Promise<string> => subject.host.netns.must(['iptables', '-S']);
  let address = '';
  await withPod(subject, network, {}, async (pod, result) => {
    [address = ''] = addressesOf(result);
    assert.match(await rules(), new RegExp(`-A CNI-FORWARD .*${address}/32.* -j ACCEPT`));
    await assertWorks(subject, network, { pod, result });
  });
  assert.doesNotMatch(await rules(), new RegExp(`${address}/32`));
}

async function portMapped(subject: Subject): Promise<void> {
  const network = chainOf(subject, { type: 'portmap', capabilities: { portMappings: true } });
  const [first, ...rest] = network.plugins;
  assert.ok(first);
  const plugins = [{ ...first, capabilities: {} }, ...rest];
  const portMappings = [{ hostPort: 18081, containerPort: 8080, protocol: 'tcp' }];
  const rules = (): Promise<string> => subject.host.netns.must(['iptables', '-t', 'nat', '-S']);
  await withPod(subject, { ...network, plugins }, { runtimeConfig: { portMappings } }, async (pod) => {
    const server = await serve(pod.netns, 'pod', 'tcp', 8080);
    assert.match(await rules(), /--dport 18081 .*DNAT/);
    const reply = await ask(subject.host.netns, 'tcp', { address: '172.30.0.1', port: 18081 });
    assert.match(reply ?? '', /^pod/);
    await server.stop();
  });
  assert.doesNotMatch(await rules(), /18081/);
}

async function shaped(subject: Subject): Promise<void> {
  const limits = { ingressRate: 8e6, ingressBurst: 8e6, egressRate: 16e6, egressBurst: 8e6 };
  const network = chainOf(subject, { type: 'bandwidth', ...limits });
  const shapers = async (): Promise<number> =>
    (await subject.host.netns.must(['tc', 'qdisc', 'show'])).match(/\btbf\b/g)?.length ?? 0;
  await withPod(subject, network, {}, async (pod, result) => {
    assert.equal(await shapers(), 2);
    await assertWorks(subject, network, { pod, result });
  });
  assert.equal(await shapers(), 0);
}

async function sourceRouted(subject: Subject): Promise<void> {
  const network = chainOf(subject, { type: 'sbr' });
  await withPod(subject, network, {}, async (pod, result) => {
    const [address = ''] = addressesOf(result);
    assert.match(pod.netns.ip('rule show'), new RegExp(`from ${address} lookup 100`));
    assert.match(pod.netns.ip('route show table 100'), /^default/m);
    await waitForPing(subject.host.netns, address);
  });
}

/** Our part as a chained plugin, with a prevResult that does not fit. */
async function unfitPrevResult(subject: Subject): Promise<void> {
  const network = subject.network({ bandwidth: true });
  const plugin = network.plugins.at(-1);
  assert.ok(plugin);
  const runtimeConfig = { bandwidth: { ingressRate: 8e6, ingressBurst: 8e6 } };
  await withPod(subject, subject.network(), {}, async (pod, result) => {
    const attempt = async (prevResult: Result): Promise<void> => {
      const config = deriveConfig(network, plugin, { prevResult, runtimeConfig });
      const output = await subject.host.cni('ADD', environmentOf(pod), config, { type: plugin.type });
      assert.ok(parseError(output).code > 0);
      await subject.host.cni('DEL', environmentOf(pod), config, { type: plugin.type });
    };
    await attempt({ ...result, interfaces: [] });
    const ips = (result.ips ?? []).map(({ address }) => ({ address }));
    await attempt({ ...result, ips, interfaces: [{ name: 'bx-nobody' }] });
  });
}

export const CHAIN: readonly Case[] = [
  { id: 'T1', name: 'tuning: sysctl, promisc, allmulti, MTU; CHECK tolerates them', run: tuned },
  {
    id: 'T1/K2',
    name: 'tuning: a MAC changed later',
    run: macChangedLater,
  },
  { id: 'F1', name: 'firewall accepts the pod’s addresses', run: firewalled },
  { id: 'H1', name: 'portmap of Debian after us', run: portMapped },
  { id: 'W1', name: 'bandwidth of Debian after us', run: shaped },
  { id: 'M1', name: 'sbr after us', run: sourceRouted },
  { id: 'W1', name: 'as chained plugin: no interface to work on', run: unfitPrevResult },
];
