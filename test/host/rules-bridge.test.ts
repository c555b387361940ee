/**
 * What the rules of bridge wiring do to real packets, in both families: two pods on the bridge of one node, in namespaces
 * of this test. The plan is applied by the real kernel; only the pods are put there by hand.
 */
import assert from 'node:assert/strict';
import { closeSync, globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import { after, before, describe, test } from 'node:test';
import type { Self } from '#backends/backend.ts';
import { planNode } from '#backends/node-plan.ts';
import { parseSettings } from '#config/parse.ts';
import { openKernel } from '#kernel/linux.ts';
import { openNetns, ready } from '#kernel/netns.ts';
import { diff } from '#model/diff.ts';
import { hostState, type Item, type NftElementItem } from '#model/host.ts';
import { address } from '#net/address.ts';
import { mapFamilies } from '#net/per-family.ts';
import { nthSubnet, prefix } from '#net/prefix.ts';
import { makeForwarding, makeNamespace, whyNoKernel, type Namespace } from './namespace.ts';

const skip = whyNoKernel(['ip', 'ping', 'nft', 'nsenter']) ?? false;
const MACS = { a: '02:00:00:00:00:0a', b: '02:00:00:00:00:0b' } as const;
/** Host parts of the addresses: the gateway's, the pods', and one that nobody was given. */
const [GATEWAY, A, B, FORGED] = [1, 2, 3, 99];
const at = (family: 4 | 6, host = 0): string =>
  family === 4 ? `10.244.1.${host}` : `fd00:244:0:1::${host.toString(16)}`;

function planOf(hairpin: string): Item[] {
  const profiles = Object.fromEntries(
    globSync('profiles/*.yaml').map((file) => [basename(file, '.yaml'), readFileSync(file, 'utf8')]),
  );
  const { settings } = parseSettings([], profiles, {
    profile: 'kubenet',
    'node.name': 'node-1',
    'network.ipv6.range': 'fd00:244::/48',
    'wiring.bridge.hairpin': hairpin,
  });
  const local = { 4: address('192.0.2.1'), 6: address('2001:db8::1') };
  const self: Self = {
    name: 'node-1',
    subnets: mapFamilies(settings.network.subnets, ({ range, length }) => nthSubnet(range, length, 1n)),
    underlay: {
      link: 'eth0',
      mtu: 1500,
      local,
      announced: local,
      connected: [prefix('192.0.2.0/24')],
      why: 'test',
    },
    settings,
  };
  return planNode(self);
}

const source = (family: 4 | 6, pod: 'a' | 'b', host: number): NftElementItem => ({
  kind: 'nft-element',
  set: family === 4 ? 'portsources4' : 'portsources6',
  key: [`tt${pod}`, MACS[pod], at(family, host)],
});
const OWN = ([4, 6] as const).flatMap((family) => [source(family, 'a', A), source(family, 'b', B)]);

describe('bridge wiring', { skip }, () => {
  let node: Namespace;
  let pods: Record<'a' | 'b', Namespace>;

  async function converge(items: readonly Item[]): Promise<void> {
    await ready;
    const netns = openNetns(node.path);
    using home = openKernel();
    using kernel = home.within(netns);
    const seen = kernel.observe({ sysctls: [], foreignLinks: [] });
    assert.deepEqual(kernel.apply(diff(hostState(items), seen)), []);
    closeSync(netns);
  }
  async function pings(family: 4 | 6, from: number, to: number): Promise<boolean> {
    const words = ['ping', '-n', '-c', '1', '-W', '2', '-I', at(family, from), at(family, to)];
    return (await pods.a.run(words)).code === 0;
  }

  before(async () => {
    node = makeNamespace('rb-node');
    pods = { a: makeNamespace('rb-a'), b: makeNamespace('rb-b') };
    await makeForwarding(node);
    await converge([...planOf('promiscuous-bridge'), ...OWN]);
    for (const [name, pod] of Object.entries(pods) as ['a' | 'b', Namespace][]) {
      node.ip(`link add tt${name} type veth peer name eth0 netns ${pod.name} address ${MACS[name]}`);
      node.ip(`link set tt${name} master cbr0 up`);
      pod.ip('link set eth0 up');
      for (const family of [4, 6] as const) {
        const hosts = name === 'a' ? [A, FORGED] : [B];
        for (const host of hosts)
          pod.ip(
            `addr add ${at(family, host)}/${family === 4 ? 24 : 64} dev eth0 ${family === 6 ? 'nodad' : ''}`,
          );
      }
    }
  });
  after(() => {
    for (const each of [node, pods?.a, pods?.b]) each?.remove();
  });

  for (const family of [4, 6] as const) {
    test(`a pod may use its own address and no other, IPv${family}`, async () => {
      assert.equal(await pings(family, A, B), true, 'its own');
      assert.equal(await pings(family, FORGED, B), false, 'one that it was not given');
      await converge([...planOf('promiscuous-bridge'), ...OWN, source(family, 'a', FORGED)]);
      assert.equal(await pings(family, FORGED, B), true, 'once it is given');
      await converge([...planOf('promiscuous-bridge'), ...OWN]);
    });

    // KUBE-DEDUP: the second copy of a frame comes from the bridge's own MAC with a pod's address.
    test(`what the node would send a second time is dropped, IPv${family}`, async () => {
      const length = family === 4 ? 32 : 128;
      pods.a.ip(`route add ${at(family, B)}/${length} via ${at(family, GATEWAY)} src ${at(family, A)}`);
      assert.equal(await pings(family, A, GATEWAY), true, 'the gateway’s own answers');
      assert.equal(await pings(family, A, B), false, 'by way of the gateway');
      await converge([...planOf('hairpin-veth'), ...OWN]);
      assert.equal(await pings(family, A, B), true, 'a bridge that is not promiscuous makes no copies');
      await converge([...planOf('promiscuous-bridge'), ...OWN]);
      pods.a.ip(`route del ${at(family, B)}/${length}`);
    });
  }
});
