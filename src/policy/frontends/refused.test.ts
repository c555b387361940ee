/** What is refused, with everything that is wrong at its place. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { parseObjects } from './index.ts';

const problems = (text: string): string[] =>
  parseObjects('f.yaml', text).problems.map(({ path, message }) => `${path}: ${message}`);

const NP = 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: a}\n';
const HEADS: Readonly<Record<string, string>> = {
  np: NP,
  cnp: 'apiVersion: policy.networking.k8s.io/v1alpha2\nkind: ClusterNetworkPolicy\nmetadata: {name: a}\n',
  anp: 'apiVersion: policy.networking.k8s.io/v1alpha1\nkind: AdminNetworkPolicy\nmetadata: {name: a}\n',
  banp: 'apiVersion: policy.networking.k8s.io/v1alpha1\nkind: BaselineAdminNetworkPolicy\nmetadata: {name: default}\n',
};

test('everything that is wrong with an object is told at its line', () => {
  const text = `${NP}spec:
  podSelector: {matchLabels: {role: 1}}
  ingress:
  - from:
    - {}
    - ipBlock: {cidr: 10.0.0.0/8, except: [11.0.0.0/9, x]}
      podSelector: {}
    ports:
    - {port: 80, endPort: 79, prot: TCP}
  egres: []
---
kind: Pod
`;
  assert.deepEqual(problems(text), [
    'f.yaml:5 spec.podSelector.matchLabels.role: must be text; numbers, true and false need quotes',
    'f.yaml:8 spec.ingress.0.from.0: must have podSelector, namespaceSelector or ipBlock',
    'f.yaml:9 spec.ingress.0.from.1.ipBlock.except.1: must be a CIDR such as 10.0.0.0/8, not "x"',
    'f.yaml:9 spec.ingress.0.from.1.ipBlock.except.0: must be a part of 10.0.0.0/8, and not all of it',
    'f.yaml:9 spec.ingress.0.from.1.ipBlock: must stand alone, without selectors',
    'f.yaml:12 spec.ingress.0.ports.0.prot: unknown field',
    'f.yaml:12 spec.ingress.0.ports.0.endPort: must be at least port, 80',
    'f.yaml:13 spec.egres: unknown field',
    'f.yaml:15 kind: must be one of NetworkPolicy, ClusterNetworkPolicy, AdminNetworkPolicy, BaselineAdminNetworkPolicy, GlobalNetworkPolicy, StagedNetworkPolicy, StagedGlobalNetworkPolicy, StagedKubernetesNetworkPolicy, Tier, Profile, NetworkSet, GlobalNetworkSet, HostEndpoint, not Pod',
  ]);
});

const SUBJECT = 'subject: {namespaces: {}}';
const CNP = `tier: Admin, priority: 1, ${SUBJECT}`;
const OUT = (rule: string): string => `${CNP}, egress: [{action: Deny, ${rule}}]`;
const TO = 'to: [{namespaces: {}}]';
const NAMES = '{domainNames: [example.org]}';
/** Kind, spec, and what is said of it. */
const REFUSED: readonly (readonly [string, string, string])[] = [
  ['np', 'podSelector: {matchLabels: {"a b": c}}', 'spec.podSelector.matchLabels.a b: must be a label key'],
  ['np', 'podSelector: {matchLabels: {a/b/c: d}}', 'spec.podSelector.matchLabels.a/b/c: must be a label key'],
  ['np', 'podSelector: {matchLabels: {a: "b c"}}', 'spec.podSelector.matchLabels.a: must be a label value'],
  [
    'np',
    'podSelector: {matchLabels: {__proto__: a}}',
    'spec.podSelector.matchLabels.__proto__: must not be a key',
  ],
  [
    'np',
    'podSelector: {matchExpressions: [{key: a, operator: In}]}',
    'spec.podSelector.matchExpressions.0.values: must not be empty with operator In',
  ],
  [
    'np',
    'podSelector: {matchExpressions: [{key: a, operator: NotIn, values: []}]}',
    'spec.podSelector.matchExpressions.0.values: must not be empty with operator NotIn',
  ],
  [
    'np',
    'podSelector: {matchExpressions: [{key: a, operator: Exists, values: [b]}]}',
    'spec.podSelector.matchExpressions.0.values: must be empty with operator Exists',
  ],
  [
    'np',
    'podSelector: {matchExpressions: [{key: a, operator: DoesNotExist, values: [b]}]}',
    'spec.podSelector.matchExpressions.0.values: must be empty with operator DoesNotExist',
  ],
  [
    'np',
    'podSelector: {matchExpressions: [{key: a, operator: Gt, values: ["1"]}]}',
    'spec.podSelector.matchExpressions.0.operator: must be In or NotIn or Exists or DoesNotExist, not "Gt"',
  ],
  ['np', 'podSelector: {}, policyTypes: [Both]', 'spec.policyTypes.0: must be Ingress or Egress, not "Both"'],
  [
    'np',
    'podSelector: {}, policyTypes: [Ingress, Egress, Egress]',
    'spec.policyTypes: must have at most 2 entries',
  ],
  ['np', 'podSelector: {}, ingress: {}', 'spec.ingress: must be a list, not a map'],
  ['np', 'podSelector: {}, ingress: [null]', 'spec.ingress.0: must be a map, not null'],
  ['np', 'podSelector: {}, ingress: [{to: []}]', 'spec.ingress.0.to: unknown field'],
  ['np', 'podSelector: {}, egress: [{from: []}]', 'spec.egress.0.from: unknown field'],
  [
    'np',
    'podSelector: {}, ingress: [{from: [{namespaceSelector: }]}]',
    'spec.ingress.0.from.0: must have podSelector',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/33}}]}]',
    'spec.ingress.0.from.0.ipBlock.cidr: must be a CIDR',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.1}}]}]',
    'spec.ingress.0.from.0.ipBlock.cidr: must be a CIDR',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{from: [{ipBlock: {except: []}}]}]',
    'spec.ingress.0.from.0.ipBlock.cidr: is missing',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: [10.0.0.0/8]}}]}]',
    'spec.ingress.0.from.0.ipBlock.except.0: must be a part of',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8, except: ["fd00::/9"]}}]}]',
    'spec.ingress.0.from.0.ipBlock.except.0: must be a part of',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{ports: [{protocol: ICMP}]}]',
    'spec.ingress.0.ports.0.protocol: must be TCP or UDP or SCTP, not "ICMP"',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{ports: [{protocol: tcp}]}]',
    'spec.ingress.0.ports.0.protocol: must be TCP or UDP or SCTP, not "tcp"',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{ports: [{port: 0}]}]',
    'spec.ingress.0.ports.0.port: must be a whole number from 1 to 65535',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{ports: [{port: 80.5}]}]',
    'spec.ingress.0.ports.0.port: must be a whole number',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{ports: [{port: "80"}]}]',
    'spec.ingress.0.ports.0.port: must be a port name',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{ports: [{port: a--b}]}]',
    'spec.ingress.0.ports.0.port: must be a port name',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{ports: [{endPort: 80}]}]',
    'spec.ingress.0.ports.0.endPort: must not be there without port as a number',
  ],
  [
    'np',
    'podSelector: {}, ingress: [{ports: [{port: web, endPort: 80}]}]',
    'spec.ingress.0.ports.0.endPort: must not be there without port as a number',
  ],
  ['cnp', `tier: Default, priority: 1, ${SUBJECT}`, 'spec.tier: must be Admin or Baseline, not "Default"'],
  ['cnp', `tier: Admin, ${SUBJECT}`, 'spec.priority: is missing'],
  ['cnp', `tier: Admin, priority: 1001, ${SUBJECT}`, 'spec.priority: must be a whole number from 0 to 1000'],
  ['cnp', 'tier: Admin, priority: 1', 'spec.subject: is missing'],
  ['cnp', 'tier: Admin, priority: 1, subject: {}', 'spec.subject: must have exactly one of namespaces, pods'],
  [
    'cnp',
    'tier: Admin, priority: 1, subject: {namespaces: {}, pods: {namespaceSelector: {}, podSelector: {}}}',
    'spec.subject: must have exactly one of',
  ],
  [
    'cnp',
    'tier: Admin, priority: 1, subject: {pods: {namespaceSelector: {}}}',
    'spec.subject.pods.podSelector: is missing',
  ],
  [
    'anp',
    'priority: 1, subject: {pods: {podSelector: {}}}',
    'spec.subject.pods.namespaceSelector: is missing',
  ],
  ['cnp', OUT(''), 'spec.egress.0.to: is missing'],
  ['cnp', OUT('to: []'), 'spec.egress.0.to: must have 1 to 25 entries'],
  [
    'cnp',
    OUT('to: [{}]'),
    'spec.egress.0.to.0: must have exactly one of namespaces, pods, nodes, networks, domainNames',
  ],
  ['cnp', OUT('to: [{networks: []}]'), 'spec.egress.0.to.0.networks: must have 1 to 25 entries'],
  ['cnp', OUT('to: [{networks: [10.0.0.0]}]'), 'spec.egress.0.to.0.networks.0: must be a CIDR'],
  ['cnp', OUT(`to: [${NAMES}]`), 'spec.egress.0.to.0.domainNames: must only be there in rules that allow'],
  [
    'cnp',
    `${CNP}, egress: [{action: Accept, to: [{domainNames: ["a.*.org"]}]}]`,
    'spec.egress.0.to.0.domainNames.0: must be a DNS name',
  ],
  [
    'cnp',
    `${CNP}, ingress: [{action: Deny, from: [{networks: [10.0.0.0/8]}]}]`,
    'spec.ingress.0.from.0.networks: unknown field',
  ],
  [
    'cnp',
    `${CNP}, ingress: [{action: Allow, from: [{namespaces: {}}]}]`,
    'spec.ingress.0.action: must be Accept or Deny or Pass, not "Allow"',
  ],
  ['cnp', OUT(`${TO}, ports: []`), 'spec.egress.0.ports: unknown field'],
  ['cnp', OUT(`${TO}, protocols: []`), 'spec.egress.0.protocols: must have 1 to 25 entries'],
  [
    'cnp',
    OUT(`${TO}, protocols: [{}]`),
    'spec.egress.0.protocols.0: must have exactly one of tcp, udp, sctp, destinationNamedPort',
  ],
  ['cnp', OUT(`${TO}, protocols: [{tcp: {}}]`), 'spec.egress.0.protocols.0.tcp.destinationPort: is missing'],
  [
    'cnp',
    OUT(`${TO}, protocols: [{udp: {destinationPort: {number: 1, range: {start: 1, end: 2}}}}]`),
    'spec.egress.0.protocols.0.udp.destinationPort: must have exactly one of number, range',
  ],
  [
    'cnp',
    OUT(`${TO}, protocols: [{sctp: {destinationPort: {range: {start: 2, end: 2}}}}]`),
    'spec.egress.0.protocols.0.sctp.destinationPort.range.end: must be greater than start, 2',
  ],
  [
    'cnp',
    OUT('to: [{nodes: {}}], protocols: [{destinationNamedPort: web}]'),
    'spec.egress.0.protocols.0.destinationNamedPort: must not be there with peers that have no named ports',
  ],
  ['cnp', OUT(`name: ${'x'.repeat(101)}, ${TO}`), 'spec.egress.0.name: must have at most 100 characters'],
  ['anp', SUBJECT, 'spec.priority: is missing'],
  ['anp', `tier: Admin, priority: 1, ${SUBJECT}`, 'spec.tier: unknown field'],
  [
    'anp',
    `priority: 1, ${SUBJECT}, egress: [{action: Pass, to: [${NAMES}]}]`,
    'spec.egress.0.to.0.domainNames: must only be there in rules that allow',
  ],
  [
    'anp',
    `priority: 1, ${SUBJECT}, egress: [{action: Deny, to: [{nodes: {}}], ports: [{namedPort: web}]}]`,
    'spec.egress.0.ports.0.namedPort: must not be there with peers',
  ],
  [
    'anp',
    `priority: 1, ${SUBJECT}, ingress: [{action: Deny, from: [{namespaces: {sameLabels: [a]}}]}]`,
    'spec.ingress.0.from.0.namespaces.sameLabels: unknown field',
  ],
  [
    'anp',
    `priority: 1, ${SUBJECT}, ingress: [{action: Deny, from: [{namespaces: {}}], ports: [{portRange: {start: 9, end: 8}}]}]`,
    'spec.ingress.0.ports.0.portRange.end: must be greater than start, 9',
  ],
  ['banp', `priority: 1, ${SUBJECT}`, 'spec.priority: unknown field'],
  [
    'banp',
    `${SUBJECT}, ingress: [{action: Pass, from: [{namespaces: {}}]}]`,
    'spec.ingress.0.action: must be Allow or Deny, not "Pass"',
  ],
  [
    'banp',
    `${SUBJECT}, egress: [{action: Allow, to: [${NAMES}]}]`,
    'spec.egress.0.to.0.domainNames: unknown field',
  ],
];

for (const [kind, spec, expected] of REFUSED) {
  test(`refused: ${kind} {${spec.slice(0, 160)}}`, () => {
    const text = `${HEADS[kind]}spec: {${spec}}\n`;
    assert.deepEqual(parseObjects('f.yaml', text).policies, []);
    const found = problems(text);
    assert.ok(
      found.some((each) => each.startsWith(`f.yaml:4 ${expected}`)),
      found.join('\n'),
    );
  });
}

test('refused: what is wrong with metadata and heads', () => {
  const of = (text: string): string[] => problems(`${text}\nspec: {podSelector: {}}\n`);
  const head = 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: ';
  assert.deepEqual(of(`${head}{}`), ['f.yaml:3 metadata.name: is missing']);
  assert.deepEqual(of(`${head}{name: A_b}`), ['f.yaml:3 metadata.name: must be a DNS name in lower case']);
  assert.deepEqual(of(`${head}{name: a, namespace: b.c}`), [
    'f.yaml:3 metadata.namespace: must be a DNS label in lower case',
  ]);
  assert.deepEqual(of(`${head}{name: a, annotation: {}}`), ['f.yaml:3 metadata.annotation: unknown field']);
  assert.deepEqual(of(`${head}{name: a, labels: {a: 1}}`), [
    'f.yaml:3 metadata.labels.a: must be text; numbers, true and false need quotes',
  ]);
  assert.deepEqual(of('kind: NetworkPolicy\napiVersion: v1'), [
    'f.yaml:2 apiVersion: must be networking.k8s.io/v1 or projectcalico.org/v3 or crd.projectcalico.org/v1 for this kind',
  ]);
  assert.match(
    of(HEADS['cnp']?.replace('name: a', 'name: a, namespace: b') ?? '').join('\n'),
    /3 metadata.namespace: must not be there/,
  );
  assert.match(
    of(HEADS['banp']?.replace('name: default', 'name: b') ?? '').join('\n'),
    /3 metadata.name: must be default/,
  );
  assert.deepEqual(problems('[]'), ['f.yaml:1: must be an object with apiVersion and kind']);
  assert.deepEqual(problems('\n---\n---\n# nothing\n'), []);
});

test('what the cluster writes is accepted and not read', () => {
  const text = `${NP.replace('name: a', 'name: a, uid: x, generation: 3, managedFields: [{a: 1}], annotations: {a: b}')}spec: {podSelector: {}}\nstatus: {conditions: []}\n`;
  assert.deepEqual(problems(text), []);
});

test('an object that is wrong takes no other with it, and has no policy itself', () => {
  const good = `${NP}spec: {podSelector: {}}\n`;
  const { policies, problems } = parseObjects(
    'f',
    [good, `${NP}spec: {podSelector: {}, x: 1}\n`, good].join('---\n'),
  );
  assert.deepEqual([policies.length, problems.length], [2, 1]);
});

test('rules that policyTypes switches off are warned of', () => {
  assert.deepEqual(parseObjects('f', `${NP}spec: {ingress: [{}], egress: [{}]}\n`).warnings, []);
  const { policies, warnings } = parseObjects(
    'f',
    `${NP}spec: {podSelector: {}, policyTypes: [Ingress], egress: [{}]}\n`,
  );
  assert.deepEqual(warnings, [
    { path: 'f:4 spec.egress', message: 'has no effect: policyTypes does not name this direction' },
  ]);
  assert.deepEqual(policies[0]?.egress, []);
});
