/**
 * What each profile plans for a node and its peers, in the words of ip and nft, compared with test/golden. To accept a
 * change: UPDATE_GOLDEN=1 npm exec -- node --test test/house/golden.test.ts
 */
import assert from 'node:assert/strict';
import { globSync, readFileSync, writeFileSync } from 'node:fs';
import { basename } from 'node:path';
import { env } from 'node:process';
import { test } from 'node:test';
import type { Self } from '#backends/backend.ts';
import { ipsecOf } from '../../src/backends/testing/nodes.ts';
import { advertOf, planNode, planPeer } from '#backends/node-plan.ts';
import { parseSettings } from '#config/parse.ts';
import { showItems } from '#model/show.ts';
import type { Settings } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import { address } from '#net/address.ts';
import { families, perFamily } from '#net/per-family.ts';
import { nthSubnet, prefix } from '#net/prefix.ts';

const profiles = Object.fromEntries(
  globSync('profiles/*.yaml').map((file) => [basename(file, '.yaml'), readFileSync(file, 'utf8')]),
);

const SIX = { 'network.ipv6.range': 'fd00:244::/48' };
const CASES: Record<string, Readonly<Record<string, unknown>>> = {
  kubenet: { profile: 'kubenet' },
  'kubenet-policy': { profile: 'kubenet', ...SIX, 'policy.enforce': true },
  canal: { profile: 'canal' },
  'calico-dual-stack': { profile: 'calico', ...SIX },
  'kube-router-dual-stack': { profile: 'kube-router', ...SIX },
  flannel: { profile: 'flannel' },
  'flannel-dual-stack-direct': { profile: 'flannel', ...SIX, 'road.vxlan.directRouting': true },
  'flannel-ipv6-only': { profile: 'flannel', ...SIX, 'network.ipv4': null },
  'ipip-dual-stack-cross-subnet': {
    profile: 'flannel',
    ...SIX,
    'road.type': 'ipip',
    'road.mode': 'CrossSubnet',
  },
  'ipip-over-ipv6': { profile: 'canal', ...SIX, 'network.ipv4': null, 'road.type': 'ipip' },
  'gre-dual-stack': { profile: 'kubenet', ...SIX, 'road.type': 'gre', 'road.gre.tos': 16 },
  'wireguard-strict': {
    profile: 'canal',
    ...SIX,
    'road.type': 'wireguard',
    'road.wireguard.strict': true,
  },
  ipsec: { profile: 'canal', ...SIX, 'road.type': 'ipsec' },
  'udp-sealed': { profile: 'flannel', ...SIX, 'road.type': 'udp', 'road.udp.cipher': 'aes-256-gcm' },
  'fou-dual-stack': { profile: 'canal', ...SIX, 'road.type': 'fou', 'policy.enforce': false },
  kopeio: { profile: 'kopeio' },
  'kopeio-layer2': { profile: 'kopeio', ...SIX, 'road.type': 'layer2' },
  'gre-never': { profile: 'kubenet', 'road.type': 'gre', 'road.mode': 'Never' },
  'routed-host-gw': { profile: 'kubenet', 'wiring.type': 'routed', 'masquerade.enabled': false },
};

/** Node number `index`; even ones share node 1's link, odd ones are behind a router. */
function nodeOf(settings: Settings, index: number): Self {
  const near = index === 1 || index % 2 === 0;
  const only6 = settings.network.subnets[4] === undefined;
  const local = {
    ...(only6 ? {} : { 4: address(near ? `192.0.2.${index}` : `198.51.100.${index}`) }),
    6: address(near ? `2001:db8::${index}` : `2001:db8:1::${index}`),
  };
  const connected = [prefix('192.0.2.0/24'), prefix('2001:db8::/64')];
  return {
    name: `node-${index}`,
    subnets: perFamily((family) => {
      const subnets = settings.network.subnets[family];
      return subnets === undefined ? undefined : nthSubnet(subnets.range, subnets.length, BigInt(index));
    }),
    underlay: { link: 'eth0', mtu: 1500, local, announced: local, connected, why: 'golden' },
    settings,
    ...(settings.road.type === 'wireguard'
      ? { wireguardKey: Buffer.alloc(32, index).toString('base64') }
      : {}),
    ...(settings.road.type === 'udp' ? { tunnelKeys: [Buffer.alloc(32, index).toString('base64')] } : {}),
    ...(settings.road.type === 'ipsec' ? { ipsec: ipsecOf(`node-${index}`) } : {}),
  };
}

function render(overrides: Readonly<Record<string, unknown>>): string {
  const { settings } = parseSettings([], profiles, { ...overrides, 'node.name': 'node-1' });
  const self = nodeOf(settings, 1);
  assert.ok(families(self.subnets).length > 0);
  const peers = [2, 3].map((index): NodeAdvert => advertOf(nodeOf(settings, index), true));
  const sections = peers.map((peer) => {
    const { items, unreachable } = planPeer(self, peer);
    const away = unreachable.map((each) => `# unreachable: ${each.prefix ?? ''} ${each.why}\n`).join('');
    return `\n# ${peer.name}\n${showItems(items)}${away}`;
  });
  return `# node-1\n${showItems(planNode(self))}${sections.join('')}`;
}

for (const [name, overrides] of Object.entries(CASES)) {
  test(`the plan of ${name} is as in test/golden`, () => {
    const file = `test/golden/${name}.txt`;
    const text = render(overrides);
    if (env['UPDATE_GOLDEN'] !== undefined) writeFileSync(file, text);
    assert.equal(text, readFileSync(file, 'utf8'));
  });
}
