/** What is refused of Calico's kinds, with everything that is wrong at its place. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { calicoObject } from '../testing/calico.ts';
import { parseObjects } from './index.ts';

const problems = (text: string): string[] =>
  parseObjects('f.yaml', text).problems.map(({ path, message }) => `${path}: ${message}`);

const RULE = (rule: string): string => `ingress: [{action: Allow, ${rule}}]`;
const OUT = (rule: string): string => `egress: [{action: Allow, ${rule}}]`;
const LONG = 'x'.repeat(1_025);

/** Kind, spec, and what is said of it. */
const REFUSED: readonly (readonly [string, string, string])[] = [
  ['NetworkPolicy', 'tier: A.b', 'spec.tier: must be a DNS label in lower case'],
  ['NetworkPolicy', 'order: first', 'spec.order: must be a number'],
  ['NetworkPolicy', 'order: .inf', 'spec.order: must be a number'],
  ['NetworkPolicy', 'selector: a = b', 'spec.selector: column 3: after the label a there must be =='],
  ['NetworkPolicy', 'selector: {a: b}', 'spec.selector: must be a selector as text'],
  ['NetworkPolicy', `selector: "${LONG}"`, 'spec.selector: column 1025: must have at most 1024 characters'],
  ['NetworkPolicy', 'selector: global()', 'spec.selector: column 7: global() must stand alone'],
  ['NetworkPolicy', 'serviceAccountSelector: (', 'spec.serviceAccountSelector: column 2: must be a label'],
  ['NetworkPolicy', 'namespaceSelector: all()', 'spec.namespaceSelector: unknown field'],
  ['NetworkPolicy', 'applyOnForward: true', 'spec.applyOnForward: unknown field'],
  ['NetworkPolicy', 'stagedAction: Set', 'spec.stagedAction: unknown field'],
  ['NetworkPolicy', 'types: [ingress]', 'spec.types.0: must be Ingress or Egress, not "ingress"'],
  ['NetworkPolicy', 'types: [Egress, Egress]', 'spec.types: must not have the same entry twice'],
  ['NetworkPolicy', 'performanceHints: [Fast]', 'spec.performanceHints.0: must be AssumeNeededOnEveryNode'],
  ['NetworkPolicy', 'ingress: [{}]', 'spec.ingress.0.action: is missing'],
  [
    'NetworkPolicy',
    'ingress: [{action: allow}]',
    'spec.ingress.0.action: must be Allow or Deny or Log or Pass, not "allow"',
  ],
  [
    'NetworkPolicy',
    RULE('protocol: tcp'),
    'spec.ingress.0.protocol: must be TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255, not "tcp"',
  ],
  ['NetworkPolicy', RULE('protocol: 0'), 'spec.ingress.0.protocol: must be TCP'],
  ['NetworkPolicy', RULE('notProtocol: 256'), 'spec.ingress.0.notProtocol: must be TCP'],
  ['NetworkPolicy', RULE('ipVersion: 5'), 'spec.ingress.0.ipVersion: must be 4 or 6'],
  [
    'NetworkPolicy',
    RULE('ipVersion: 6, protocol: ICMP'),
    'spec.ingress.0.protocol: is of IPv4 only, and ipVersion is 6',
  ],
  [
    'NetworkPolicy',
    RULE('ipVersion: 4, notProtocol: 58'),
    'spec.ingress.0.notProtocol: is of IPv6 only, and ipVersion is 4',
  ],
  ['NetworkPolicy', RULE('icmp: {type: 8}'), 'spec.ingress.0.icmp: must come with protocol ICMP or ICMPv6'],
  [
    'NetworkPolicy',
    RULE('protocol: TCP, notICMP: {type: 8}'),
    'spec.ingress.0.notICMP: must come with protocol ICMP or ICMPv6',
  ],
  ['NetworkPolicy', RULE('protocol: ICMP, notICMP: {}'), 'spec.ingress.0.notICMP.type: is missing'],
  [
    'NetworkPolicy',
    RULE('protocol: ICMP, icmp: {code: 1}'),
    'spec.ingress.0.icmp.code: must not be there without type',
  ],
  [
    'NetworkPolicy',
    RULE('protocol: ICMP, icmp: {type: 255}'),
    'spec.ingress.0.icmp.type: must be a whole number from 0 to 254',
  ],
  [
    'NetworkPolicy',
    RULE('http: {methods: [GET], paths: [{exact: /}]}'),
    'spec.ingress.0.http: is not enforced yet',
  ],
  ['NetworkPolicy', RULE('source: {nets: [10.0.0.0/33]}'), 'spec.ingress.0.source.nets.0: must be a CIDR'],
  [
    'NetworkPolicy',
    RULE('source: {nets: [10.0.0.0/8], notNets: ["::1"]}'),
    'spec.ingress.0.source.notNets.0: is IPv6, but the rule is of IPv4 by source.nets.0',
  ],
  [
    'NetworkPolicy',
    RULE('ipVersion: 6, destination: {nets: [10.0.0.0/8]}'),
    'spec.ingress.0.destination.nets.0: is IPv4, but the rule is of IPv6 by ipVersion',
  ],
  [
    'NetworkPolicy',
    RULE('source: {notNets: [0.0.0.0/0]}'),
    'spec.ingress.0.source.notNets.0: excludes every address',
  ],
  [
    'NetworkPolicy',
    RULE('source: {notNets: ["::/0"]}'),
    'spec.ingress.0.source.notNets.0: excludes every address',
  ],
  [
    'NetworkPolicy',
    RULE('source: {selector: "a =="}'),
    'spec.ingress.0.source.selector: column 5: must be a text in quotes, not the end',
  ],
  [
    'NetworkPolicy',
    RULE('source: {notSelector: "!"}'),
    'spec.ingress.0.source.notSelector: column 2: must be a label',
  ],
  [
    'NetworkPolicy',
    RULE('source: {namespaceSelector: "global() || has(a)"}'),
    'spec.ingress.0.source.namespaceSelector: column 7: global() must stand alone',
  ],
  [
    'NetworkPolicy',
    RULE('source: {serviceAccounts: {selector: "!"}}'),
    'spec.ingress.0.source.serviceAccounts.selector: column 2',
  ],
  [
    'NetworkPolicy',
    RULE('source: {serviceAccounts: {names: ["a\'b"]}}'),
    'spec.ingress.0.source.serviceAccounts.names.0: must be a name in lower case',
  ],
  [
    'NetworkPolicy',
    RULE('source: {ports: [80]}'),
    'spec.ingress.0.source.ports: must come with a protocol that has ports',
  ],
  [
    'NetworkPolicy',
    RULE('destination: {notPorts: [80]}'),
    'spec.ingress.0.destination.notPorts: must come with a protocol that has ports',
  ],
  [
    'NetworkPolicy',
    RULE('protocol: UDPLite, destination: {ports: [a]}'),
    'spec.ingress.0.destination.ports: must not be there: of the protocols, only TCP, UDP and SCTP',
  ],
  [
    'NetworkPolicy',
    RULE('protocol: TCP, destination: {ports: ["9:8"]}'),
    'spec.ingress.0.destination.ports.0: must not end before it begins',
  ],
  [
    'NetworkPolicy',
    RULE('protocol: TCP, destination: {ports: [70000]}'),
    'spec.ingress.0.destination.ports.0: must be a number from 1 to 65535',
  ],
  [
    'NetworkPolicy',
    RULE('protocol: TCP, destination: {ports: [-1, 1.5]}'),
    'spec.ingress.0.destination.ports.1: must be a number from 1 to 65535',
  ],
  [
    'NetworkPolicy',
    RULE('protocol: TCP, destination: {ports: ["a:b"]}'),
    'spec.ingress.0.destination.ports.0: must be a number from 1 to 65535',
  ],
  [
    'NetworkPolicy',
    RULE('destination: {services: {name: a}}'),
    'spec.ingress.0.destination.services: must be in source in this direction',
  ],
  [
    'NetworkPolicy',
    OUT('source: {services: {name: a}}'),
    'spec.egress.0.source.services: must be in destination in this direction',
  ],
  [
    'NetworkPolicy',
    OUT('destination: {services: {}}'),
    'spec.egress.0.destination.services.name: is missing',
  ],
  [
    'NetworkPolicy',
    OUT('protocol: TCP, destination: {services: {name: a}, ports: [80]}'),
    'spec.egress.0.destination.ports: must not be there: the ports are those of the service',
  ],
  [
    'NetworkPolicy',
    OUT('destination: {services: {name: a}, selector: all()}'),
    'spec.egress.0.destination.selector: must not be there beside services',
  ],
  [
    'NetworkPolicy',
    OUT('destination: {services: {name: a}, nets: [10.0.0.0/8]}'),
    'spec.egress.0.destination.nets: must not be there beside services',
  ],
  [
    'NetworkPolicy',
    OUT('destination: {domains: ["www.*.org"]}'),
    'spec.egress.0.destination.domains.0: must be a DNS name',
  ],
  [
    'NetworkPolicy',
    RULE('source: {domains: [example.org]}'),
    'spec.ingress.0.source.domains: must only be in the destination of egress rules that allow',
  ],
  [
    'NetworkPolicy',
    OUT('destination: {domains: [example.org], nets: [10.0.0.0/8]}'),
    'spec.egress.0.destination.nets: must not be there beside domains',
  ],
  [
    'GlobalNetworkPolicy',
    'namespaceSelector: global()',
    'spec.namespaceSelector: column 7: global() must stand alone',
  ],
  ['GlobalNetworkPolicy', 'doNotTrack: true', 'spec.doNotTrack: must come with applyOnForward: true'],
  ['GlobalNetworkPolicy', 'preDNAT: true', 'spec.preDNAT: must come with applyOnForward: true'],
  [
    'GlobalNetworkPolicy',
    'doNotTrack: true, preDNAT: true, applyOnForward: true',
    'spec.preDNAT: must not be true beside doNotTrack',
  ],
  [
    'GlobalNetworkPolicy',
    'preDNAT: true, applyOnForward: true, egress: [{action: Deny}]',
    'spec.egress: must not be there with preDNAT',
  ],
  [
    'GlobalNetworkPolicy',
    'preDNAT: true, applyOnForward: true, types: [Egress]',
    'spec.types: must not have Egress with preDNAT',
  ],
  ['GlobalNetworkPolicy', 'preDNAT: "true"', 'spec.preDNAT: must be true or false, not "true"'],
  [
    'GlobalNetworkPolicy',
    OUT('destination: {services: {name: a}}'),
    'spec.egress.0.destination.services.namespace: is missing, and the object has none itself',
  ],
  [
    'StagedNetworkPolicy',
    'stagedAction: Remove',
    'spec.stagedAction: must be Set or Delete or Learn or Ignore, not "Remove"',
  ],
  [
    'StagedNetworkPolicy',
    'stagedAction: Delete, tier: t, selector: all()',
    'spec.selector: must not be there when stagedAction is Delete',
  ],
  [
    'StagedGlobalNetworkPolicy',
    'stagedAction: Delete, order: 5',
    'spec.order: must not be there when stagedAction is Delete',
  ],
  ['StagedGlobalNetworkPolicy', 'doNotTrack: true', 'spec.doNotTrack: must come with applyOnForward: true'],
  [
    'StagedKubernetesNetworkPolicy',
    'stagedAction: Delete, podSelector: {}',
    'spec.podSelector: must not be there when stagedAction is Delete',
  ],
  ['StagedKubernetesNetworkPolicy', 'selector: all()', 'spec.selector: unknown field'],
  ['Tier', 'order: x', 'spec.order: must be a number'],
  ['Tier', 'defaultAction: Allow', 'spec.defaultAction: must be Deny or Pass, not "Allow"'],
  ['Profile', 'ingress: [{action: Pass}]', 'spec.ingress.0.action: must not be Pass in a profile'],
  ['Profile', 'labelsToApply: {a: 1}', 'spec.labelsToApply.a: must be text'],
  [
    'Profile',
    'egress: [{action: Deny, destination: {domains: [example.org]}}]',
    'spec.egress.0.destination.domains: must only be in the destination of egress rules that allow',
  ],
  ['NetworkSet', 'nets: [a]', 'spec.nets.0: must be a CIDR'],
  [
    'GlobalNetworkSet',
    'allowedEgressDomains: [example.org]',
    'spec.allowedEgressDomains: is not enforced: name domains in the rule',
  ],
  [
    'NetworkSet',
    'allowedEgressDomains: [example.org]',
    'spec.allowedEgressDomains: is not enforced: name domains in the rule',
  ],
  ['HostEndpoint', 'interfaceName: eth0', 'spec.node: is missing'],
  ['HostEndpoint', 'node: a', 'spec: must have interfaceName or expectedIPs'],
  [
    'HostEndpoint',
    'node: a, interfaceName: "eth 0"',
    'spec.interfaceName: must be the name of an interface, or *',
  ],
  [
    'HostEndpoint',
    'node: a, expectedIPs: [10.0.0.0/8]',
    'spec.expectedIPs.0: must be an IP address, not "10.0.0.0/8"',
  ],
  [
    'HostEndpoint',
    'node: a, interfaceName: e, ports: [{name: a, protocol: ICMP, port: 1}]',
    'spec.ports.0.protocol: must be TCP, UDP or SCTP',
  ],
  [
    'HostEndpoint',
    'node: a, interfaceName: e, ports: [{name: a, protocol: TCP, port: 0}]',
    'spec.ports.0.port: must be a whole number from 1',
  ],
];

for (const [kind, spec, expected] of REFUSED) {
  test(`refused: ${kind} {${spec.slice(0, 100)}}`, () => {
    const text = calicoObject(kind, 'a', spec);
    const { policies, tiers, profiles, endpoints } = parseObjects('f.yaml', text);
    assert.deepEqual([policies, tiers, profiles, endpoints], [[], [], [], []]);
    const found = problems(text);
    assert.ok(
      found.some((each) => each.startsWith(`f.yaml:4 ${expected}`)),
      found.join('\n'),
    );
  });
}

test('everything that is wrong with an object is told at its line', () => {
  const text = `apiVersion: crd.projectcalico.org/v1
kind: GlobalNetworkPolicy
metadata: {name: a}
spec:
  selector: app = 'web'
  doNotTrack: true
  ingress:
  - action: Allow
    http: {methods: [GET]}
    source:
      nets: [10.0.0.0/8, "::/0"]
      ports: [80]
  - action: Permit
    protocol: 300
  egres: []
`;
  assert.deepEqual(problems(text).toSorted(), [
    'f.yaml:11 spec.ingress.0.source.nets.1: is IPv6, but the rule is of IPv4 by source.nets.0',
    'f.yaml:12 spec.ingress.0.source.ports: must come with a protocol that has ports: TCP, UDP or SCTP',
    'f.yaml:13 spec.ingress.1.action: must be Allow or Deny or Log or Pass, not "Permit"',
    'f.yaml:14 spec.ingress.1.protocol: must be TCP, UDP, ICMP, ICMPv6, SCTP, UDPLite or a number from 1 to 255, not 300',
    'f.yaml:15 spec.egres: unknown field',
    'f.yaml:5 spec.selector: column 5: after the label app there must be ==, !=, in, not in, contains, starts with or ends with',
    'f.yaml:6 spec.doNotTrack: must come with applyOnForward: true',
    'f.yaml:9 spec.ingress.0.http: is not enforced yet: nobody looks into HTTP; remove it, or allow by port',
  ]);
});
