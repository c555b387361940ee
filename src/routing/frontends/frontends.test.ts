/** Objects of routing: what each field becomes, and what is said of what is wrong. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readManifests } from '#model/manifest.ts';
import { readRouting } from './index.ts';

function read(text: string) {
  const { manifests, problems } = readManifests('f.yaml', text);
  assert.deepEqual(problems, []);
  return readRouting(manifests);
}

const wrongOf = (text: string): string[] =>
  read(text).problems.map(({ path, message }) => `${path}: ${message}`);

test('BGPConfiguration: every field of default and of a node', () => {
  const found = read(
    `
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: { name: default }
spec:
  logSeverityScreen: Warning
  nodeToNodeMeshEnabled: true
  asNumber: 1.10
  listenPort: 178
  bindMode: NodeIP
  nodeMeshPassword: { secretKeyRef: { name: bgp, key: mesh } }
  nodeMeshMaxRestartTime: 2m
  ignoredInterfaces: [docker0]
  serviceClusterIPs: [{ cidr: 10.96.0.0/12 }, { cidr: 'fd96::/108' }]
  serviceExternalIPs: [{ cidr: 198.51.100.0/24 }]
  serviceLoadBalancerIPs: [{ cidr: 203.0.113.0/24 }]
  serviceLoadBalancerAggregation: Disabled
  communities: [{ name: gold, value: '65000:1:2' }]
  prefixAdvertisements: [{ cidr: 10.77.0.0/16, communities: [gold, '65000:7'] }]
---
apiVersion: crd.projectcalico.org/v1
kind: BGPConfiguration
metadata: { name: node.n2 }
spec: { listenPort: 1790, logSeverityScreen: Debug }
`.replace('1.10', "'1.10'"),
  );
  assert.deepEqual(found.problems, []);
  assert.deepEqual(found.settings, {
    logLevel: 'warning',
    mesh: 'all',
    as: 65_546,
    port: 178,
    meshPassword: { kind: 'secret', name: 'bgp', key: 'mesh' },
    meshRestartS: 120,
    bindToNode: true,
    ignoredInterfaces: ['docker0'],
    services: {
      ranges: {
        cluster: ['10.96.0.0/12', 'fd96::/108'],
        external: ['198.51.100.0/24'],
        'load-balancer': ['203.0.113.0/24'],
      },
      single: ['load-balancer'],
    },
    tags: [
      {
        prefix: '10.77.0.0/16',
        communities: [
          [65_000, 1, 2],
          [65_000, 7],
        ],
      },
    ],
  });
  assert.deepEqual([...found.overrides], [['n2', { port: 1790, logLevel: 'debug' }]]);
});

test('BGPConfiguration: what is wrong, each at its line', () => {
  assert.deepEqual(
    wrongOf(`apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: { name: default }
spec:
  asNumber: 0
  nodeToNodeMeshEnabled: false
  nodeMeshPassword: { secretKeyRef: { name: a, key: b } }
  listenPort: 70000
  localWorkloadPeeringIPV4: 10.0.0.1
  ipv4NormalRoutePriority: 7
  colour: red
`).sort(),
    [
      'f.yaml:10 spec.ipv4NormalRoutePriority: must be 1024, not 7',
      'f.yaml:11 spec.colour: unknown field',
      'f.yaml:5 spec.asNumber: must be an AS number from 1 to 4294967295, not 0',
      'f.yaml:7 spec.nodeMeshPassword: must not be there without the mesh',
      'f.yaml:8 spec.listenPort: must be a whole number from 1 to 65535',
      'f.yaml:9 spec.localWorkloadPeeringIPV4: is not enforced: nobody speaks BGP with pods',
    ],
  );
  const node = (spec: string): string[] =>
    wrongOf(
      `{apiVersion: projectcalico.org/v3, kind: BGPConfiguration, metadata: {name: node.a}, spec: ${spec}}`,
    );
  assert.match(node('{asNumber: 65001}').join(), /asNumber: must only be in BGPConfiguration default/);
  assert.match(
    node('{prefixAdvertisements: [{cidr: 10.0.0.0/8, communities: [x]}]}').join(),
    /communities.0: must be a name/,
  );
});

test('BGPPeer: every field', () => {
  const { peers, problems } = read(`
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: rack }
spec:
  nodeSelector: rack == 'a'
  peerIP: '[fd00::9]:1179'
  asNumber: 65001
  localASNumber: 65002
  nextHopMode: Self
  password: { secretKeyRef: { name: bgp, key: rack } }
  sourceAddress: None
  maxRestartTime: 90s
  keepaliveTime: 10s
  numAllowedLocalASNumbers: 2
  ttlSecurity: 3
  reachableBy: 'fd00::1'
  filters: [one, two]
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: reflectors }
spec: { node: n1, peerSelector: has(rr), keepOriginalNextHop: true, reversePeering: Manual }
`);
  assert.deepEqual(problems, []);
  assert.deepEqual(peers, [
    {
      name: 'rack',
      nodes: { op: 'in', scope: 'own', key: 'rack', values: ['a'] },
      remote: { kind: 'address', address: 'fd00::9', port: 1179, as: 65_001 },
      reverse: true,
      nextHop: 'self',
      source: 'any',
      ttlSecurity: true,
      filters: ['one', 'two'],
      localAs: 65_002,
      password: { kind: 'secret', name: 'bgp', key: 'rack' },
      restartS: 90,
      keepaliveS: 10,
      allowLocalAs: 2,
      hops: 3,
      gateway: 'fd00::1',
    },
    {
      name: 'reflectors',
      nodes: { op: 'in', scope: 'fact', key: 'name', values: ['n1'] },
      remote: { kind: 'nodes', selector: { op: 'has', scope: 'own', key: 'rr' } },
      reverse: false,
      nextHop: 'keep',
      source: 'node',
      ttlSecurity: false,
      filters: [],
    },
  ]);
});

const peer = (spec: string): string =>
  wrongOf(`{apiVersion: projectcalico.org/v3, kind: BGPPeer, metadata: {name: p}, spec: ${spec}}`).join('; ');

test('BGPPeer: what is wrong', () => {
  assert.match(peer('{}'), /must have peerIP or peerSelector/);
  assert.match(peer('{peerIP: 10.0.0.1}'), /asNumber: is missing/);
  assert.match(
    peer('{node: a, nodeSelector: all(), peerIP: 10.0.0.1, asNumber: 1}'),
    /nodeSelector: must not be there beside node/,
  );
  assert.match(peer('{peerSelector: all(), asNumber: 1}'), /asNumber: must not be there beside peerSelector/);
  assert.match(
    peer('{peerIP: 10.0.0.1, asNumber: 1, reachableBy: "fd00::1"}'),
    /reachableBy: must be of the family/,
  );
  assert.match(
    peer('{peerIP: "10.0.0.1:0", asNumber: 1}'),
    /peerIP: must be an IP address, with or without port/,
  );
  assert.match(peer('{localWorkloadSelector: all(), asNumber: 1}'), /localWorkloadSelector: is not enforced/);
  assert.match(peer("{peerSelector: 'a = b'}"), /peerSelector: column 3/);
});

test('BGPFilter: every field, and what is wrong', () => {
  const { filters, problems } = read(`
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata: { name: f }
spec:
  importV4:
    - { cidr: 10.0.0.0/8, matchOperator: In, prefixLength: { min: 16, max: 24 }, action: Reject }
    - { communities: { values: ['65000:1'] }, peerType: eBGP, action: Accept,
        operations: [{ setPriority: { value: 100 } }, { addCommunity: { value: '1:2:3' } }] }
  exportV6:
    - { source: RemotePeers, interface: eth*, asPathPrefix: [65001, 65002], priority: 512, action: Accept,
        operations: [{ prependASPath: { prefix: [65003] } }] }
`);
  assert.deepEqual(problems, []);
  assert.deepEqual(filters[0]?.rules, {
    import: {
      4: [
        {
          prefix: { within: '10.0.0.0/8', operator: 'in', min: 16, max: 24 },
          action: 'reject',
          operations: [],
        },
        {
          peer: 'external',
          community: [65_000, 1],
          action: 'accept',
          operations: [{ priority: 100 }, { add: [1, 2, 3] }],
        },
      ],
      6: [],
    },
    export: {
      4: [],
      6: [
        {
          learned: true,
          interface: 'eth*',
          pathBegins: [65_001, 65_002],
          priority: 512,
          action: 'accept',
          operations: [{ prepend: [65_003] }],
        },
      ],
    },
  });
  const rule = (text: string): string =>
    wrongOf(
      `{apiVersion: projectcalico.org/v3, kind: BGPFilter, metadata: {name: f}, spec: {importV4: [${text}]}}`,
    ).join('; ');
  assert.match(rule('{cidr: 10.0.0.0/8, action: Accept}'), /must have both cidr and matchOperator/);
  assert.match(rule('{cidr: "fd00::/8", matchOperator: In, action: Accept}'), /cidr: must be an IPv4 CIDR/);
  assert.match(
    rule('{action: Reject, operations: [{setPriority: {value: 1}}]}'),
    /operations: must only be there with action Accept/,
  );
  assert.match(rule('{action: Accept, operations: [{}]}'), /must have exactly one of/);
  assert.match(
    rule('{cidr: 10.0.0.0/8, matchOperator: Equal, prefixLength: {min: 9}, action: Accept}'),
    /says nothing/,
  );
  assert.match(rule('{interface: "a\\"b", action: Accept}'), /interface: must be the name/);
});

test('Node: kube-router’s annotations, and Calico’s', () => {
  const { nodes, peers, filters, problems } = read(`
apiVersion: v1
kind: Node
metadata:
  name: n1
  labels: { rack: a, node.kubernetes.io/exclude-from-external-load-balancers: 'true' }
  annotations:
    kube-router.io/node.asn: '65010'
    kube-router.io/node.bgp.communities: 65000:1,no-export
    kube-router.io/node.bgp.customimportreject: 10.9.0.0/16, fd09::/16
    kube-router.io/path-prepend.as: '65010'
    kube-router.io/path-prepend.repeat-n: '2'
    kube-router.io/rr.server: '42'
    kube-router.io/pod-cidrs: 10.77.1.0/24,fd77:0:0:1::/64
    kube-router.io/peers: '[{remoteip: 192.168.1.9, remoteasn: 65001, port: 1179}]'
    kube-router.io/peer.ips: 192.168.1.8
    kube-router.io/peer.asns: '65002'
`);
  assert.deepEqual(problems, []);
  assert.deepEqual(nodes, [
    {
      name: 'n1',
      labels: { rack: 'a', 'node.kubernetes.io/exclude-from-external-load-balancers': 'true' },
      withoutServices: true,
      prepend: [65_010, 65_010],
      communities: [
        [65_000, 1],
        [65_535, 65_281],
      ],
      as: 65_010,
      reflector: { role: 'server', clusterId: '0.0.0.42', meshed: true },
      prefixes: ['10.77.1.0/24', 'fd77:0:0:1::/64'],
    },
  ]);
  assert.deepEqual(
    peers.map(({ remote, hops, filters }) => ({ remote, hops, filters })),
    [
      {
        remote: { kind: 'address', address: '192.168.1.9', as: 65_001, port: 1179 },
        hops: 1,
        filters: ['kube-router.io/n1'],
      },
      {
        remote: { kind: 'address', address: '192.168.1.8', as: 65_002 },
        hops: 1,
        filters: ['kube-router.io/n1'],
      },
    ],
  );
  assert.equal(filters[0]?.rules.import[6][0]?.prefix?.within, 'fd09::/16');
});

test('Node: a password in an annotation is refused and not repeated', () => {
  const text = (annotations: string): string =>
    wrongOf(`{apiVersion: v1, kind: Node, metadata: {name: n, annotations: {${annotations}}}}`).join('; ');
  const listed = text(
    `kube-router.io/peer.ips: 10.0.0.1, kube-router.io/peer.asns: '1', kube-router.io/peer.passwords: c2VjcmV0`,
  );
  assert.match(listed, /peer.passwords: must not be there/);
  const inPeers = text(`kube-router.io/peers: '[{remoteip: 10.0.0.1, remoteasn: 1, password: c2VjcmV0}]'`);
  assert.match(inPeers, /password must not be there/);
  for (const said of [listed, inPeers]) assert.ok(!said.includes('c2VjcmV0'));
  assert.match(
    text(`kube-router.io/peer.ips: 'a,10.0.0.1', kube-router.io/peer.asns: '1'`),
    /must be IP addresses, not "a"/,
  );
  assert.match(
    text(`kube-router.io/rr.server: '1', kube-router.io/rr.client: '1'`),
    /must not be there beside/,
  );
  assert.match(
    text(`projectcalico.org/RouteReflectorClusterID: 'x'`),
    /must be an IPv4 address or its number/,
  );
});
