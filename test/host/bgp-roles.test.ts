/**
 * What nodes may be to each other and to routers, in a lab of real agents: a reflector and its clients, FRR with BFD, GoBGP with a
 * password, announcements of services, marks and prepends.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { routerNetns } from '../../src/lab/topology.ts';
import {
  assertAllReach,
  awaitRoutes,
  type Daemon,
  DEADLINE_MS,
  inRouter,
  learnedBy,
  must,
  startFrr,
  writeSecret,
} from './bgp-lab.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { whyNoTartan } from './node.ts';

const skip = whyNoKernel(['bird', 'ip', 'ping', '/usr/lib/frr/bgpd', 'gobgpd']) ?? whyNoTartan() ?? false;
const PASSWORD = 'go-go-bgp';

/** Node 1 reflects, and the others speak with it alone; node 3 is far from everybody; node 2 has GoBGP for a friend. */
const OBJECTS = `
apiVersion: v1
kind: Node
metadata: { name: node1, labels: { rr: '' }, annotations: { projectcalico.org/RouteReflectorClusterID: 244.0.0.1 } }
---
apiVersion: v1
kind: Node
metadata:
  name: node3
  annotations: { kube-router.io/path-prepend.as: '64512', kube-router.io/path-prepend.repeat-n: '2' }
---
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: { name: default }
spec:
  nodeToNodeMeshEnabled: false
  serviceClusterIPs: [{ cidr: 10.96.0.0/16 }]
  serviceExternalIPs: [{ cidr: 203.0.113.0/24 }]
  serviceLoadBalancerIPs: [{ cidr: 198.51.100.0/24 }]
  serviceLoadBalancerAggregation: Disabled
  communities: [{ name: pods, value: '64512:77' }]
  prefixAdvertisements: [{ cidr: 10.244.0.0/16, communities: [pods] }]
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: reflectors }
spec: { nodeSelector: '!has(rr)', peerSelector: has(rr) }
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: gobgp }
spec:
  nodeSelector: kubernetes.io/hostname == 'node2'
  peerIP: 192.168.10.1:1179
  asNumber: 65002
  password: { secretKeyRef: { name: bgp, key: gobgp } }
  filters: [marks]
---
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata: { name: own-only }
spec: { exportV4: [{ source: RemotePeers, action: Reject }] }
---
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata: { name: marks }
spec:
  importV4:
    - { communities: { values: ['65002:13'] }, action: Reject }
    - { cidr: 100.64.0.0/16, matchOperator: In, action: Accept, operations: [{ addCommunity: { value: '64512:9:9' } }] }
`;

/** Of three services one is local to node 2, and one says itself that it is told of. */
const SERVICES = `
apiVersion: v1
kind: Service
metadata: { name: local, namespace: shop }
spec: { clusterIP: 10.96.0.7, externalIPs: [203.0.113.7], externalTrafficPolicy: Local }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: local-1, namespace: shop, labels: { kubernetes.io/service-name: local } }
endpoints: [{ addresses: [10.244.9.9], nodeName: node2, conditions: { ready: true } }]
---
apiVersion: v1
kind: Service
metadata:
  name: told
  namespace: shop
  annotations: { kube-router.io/service.advertise.externalip: 'true' }
spec: { clusterIP: 10.96.0.8, externalIPs: [192.0.2.8] }
status: { loadBalancer: { ingress: [{ ip: 198.51.100.8 }] } }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: told-1, namespace: shop, labels: { kubernetes.io/service-name: told } }
endpoints: [{ addresses: [10.244.9.8], nodeName: node3, conditions: { ready: true } }]
`;

const rack = (name: string, nodes: readonly string[], address: string): object => ({
  name,
  nodes: `kubernetes.io/hostname in { ${nodes.map((node) => `'${node}'`).join(', ')} }`,
  address,
  as: 65_001,
  filters: ['own-only'],
  // On the node’s own subnet: BFD of one hop, as routers speak it there.
  hops: 1,
  bfd: { intervalMs: 200, multiplier: 3 },
});

function bgpdOf(lab: Lab): string {
  const ends = lab.nodes.map(({ addresses }) => addresses[4]);
  return [
    'router bgp 65001',
    ' bgp router-id 192.168.10.1',
    ' no bgp ebgp-requires-policy',
    ' no bgp network import-check',
    ...ends.flatMap((end) => [
      ` neighbor ${end} remote-as 64512`,
      ` neighbor ${end} timers connect 1`,
      ` neighbor ${end} bfd 3 200 200`,
      ` neighbor ${end} advertisement-interval 0`,
    ]),
    ' address-family ipv4 unicast',
    '  network 100.65.0.0/16',
    ' exit-address-family',
    '',
  ].join('\n');
}

const GOBGP = `
[global.config]
  as = 65002
  router-id = "192.168.10.9"
  port = 1179
  local-address-list = ["192.168.10.1"]
[[neighbors]]
  [neighbors.config]
    neighbor-address = "192.168.10.11"
    peer-as = 64512
    auth-password = "${PASSWORD}"
  [neighbors.transport.config]
    passive-mode = true
  [neighbors.graceful-restart.config]
    enabled = true
    restart-time = 120
  [[neighbors.afi-safis]]
    [neighbors.afi-safis.config]
      afi-safi-name = "ipv4-unicast"
    [neighbors.afi-safis.mp-graceful-restart.config]
      enabled = true
`;

function startGoBgp(lab: Lab): Daemon {
  const directory = mkdtempSync(join(tmpdir(), 'rd-gobgp-'));
  writeFileSync(join(directory, 'gobgpd.conf'), GOBGP, { mode: 0o600 });
  const words = [
    'netns',
    'exec',
    routerNetns(lab.name),
    'gobgpd',
    '-f',
    join(directory, 'gobgpd.conf'),
    '--pprof-disable',
  ];
  const child = spawn('ip', words, { stdio: 'ignore' });
  return {
    directory,
    stop: () => {
      child.kill('SIGKILL');
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

type Path = {
  readonly aspath?: { readonly string?: string };
  readonly community?: { readonly string?: string };
  readonly peer?: { readonly peerId?: string };
};

test('a reflector, FRR with BFD and GoBGP; services, marks and prepends', { skip }, async (t) => {
  const secrets = mkdtempSync(join(tmpdir(), 'rd-secrets-'));
  writeSecret(secrets, ['bgp', 'gobgp'], PASSWORD);
  await using lab = await startLab({
    name: `rd-roles-${process.pid}`,
    underlay: [4],
    profile: 'calico',
    settings: {
      road: { mode: 'Never' },
      routing: {
        secrets,
        peers: [
          rack('rack-near', ['node1', 'node2'], '192.168.10.1'),
          rack('rack-far', ['node3'], '192.168.20.1'),
        ],
      },
    },
    readyMs: DEADLINE_MS,
  });
  for (const { name } of lab.nodes) await lab.addPod(name, `pod-${name}`);
  const frr = await startFrr(lab, { bfdd: '\n', bgpd: bgpdOf(lab) });
  const gobgp = startGoBgp(lab);
  const prefixes = new Map<string, string>();
  const pathsOf = (prefix: string): Path[] => {
    const { paths } = JSON.parse(frr.vtysh(`show bgp ipv4 unicast ${prefix} json`)) as { paths?: Path[] };
    return paths ?? [];
  };
  const peersOf = (prefix: string): string[] =>
    pathsOf(prefix)
      .map(({ peer }) => peer?.peerId ?? '')
      .sort();
  try {
    lab.apply('objects', OBJECTS);

    await t.test(
      'clients have the reflector and their routers alone, and learn each other’s pods by it',
      async () => {
        for (const [node, peers] of [
          ['node1', ['rack-near', 'reflectors: node2', 'reflectors: node3']],
          ['node2', ['gobgp', 'rack-near', 'reflectors: node1']],
          ['node3', ['rack-far', 'reflectors: node1']],
        ] as const) {
          const { announced } = await awaitRoutes(
            lab,
            node,
            `to speak with ${peers.join()}`,
            ({ sessions }) => {
              const names = sessions.map(({ peer }) => peer).sort();
              return (
                names.join() === peers.join() && sessions.every(({ up, exported }) => up && exported > 0)
              );
            },
          );
          prefixes.set(node, announced.find(({ kind }) => kind === 'pods')?.prefix ?? assert.fail());
        }
        const far = prefixes.get('node3');
        const { learned } = await awaitRoutes(lab, 'node2', 'to learn node 3’s pods', ({ learned }) =>
          learned.some(({ prefix, used }) => prefix === far && used),
        );
        const route = learned.find(({ prefix }) => prefix === far);
        assert.equal(route?.peer, 'reflectors: node1');
        assert.equal(route?.nextHop, '192.168.20.12');
        assert.deepEqual(route?.communities, ['64512:77']);
      },
    );

    await t.test('every pod reaches every pod', () => assertAllReach(lab));

    await t.test(
      'FRR has the pods with their marks, of each node by itself, and node 3’s prepended',
      async () => {
        for (const [node, path] of [
          ['node1', '64512'],
          ['node2', '64512'],
          ['node3', '64512 64512 64512'],
        ] as const) {
          const paths = await waitFor(
            `${node} at FRR`,
            () => {
              const found = pathsOf(prefixes.get(node) ?? '');
              return found.length > 0 && found;
            },
            DEADLINE_MS,
          );
          assert.deepEqual(
            paths.map((one) => [one.aspath?.string, one.community?.string]),
            [[path, '64512:77']],
          );
        }
      },
    );

    await t.test(
      'services: ranges by all, single addresses by use, local ones by nodes with endpoints',
      async () => {
        lab.apply('services', SERVICES);
        const [one, two, three] = ['192.168.10.10', '192.168.10.11', '192.168.20.12'];
        const wanted = {
          '10.96.0.0/16': [one, two, three],
          '10.96.0.7/32': [two],
          '203.0.113.0/24': [one, two, three],
          '203.0.113.7/32': [two],
          '198.51.100.8/32': [one, two, three],
          '192.0.2.8/32': [one, two, three],
        };
        const seen = () => Object.fromEntries(Object.keys(wanted).map((prefix) => [prefix, peersOf(prefix)]));
        await waitFor(
          'FRR to have them',
          () => JSON.stringify(seen()) === JSON.stringify(wanted),
          DEADLINE_MS,
        ).catch(() => undefined);
        assert.deepEqual(seen(), wanted);
        assert.deepEqual(peersOf('198.51.100.0/24'), [], 'not the range whose addresses are told one by one');
        for (const { name } of lab.nodes) {
          const inKernel = await learnedBy(lab, name);
          assert.ok(
            !inKernel.some((prefix) => /^(10\.96|203\.0\.113|192\.0\.2)\./.test(prefix)),
            inKernel.join(),
          );
        }
        lab.apply('services', '');
        await waitFor(
          'them to be withdrawn',
          () => peersOf('203.0.113.7/32').length + peersOf('192.0.2.8/32').length === 0,
          DEADLINE_MS,
        );
      },
    );

    await t.test('GoBGP has all pods, and what it tells is believed as the filter says', async () => {
      const go = (...words: string[]): string => inRouter(lab, 'gobgp', ...words);
      const has = (): string => go('global', 'rib', '-a', 'ipv4');
      await waitFor(
        'all pods',
        () => [...prefixes.values()].every((prefix) => has().includes(prefix)),
        DEADLINE_MS,
      );
      assert.match(has(), /64512 .*\{Communities: 64512:77\}/);
      inRouter(lab, 'ip', 'addr', 'add', '100.64.9.1/32', 'dev', 'lo');
      go(
        'global',
        'rib',
        'add',
        '100.64.9.0/24',
        'nexthop',
        '192.168.10.1',
        'community',
        '65002:5',
        '-a',
        'ipv4',
      );
      go(
        'global',
        'rib',
        'add',
        '100.64.13.0/24',
        'nexthop',
        '192.168.10.1',
        'community',
        '65002:13',
        '-a',
        'ipv4',
      );
      const { learned } = await awaitRoutes(lab, 'node2', 'to have both', ({ learned }) =>
        ['100.64.9.0/24', '100.64.13.0/24'].every((prefix) =>
          learned.some((route) => route.prefix === prefix),
        ),
      );
      const [refused, taken] = learned.filter(({ peer }) => peer === 'gobgp');
      assert.deepEqual(
        [taken?.used, taken?.asPath, taken?.communities],
        [true, [65_002], ['65002:5', '64512:9:9']],
      );
      assert.match(refused?.why ?? '', /refused on import by filter marks/);
      await waitFor(
        'the kernel to have it',
        async () => (await learnedBy(lab, 'node2')).includes('100.64.9.0/24'),
        DEADLINE_MS,
      );
      await must(lab, 'pod-node2', 'ping', '-c', '1', '-W', '5', '100.64.9.1');
      assert.ok(
        !(await learnedBy(lab, 'node1')).includes('100.64.9.0/24'),
        'what is no pod’s is not passed on',
      );
    });

    await t.test('BFD finds that FRR is silent long before BGP does, and shows', async () => {
      const { sessions: watched } = await awaitRoutes(lab, 'node3', 'to agree with FRR', ({ sessions }) =>
        sessions.some(({ bfd }) => bfd?.state === 'Up' && bfd.timeoutMs === 600),
      );
      assert.deepEqual(watched.map(({ peer, bfd }) => `${peer} ${bfd?.state}`).sort(), [
        'rack-far Up',
        'reflectors: node1 undefined',
      ]);
      assert.match((await lab.tartan('node3', 'routes')).stdout, /rack-far .* Up, 600 ms /);
      assert.ok((await learnedBy(lab, 'node3')).includes('100.65.0.0/16'));
      const pids = ['bfdd', 'bgpd'].map((name) =>
        Number(readFileSync(join(frr.directory, `${name}.pid`), 'utf8')),
      );
      for (const pid of pids) process.kill(pid, 'SIGSTOP');
      try {
        const { sessions } = await awaitRoutes(lab, 'node3', 'to miss FRR', ({ sessions }) =>
          sessions.some(({ up }) => !up),
        );
        const missed = sessions.find(({ up }) => !up);
        assert.match(missed?.why ?? '', /BFD/);
        assert.equal(missed?.bfd?.state, 'Down');
        await waitFor(
          'its route to go',
          async () => !(await learnedBy(lab, 'node3')).includes('100.65.0.0/16'),
          DEADLINE_MS,
        );
      } finally {
        for (const pid of pids) process.kill(pid, 'SIGCONT');
      }
      await waitFor(
        'its route to be back',
        async () => (await learnedBy(lab, 'node3')).includes('100.65.0.0/16'),
        DEADLINE_MS,
      );
      await assertAllReach(lab);
    });
  } finally {
    gobgp.stop();
    frr.stop();
    rmSync(secrets, { recursive: true, force: true });
  }
});
