/** Clusters whose configuration is in test/golden/bird; together they use everything that can be said. */
import { readManifests } from '#model/manifest.ts';
import { EVERYTHING } from '#model/policy.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { readRouting } from '../frontends/index.ts';
import { withObjects } from '../objects.ts';
import type { RoutingInput } from '../plan.ts';
import { inputOf, nodeOf, SETTINGS } from './cluster.ts';

function read(text: string, input: RoutingInput): RoutingInput {
  const { manifests, problems } = readManifests('case.yaml', text);
  const found = readRouting(manifests);
  const wrong = [...problems, ...found.problems];
  if (wrong.length > 0) throw new Error(JSON.stringify(wrong));
  return withObjects(input, found);
}

const CALICO = `
apiVersion: projectcalico.org/v3
kind: BGPConfiguration
metadata: { name: default }
spec:
  logSeverityScreen: Debug
  asNumber: 64600
  listenPort: 178
  bindMode: NodeIP
  nodeMeshPassword: { secretKeyRef: { name: bgp, key: mesh } }
  nodeMeshMaxRestartTime: 5m
  ignoredInterfaces: [docker0]
  serviceClusterIPs: [{ cidr: 10.96.0.0/12 }, { cidr: 'fd96::/108' }]
  serviceLoadBalancerIPs: [{ cidr: 203.0.113.0/24 }]
  communities: [{ name: gold, value: '65000:1:2' }]
  prefixAdvertisements: [{ cidr: 10.77.0.0/16, communities: [gold, '65000:7'] }]
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: rack }
spec:
  nodeSelector: rack == 'a'
  peerIP: 192.168.9.9:1179
  asNumber: 65001
  localASNumber: 65002
  nextHopMode: Self
  password: { secretKeyRef: { name: bgp, key: rack } }
  sourceAddress: None
  maxRestartTime: 90s
  keepaliveTime: 10s
  numAllowedLocalASNumbers: 2
  ttlSecurity: 3
  reachableBy: 192.168.1.254
  filters: [tor, 'tor-too']
---
apiVersion: projectcalico.org/v3
kind: BGPPeer
metadata: { name: old }
spec: { peerIP: 'fd00::99', asNumber: 64600, keepOriginalNextHop: true, maxRestartTime: 0s }
---
apiVersion: crd.projectcalico.org/v1
kind: BGPFilter
metadata: { name: tor }
spec:
  importV4:
    - { cidr: 0.0.0.0/0, matchOperator: Equal, action: Accept }
    - { cidr: 10.0.0.0/8, matchOperator: In, prefixLength: { min: 9, max: 24 }, action: Reject }
    - { communities: { values: ['65000:1'] }, peerType: eBGP, action: Accept,
        operations: [{ setPriority: { value: 100 } }, { addCommunity: { value: '1:2:3' } }] }
    - { peerType: iBGP, action: Reject }
  exportV4:
    - { cidr: 10.77.0.0/16, matchOperator: NotIn, action: Reject }
    - { source: RemotePeers, interface: 'eth*', asPathPrefix: [65001, 65002], priority: 512, action: Accept,
        operations: [{ prependASPath: { prefix: [65003, 65004] } }] }
  exportV6:
    - { cidr: 'fd77::/48', matchOperator: NotEqual, action: Reject }
---
apiVersion: projectcalico.org/v3
kind: BGPFilter
metadata: { name: tor-too }
spec: { importV4: [{ communities: { values: ['1:2:3'] }, action: Reject }] }
`;

const KUBE_ROUTER = `
apiVersion: v1
kind: Node
metadata:
  name: n1
  annotations:
    kube-router.io/node.asn: '65010'
    kube-router.io/node.bgp.communities: 65000:1,no-export
    kube-router.io/node.bgp.customimportreject: 10.9.0.0/16, fd09::/16
    kube-router.io/path-prepend.as: '65010'
    kube-router.io/path-prepend.repeat-n: '2'
    kube-router.io/rr.server: '42'
    kube-router.io/peers: '[{remoteip: 192.168.1.9, remoteasn: 65001}, {remoteip: "fd00::9", remoteasn: 65001, localip: "fd00::1"}]'
---
apiVersion: v1
kind: Node
metadata:
  name: n2
  annotations: { kube-router.io/node.asn: '65010', kube-router.io/rr.client: '42' }
---
apiVersion: v1
kind: Node
metadata:
  name: n3
  annotations: { kube-router.io/node.asn: '65010', kube-router.io/rr.client: '43' }
`;

const rack = [nodeOf(1, { labels: { rack: 'a' } }), nodeOf(2)];
const six = [1, 2].map((number) => nodeOf(number, { addresses: { 6: address(`fd00::${number}`) } }));

export const CASES: Readonly<Record<string, RoutingInput>> = {
  mesh: inputOf(),
  calico: read(CALICO, inputOf({ nodes: rack })),
  'kube-router': read(
    KUBE_ROUTER,
    inputOf({
      settings: {
        ...SETTINGS,
        mesh: 'same-as',
        services: { ranges: SETTINGS.services.ranges, single: ['cluster', 'external', 'load-balancer'] },
        meshBfd: { intervalMs: 300, multiplier: 3, graceful: true },
      },
      services: [{ address: address('10.96.0.1'), kind: 'cluster', local: false, ready: ['n2'] }],
    }),
  ),
  tunnels: inputOf({
    tunnels: [
      { nextHop: address('192.168.1.2') },
      { nextHop: address('192.168.1.3'), link: 'tartan0123abcde' },
      { nextHop: address('fd00::3'), link: 'tartanfedcba987' },
    ],
  }),
  'ipv6-only': inputOf({
    nodes: six,
    settings: { ...SETTINGS, restartS: 0, meshBfd: { intervalMs: 50, multiplier: 5, graceful: false } },
  }),
  romana: inputOf({
    settings: {
      ...SETTINGS,
      mesh: 'none',
      pools: [...SETTINGS.pools, { prefix: prefix('10.78.0.0/16'), exported: false, installed: false }],
      aggregates: [{ prefix: prefix('10.77.0.0/18'), nodes: EVERYTHING }],
      ospf: {
        area: address('0.0.0.0'),
        links: [
          {
            name: 'eth0',
            cost: 10,
            helloS: 5,
            deadS: 20,
            password: { kind: 'file', path: '/etc/tartan/ospf' },
          },
          { name: 'eth1', passive: true },
        ],
      },
    },
  }),
};
