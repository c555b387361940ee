/**
 * A reflector and its two clients, and a router outside whose configuration is written by hand: MD5, BFD, communities,
 * prepends, local preference and filters, in both families, with the real BIRD everywhere.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readManifests } from '#model/manifest.ts';
import type { SeenRoute } from '#model/routing.ts';
import { address } from '#net/address.ts';
import { readRouting } from '../../src/routing/frontends/index.ts';
import { withObjects } from '../../src/routing/objects.ts';
import { planRouting, secretsOf } from '../../src/routing/plan.ts';
import { passwordSymbol, renderBird } from '../../src/routing/render.ts';
import { inputOf, nodeOf } from '../../src/routing/testing/cluster.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { learned, makeRoutingNet, ROUTER, type RoutingNet } from './routing-net.ts';

const skip = whyNoKernel(['bird', 'ip', 'nsenter']) ?? false;
const PASSWORD = 'outside; "not this" }'.replaceAll('"', "'");

const OBJECTS = `
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: { name: default }
spec:
  nodeToNodeMeshEnabled: false
  prefixAdvertisements: [{ cidr: 10.77.0.0/16, communities: ['64512:77'] }]
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: reflectors }
spec: { nodeSelector: '!has(rr)', peerSelector: has(rr) }
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: outside-4 }
spec:
  nodeSelector: has(rr)
  peerIP: 192.168.1.9
  asNumber: 65001
  password: { secretKeyRef: { name: bgp, key: outside } }
  filters: [outside]
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: outside-6 }
spec: { nodeSelector: has(rr), peerIP: 'fd00::9', asNumber: 65001 }
---
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata: { name: outside }
spec:
  importV4:
    - { cidr: 203.0.113.0/24, matchOperator: Equal, action: Reject }
    - { communities: { values: ['65001:5'] }, action: Accept, operations: [{ addCommunity: { value: '64512:1:2' } }] }
  exportV4:
    - { cidr: 10.77.3.0/24, matchOperator: Equal, action: Reject }
`;

/** Of a router that nobody here wrote; it waits for the node to connect. */
const OUTSIDE = `# passwords
router id 192.168.1.9;
protocol device { }
protocol direct { ipv4; ipv6; }
protocol kernel { ipv4 { export where source = RTS_BGP; }; }
protocol kernel { ipv6 { export where source = RTS_BGP; }; }
protocol bfd { multihop { interval 100 ms; multiplier 5; }; }
protocol static {
  ipv4;
  route 198.51.100.0/24 blackhole { bgp_community.add((65001,5)); };
  route 203.0.113.0/24 blackhole;
}
protocol bgp n1v4 {
  local 192.168.1.9 as 65001; neighbor 192.168.1.1 as 64512; multihop; bfd on; password outside;
  ipv4 { import all; export where source = RTS_STATIC; };
}
protocol bgp n1v6 { local fd00::9 as 65001; neighbor fd00::1 as 64512; multihop; ipv6 { import all; export none; }; }
`;

let net: RoutingNet;

async function configure(number: number): Promise<void> {
  const reflector = { role: 'server', clusterId: address('244.0.0.1'), meshed: false } as const;
  const nodes = [
    nodeOf(1, { labels: { rr: '' }, reflector, prepend: [64_512, 64_512] }),
    nodeOf(2),
    nodeOf(3),
  ];
  const { manifests } = readManifests('objects.yaml', OBJECTS);
  const objects = readRouting(manifests);
  assert.deepEqual(objects.problems, []);
  const bfd = { intervalMs: 100, multiplier: 5, graceful: false };
  const peers = objects.peers.map((peer) =>
    peer.name === 'outside-4' ? { ...peer, bfd, localPreference: 321 } : peer,
  );
  const input = withObjects(inputOf({ self: `n${number}`, nodes }), { ...objects, peers });
  const { plan, problems } = planRouting(input);
  assert.deepEqual(problems, []);
  assert.ok(plan !== undefined);
  const passwords = new Map(secretsOf(plan).map((ref) => [passwordSymbol(ref), PASSWORD]));
  assert.deepEqual(await net.speaker(number).bird.configure(renderBird(plan), passwords), []);
}

before(async () => {
  if (skip !== false) return;
  net = await makeRoutingNet(3);
  const router = net.speaker(ROUTER).bird;
  assert.deepEqual(await router.configure(OUTSIDE, new Map([['outside', PASSWORD]])), []);
  for (const number of [1, 2, 3]) await configure(number);
});
after(async () => {
  if (skip === false) await net.close();
});

function routeOf(number: number, prefix: string, filtered = false): Promise<SeenRoute> {
  return waitFor(
    `${prefix} at ${number}`,
    async () => {
      const routes = await net.speaker(number).bird.routes();
      return routes.find((route) => route.prefix === prefix && route.filtered === filtered);
    },
    60_000,
  );
}

test(
  'clients learn each other’s pods by the reflector, with the other’s own next hop',
  { skip },
  async () => {
    const sessions = await net.established(2, 2);
    assert.deepEqual([...sessions.keys()].sort(), ['node4_192_168_1_1', 'node6_fd00__1']);
    const route = await routeOf(2, '10.77.3.0/24');
    assert.equal(route.nextHop, '192.168.1.3');
    assert.deepEqual(route.communities, ['64512:77']);
    await waitFor(
      'routes of both families',
      () => learned(net.speaker(2), 4).length + learned(net.speaker(2), 6).length >= 4,
      60_000,
    );
    assert.deepEqual(learned(net.speaker(2), 6), [
      'fd77:0:0:1::/64 via fd00::1 metric 544',
      'fd77:0:0:3::/64 via fd00::3 metric 544',
    ]);
    const lost = await net.speaker(2).netns.run(['ping', '-c', '2', '-I', '10.77.2.1', '10.77.3.1']);
    assert.equal(lost.code, 0, lost.stdout);
  },
);

test(
  'the router outside has the pods, prepended and marked, but for what the filter keeps',
  { skip },
  async () => {
    await net.established(ROUTER, 2);
    const route = await routeOf(ROUTER, '10.77.2.0/24');
    assert.deepEqual(route.asPath, [64_512, 64_512, 64_512]);
    assert.deepEqual(route.communities, ['64512:77']);
    await routeOf(ROUTER, 'fd77:0:0:3::/64');
    const routes = await net.speaker(ROUTER).bird.routes();
    assert.equal(
      routes.find(({ prefix }) => prefix === '10.77.3.0/24'),
      undefined,
    );
    assert.equal(
      routes.find(({ prefix, from }) => prefix === '192.168.1.0/24' && from === 'n1v4'),
      undefined,
    );
  },
);

test(
  'what the router tells is believed as far as the filter says, and is in the kernel',
  { skip },
  async () => {
    const accepted = await routeOf(1, '198.51.100.0/24');
    assert.equal(accepted.localPreference, 321);
    assert.deepEqual(accepted.communities, ['65001:5', '64512:1:2']);
    const refused = await routeOf(1, '203.0.113.0/24', true);
    assert.equal(refused.from, 'peer4_192_168_1_9');
    assert.equal(refused.chosen, false);
    const inKernel = learned(net.speaker(1), 4);
    assert.ok(inKernel.includes('198.51.100.0/24 via 192.168.1.9 metric 544'), inKernel.join());
    assert.ok(!inKernel.some((route) => route.startsWith('203.0.113.')));
  },
);

test('BFD sees a router that is silent long before BGP does', { skip }, async () => {
  const { bird } = net.speaker(1);
  await net.established(1, 6);
  process.kill(net.speaker(ROUTER).pid(), 'SIGSTOP');
  try {
    // BIRD's hold time is 240 s.
    const session = await waitFor(
      'the session to be down',
      async () => (await bird.sessions()).find(({ name, up }) => name === 'peer4_192_168_1_9' && !up),
      60_000,
    );
    assert.match(session.problem ?? '', /BFD/);
    await waitFor(
      'its route to be gone',
      () => !learned(net.speaker(1), 4).join().includes('198.51.100'),
      60_000,
    );
  } finally {
    process.kill(net.speaker(ROUTER).pid(), 'SIGCONT');
  }
  await net.established(1, 6);
  await routeOf(1, '198.51.100.0/24');
});
