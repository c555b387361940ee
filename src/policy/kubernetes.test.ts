/**
 * The Kubernetes documentation of network policies (kubernetes.io/docs/concepts/services-networking/network-policies),
 * a test for each of its paragraphs that says what happens, under the words of the paragraph.
 */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { address, FAMILIES } from '#net/address.ts';
import { createBook } from './book.ts';
import { evaluate } from './evaluate.ts';
import { parseObjects } from './frontends/index.ts';
import { makeFlow, makeWorld, type WorldSketch } from './testing/world.ts';

/** The documentation's example, and the others it shows. */
const EXAMPLE = `
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: test-network-policy, namespace: default}
spec:
  podSelector: {matchLabels: {role: db}}
  policyTypes: [Ingress, Egress]
  ingress:
  - from:
    - ipBlock: {cidr: 172.17.0.0/16, except: [172.17.1.0/24]}
    - namespaceSelector: {matchLabels: {project: myproject}}
    - podSelector: {matchLabels: {role: frontend}}
    ports: [{protocol: TCP, port: 6379}]
  egress:
  - to: [{ipBlock: {cidr: 10.0.0.0/24}}]
    ports: [{protocol: TCP, port: 5978}]
`;
const policy = (name: string, spec: string, namespace = 'default'): string =>
  `apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy\nmetadata: {name: ${name}, namespace: ${namespace}}\nspec: ${spec}\n`;
const DENY_INGRESS = policy('default-deny-ingress', '{podSelector: {}, policyTypes: [Ingress]}');
const ALLOW_INGRESS = policy('allow-all-ingress', '{podSelector: {}, ingress: [{}], policyTypes: [Ingress]}');
const DENY_EGRESS = policy('default-deny-egress', '{podSelector: {}, policyTypes: [Egress]}');
const ALLOW_EGRESS = policy('allow-all-egress', '{podSelector: {}, egress: [{}], policyTypes: [Egress]}');
const DENY_ALL = policy('default-deny-all', '{podSelector: {}, policyTypes: [Ingress, Egress]}');
const PORT_RANGE = policy(
  'multi-port-egress',
  `{podSelector: {matchLabels: {role: db}}, policyTypes: [Egress], egress: [
    {to: [{ipBlock: {cidr: 10.0.0.0/24}}], ports: [{protocol: TCP, port: 32000, endPort: 32768}]}]}`,
);
const NAMESPACES = policy(
  'egress-namespaces',
  `{podSelector: {matchLabels: {app: myapp}}, policyTypes: [Egress], egress: [
    {to: [{namespaceSelector: {matchExpressions: [{key: namespace, operator: In, values: [frontend, backend]}]}}]}]}`,
);

const SKETCH: WorldSketch = {
  namespaces: {
    default: {},
    mine: { project: 'myproject' },
    alice: { user: 'alice' },
    front: { namespace: 'frontend' },
    back: { namespace: 'backend' },
  },
  pods: [
    { name: 'default/db', labels: { role: 'db' }, node: 'a' },
    { name: 'default/frontend', labels: { role: 'frontend' }, node: 'b' },
    { name: 'default/app', labels: { app: 'myapp', role: 'client' }, node: 'b' },
    { name: 'default/other', node: 'a' },
    { name: 'mine/any', node: 'b' },
    { name: 'alice/client', labels: { role: 'client' }, node: 'a' },
    { name: 'alice/other', node: 'b' },
    { name: 'front/web', node: 'a' },
    { name: 'back/web', node: 'b' },
    { name: 'default/host', labels: { role: 'frontend', app: 'myapp' }, node: 'b', hostNetwork: true },
  ],
};
const WORLD = makeWorld(SKETCH);

/** Verdicts under these policies. */
function under(...texts: readonly string[]) {
  const { policies, problems } = parseObjects('test', texts.join('---\n'));
  assert.deepEqual(problems, []);
  const book = createBook({ policies });
  const ask = (from: string, to: string, kind: string) =>
    evaluate(book, WORLD, makeFlow(WORLD, [from, to], kind));
  return {
    allows: (from: string, to: string, kind = 'tcp/80') =>
      assert.equal(ask(from, to, kind).action, 'allow', `${from} → ${to} ${kind}`),
    denies: (from: string, to: string, kind = 'tcp/80') =>
      assert.equal(ask(from, to, kind).action, 'deny', `${from} → ${to} ${kind}`),
    book,
  };
}

describe('network policies', () => {
  test('apply to a connection with a pod on one or both ends, and are not relevant to other connections', () => {
    const { allows, denies, book } = under(DENY_ALL);
    allows('node a', 'node b');
    allows('node a', '203.0.113.1');
    assert.deepEqual(evaluate(book, WORLD, makeFlow(WORLD, ['node a', 'node b'], 'tcp/80')).checks, []);
    denies('203.0.113.1', 'default/db');
    denies('default/db', '203.0.113.1');
  });

  test('exception: a pod cannot block access to itself', () => {
    const { allows, book } = under(DENY_ALL);
    for (const family of FAMILIES) {
      const flow = makeFlow(WORLD, ['default/db', 'default/db'], 'tcp/80', family);
      const { action, checks } = evaluate(book, WORLD, flow);
      assert.deepEqual([action, checks.map(({ exempt }) => exempt)], ['allow', ['self', 'self']]);
    }
    allows('default/db', 'default/db', 'icmp');
  });

  test('a pod that reaches itself through a service is a peer like any other', () => {
    const { book } = under(DENY_INGRESS);
    const flow = makeFlow(WORLD, ['default/db', 'default/db'], 'tcp/80');
    const through = { ...flow, before: { destination: address('10.96.0.1'), destinationPort: 80 } };
    assert.equal(evaluate(book, WORLD, through).action, 'deny');
  });

  test('exception: traffic to and from the node where a pod is running is always allowed', () => {
    const { allows, denies } = under(DENY_ALL);
    allows('node a', 'default/db');
    allows('default/db', 'node a');
    denies('node b', 'default/db');
    denies('default/db', 'node b');
  });
});

describe('the two sorts of pod isolation', () => {
  test('by default, a pod is non-isolated for egress; all outbound connections are allowed', () => {
    const { allows } = under();
    allows('default/db', '203.0.113.1');
    allows('default/db', 'mine/any', 'sctp/9');
    under(DENY_INGRESS).allows('default/db', '203.0.113.1');
  });

  test('isolated for egress: the only allowed connections from the pod are those allowed by the egress lists', () => {
    const { allows, denies } = under(EXAMPLE);
    allows('default/db', '10.0.0.7', 'tcp/5978');
    denies('default/db', '10.0.0.7', 'tcp/5979');
    denies('default/db', '10.0.1.7', 'tcp/5978');
    allows('default/other', '10.0.1.7', 'tcp/5978');
  });

  test('by default, a pod is non-isolated for ingress; all inbound connections are allowed', () => {
    under().allows('203.0.113.1', 'default/db');
    under(DENY_EGRESS).allows('203.0.113.1', 'default/db');
  });

  test('isolated for ingress: only from the pod’s node and those allowed by the ingress lists', () => {
    const { allows, denies } = under(EXAMPLE);
    allows('node a', 'default/db', 'tcp/1');
    allows('default/frontend', 'default/db', 'tcp/6379');
    denies('default/other', 'default/db', 'tcp/6379');
  });

  test('policies do not conflict; they are additive: the union is allowed, in whatever order', () => {
    const web = policy('web', '{podSelector: {}, ingress: [{ports: [{port: 80}]}]}');
    const dns = policy(
      'dns',
      '{podSelector: {matchLabels: {role: db}}, ingress: [{ports: [{protocol: UDP, port: 53}]}]}',
    );
    for (const texts of [
      [web, dns, DENY_ALL],
      [DENY_ALL, dns, web],
    ]) {
      const { allows, denies } = under(...texts);
      allows('203.0.113.1', 'default/db', 'tcp/80');
      allows('203.0.113.1', 'default/db', 'udp/53');
      denies('203.0.113.1', 'default/other', 'udp/53');
      denies('203.0.113.1', 'default/db', 'tcp/81');
    }
  });

  test('both the egress policy on the source pod and the ingress policy on the destination pod need to allow', () => {
    const { allows, denies } = under(
      policy(
        'out',
        '{podSelector: {matchLabels: {role: client}}, policyTypes: [Egress], egress: [{ports: [{port: 80}]}]}',
      ),
      policy('in', '{podSelector: {matchLabels: {role: db}}, ingress: [{ports: [{port: 80}, {port: 81}]}]}'),
    );
    allows('default/app', 'default/db', 'tcp/80');
    denies('default/app', 'default/db', 'tcp/81');
    allows('default/other', 'default/db', 'tcp/81');
    denies('default/other', 'default/db', 'tcp/82');
    allows('default/app', 'default/other', 'tcp/80');
  });
});

describe('the NetworkPolicy resource', () => {
  test('podSelector: an empty one selects all pods in the namespace', () => {
    for (const spec of ['{podSelector: {}}', '{podSelector: }', '{}']) {
      const { allows, denies } = under(policy('p', spec));
      denies('mine/any', 'default/db');
      denies('mine/any', 'default/other');
      allows('default/db', 'mine/any');
    }
  });

  test('policyTypes: by default Ingress always, and Egress if there are any egress rules', () => {
    under(policy('p', '{podSelector: {}}')).allows('default/db', 'mine/any');
    under(policy('p', '{podSelector: {}, egress: []}')).allows('default/db', 'mine/any');
    under(policy('p', '{podSelector: {}, policyTypes: []}')).denies('mine/any', 'default/db');
    const both = under(policy('p', '{podSelector: {}, egress: [{ports: [{port: 80}]}]}'));
    both.denies('mine/any', 'default/db');
    both.allows('default/db', 'mine/any', 'tcp/80');
    both.denies('default/db', 'mine/any', 'tcp/81');
    under(policy('p', '{podSelector: {}, policyTypes: [Egress], ingress: [{}]}')).allows(
      'mine/any',
      'default/db',
    );
    under(policy('p', '{podSelector: {}, policyTypes: [Ingress], egress: [{ports: [{port: 1}]}]}')).allows(
      'default/db',
      'mine/any',
    );
  });

  test('ingress: each rule allows traffic which matches both the from and ports sections', () => {
    const { allows, denies } = under(EXAMPLE);
    allows('default/frontend', 'default/db', 'tcp/6379');
    denies('default/frontend', 'default/db', 'tcp/80');
    denies('default/frontend', 'default/db', 'udp/6379');
    denies('default/other', 'default/db', 'tcp/6379');
  });

  test('egress: each rule allows traffic which matches both the to and ports sections', () => {
    const { allows, denies } = under(EXAMPLE);
    allows('default/db', '10.0.0.255', 'tcp/5978');
    denies('default/db', '10.0.0.255', 'tcp/6379');
    denies('default/db', '10.0.1.0', 'tcp/5978');
  });

  test('the example: 1. isolates role=db pods in the default namespace for both ingress and egress traffic', () => {
    const { allows, denies } = under(EXAMPLE);
    denies('default/other', 'default/db', 'tcp/80');
    denies('default/db', 'default/other', 'tcp/80');
    allows('default/other', 'default/frontend', 'tcp/80');
    allows('mine/any', 'alice/other', 'tcp/80');
  });

  test('the example: 2. allows role=frontend, project=myproject and 172.17.0.0/16 but 172.17.1.0/24 on TCP 6379', () => {
    const { allows, denies } = under(EXAMPLE);
    allows('default/frontend', 'default/db', 'tcp/6379');
    allows('mine/any', 'default/db', 'tcp/6379');
    for (const from of ['172.17.0.0', '172.17.0.255', '172.17.2.0', '172.17.255.255']) {
      allows(from, 'default/db', 'tcp/6379');
      denies(from, 'default/db', 'tcp/6378');
    }
    for (const from of ['172.17.1.0', '172.17.1.255', '172.16.255.255', '172.18.0.0']) {
      denies(from, 'default/db', 'tcp/6379');
    }
    denies('alice/client', 'default/db', 'tcp/6379');
  });

  test('the example: 3. allows role=db to 10.0.0.0/24 on TCP port 5978', () => {
    const { allows, denies } = under(EXAMPLE);
    allows('default/db', '10.0.0.0', 'tcp/5978');
    denies('default/db', '10.0.0.0', 'sctp/5978');
  });
});

describe('behavior of to and from selectors', () => {
  const from = (peer: string): ReturnType<typeof under> =>
    under(policy('p', `{podSelector: {matchLabels: {role: db}}, ingress: [{from: ${peer}}]}`));

  test('podSelector: selects particular pods in the same namespace as the policy', () => {
    const { allows, denies } = from('[{podSelector: {matchLabels: {role: client}}}]');
    allows('default/app', 'default/db');
    denies('alice/client', 'default/db');
    denies('default/other', 'default/db');
  });

  test('namespaceSelector: selects particular namespaces for which all pods are allowed', () => {
    const { allows, denies } = from('[{namespaceSelector: {matchLabels: {user: alice}}}]');
    allows('alice/client', 'default/db');
    allows('alice/other', 'default/db');
    denies('default/app', 'default/db');
    const all = from('[{namespaceSelector: {}}]');
    all.allows('front/web', 'default/db');
    all.denies('203.0.113.1', 'default/db');
  });

  test('namespaceSelector and podSelector: a single entry selects particular pods within particular namespaces', () => {
    const { allows, denies } = from(
      '[{namespaceSelector: {matchLabels: {user: alice}}, podSelector: {matchLabels: {role: client}}}]',
    );
    allows('alice/client', 'default/db');
    denies('alice/other', 'default/db');
    denies('default/app', 'default/db');
  });

  test('two elements in the from array: pods of the local namespace, or any pod of the other namespaces', () => {
    const { allows, denies } = from(
      '[{namespaceSelector: {matchLabels: {user: alice}}}, {podSelector: {matchLabels: {role: client}}}]',
    );
    allows('alice/client', 'default/db');
    allows('alice/other', 'default/db');
    allows('default/app', 'default/db');
    denies('default/other', 'default/db');
  });

  test('ipBlock: selects particular IP CIDR ranges; the addresses judged are those that pods see', () => {
    const { allows, denies, book } = from('[{ipBlock: {cidr: 203.0.113.0/24}}]');
    allows('203.0.113.9', 'default/db');
    denies('203.0.114.9', 'default/db');
    denies('default/other', 'default/db');
    // To a service: what matters is the backend it leads to.
    const flow = makeFlow(WORLD, ['203.0.113.9', 'default/db'], 'tcp/80');
    const through = { ...flow, before: { destination: address('198.51.100.1'), destinationPort: 443 } };
    assert.equal(evaluate(book, WORLD, through).action, 'allow');
    from('[{ipBlock: {cidr: 10.244.0.0/16}}]').allows('default/other', 'default/db');
  });
});

describe('default policies', () => {
  test('by default, if no policies exist in a namespace, all ingress and egress traffic is allowed', () => {
    const { allows } = under(policy('p', '{podSelector: {}, policyTypes: [Ingress, Egress]}', 'mine'));
    allows('alice/client', 'default/db', 'udp/1');
    allows('default/db', '203.0.113.1', 'icmp');
  });

  test('default deny all ingress traffic', () => {
    const { allows, denies } = under(DENY_INGRESS);
    denies('default/app', 'default/db');
    denies('203.0.113.1', 'default/other', 'udp/53');
    allows('default/db', 'mine/any');
  });

  test('allow all ingress traffic: no additional policy can cause any incoming connection to be denied', () => {
    const { allows } = under(ALLOW_INGRESS, DENY_INGRESS, EXAMPLE);
    allows('alice/other', 'default/db', 'udp/1');
    allows('203.0.113.1', 'default/other', 'sctp/7');
  });

  test('default deny all egress traffic', () => {
    const { allows, denies } = under(DENY_EGRESS);
    denies('default/db', 'mine/any');
    denies('default/other', '203.0.113.1');
    allows('mine/any', 'default/db');
  });

  test('allow all egress traffic: no additional policy can cause any outgoing connection to be denied', () => {
    const { allows } = under(ALLOW_EGRESS, DENY_EGRESS, EXAMPLE);
    allows('default/db', '203.0.113.1');
  });

  test('default deny all ingress and all egress traffic', () => {
    const { allows, denies } = under(DENY_ALL);
    denies('default/db', 'default/other');
    denies('mine/any', 'default/db');
    denies('default/db', 'mine/any');
    allows('mine/any', 'alice/client');
  });
});

describe('network traffic filtering', () => {
  test('TCP, UDP and SCTP are told apart; protocol defaults to TCP', () => {
    for (const [line, hit] of [
      ['{port: 7}', 'tcp'],
      ['{protocol: UDP, port: 7}', 'udp'],
      ['{protocol: SCTP, port: 7}', 'sctp'],
    ]) {
      const { allows, denies } = under(policy('p', `{podSelector: {}, ingress: [{ports: [${line}]}]}`));
      for (const protocol of ['tcp', 'udp', 'sctp']) {
        const verdict = protocol === hit ? allows : denies;
        verdict('mine/any', 'default/db', `${protocol}/7`);
      }
    }
  });

  test('other protocols are undefined there; here isolation denies them and a rule without ports allows them', () => {
    for (const kind of ['icmp', '47']) {
      under(DENY_INGRESS).denies('mine/any', 'default/db', kind);
      under(ALLOW_INGRESS, DENY_INGRESS).allows('mine/any', 'default/db', kind);
      under(policy('p', '{podSelector: {}, ingress: [{ports: [{protocol: TCP}]}]}')).denies(
        'mine/any',
        'default/db',
        kind,
      );
    }
  });
});

test('targeting a range of ports: between port and endPort, both included', () => {
  const { allows, denies } = under(PORT_RANGE);
  for (const port of [32000, 32500, 32768]) allows('default/db', '10.0.0.5', `tcp/${port}`);
  for (const port of [31999, 32769]) denies('default/db', '10.0.0.5', `tcp/${port}`);
  denies('default/db', '10.0.0.5', 'udp/32000');
});

test('targeting multiple namespaces by label', () => {
  const { allows, denies } = under(NAMESPACES);
  allows('default/app', 'front/web');
  allows('default/app', 'back/web');
  denies('default/app', 'mine/any');
  allows('default/db', 'mine/any');
});

test('targeting a namespace by its name: the label kubernetes.io/metadata.name', () => {
  const { allows, denies, book } = under(
    policy(
      'p',
      '{podSelector: {}, ingress: [{from: [{namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: mine}}}]}]}',
    ),
  );
  allows('mine/any', 'default/db');
  denies('alice/client', 'default/db');
  // Also of a namespace whose object has not come yet.
  const young = { ...WORLD, namespaces: new Map() };
  const ask = (from: string) => evaluate(book, young, makeFlow(young, [from, 'default/db'], 'tcp/80')).action;
  assert.deepEqual([ask('mine/any'), ask('alice/client')], ['allow', 'deny']);
});

describe('network policies and hostNetwork pods', () => {
  test('a hostNetwork pod is treated as its node: ignored by podSelector and namespaceSelector, matched by ipBlock', () => {
    const { denies } = under(EXAMPLE);
    denies('default/host', 'default/db', 'tcp/6379');
    const blocks = under(
      policy('p', '{podSelector: {}, ingress: [{from: [{ipBlock: {cidr: 192.0.2.2/32}}]}]}'),
    );
    blocks.allows('default/host', 'default/db');
    under(NAMESPACES).denies('default/app', 'node a');
  });

  test('a policy does not apply to the hostNetwork pods that its podSelector matches', () => {
    const { allows } = under(DENY_ALL);
    allows('default/host', '203.0.113.1');
    allows('203.0.113.1', 'default/host');
  });
});
