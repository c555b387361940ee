/** Random manifests of Calico's kinds on random clusters: evaluate agrees with the oracle, and everything occurs. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Flow, Verdict } from '#model/verdict.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { addressFamily } from '#net/address.ts';
import { createBook } from './book.ts';
import { evaluate } from './evaluate.ts';
import { parseObject } from './frontends/index.ts';
import { manifestOf } from '#model/manifest.ts';
import { gatherObjects } from './gather.ts';
import { calicoOracle } from './testing/calico-oracle.ts';
import { calicoSets, calicoThings } from './testing/calico-manifests.ts';
import { calicoFlows, calicoWorlds } from './testing/calico-worlds.ts';
import type { Json } from './testing/manifests.ts';

const RUNS = 1_000;
const FLOWS = 10;

const cases = calicoWorlds.chain((world) =>
  fc.record({
    world: fc.constant(world),
    things: calicoThings,
    policies: calicoSets,
    flows: fc.array(calicoFlows(world), { minLength: FLOWS, maxLength: FLOWS }),
  }),
);

function load(world: PolicyWorld, manifests: readonly Json[]) {
  const parsed = manifests.map(
    (value, index) => [`m${index}`, parseObject(manifestOf(`m${index}`, value))] as const,
  );
  const { problems, endpoints, ...parts } = gatherObjects(new Map(parsed));
  assert.deepEqual(
    [...parsed.flatMap(([, each]) => each.problems), ...problems],
    [],
    JSON.stringify(manifests),
  );
  return { book: createBook(parts), world: { ...world, endpoints: [...world.endpoints, ...endpoints] } };
}

const isStaged = (o: Json): boolean => String(o['kind']).startsWith('Staged');

/** The manifests as they would be with those that are staged in force. */
function putInForce(manifests: readonly Json[]): Json[] {
  const keyOf = ({ kind, metadata }: Json): string => {
    const { name, namespace } = metadata as Json;
    return [String(kind).replace('Staged', ''), namespace ?? '', name].join(' ');
  };
  const action = (o: Json): unknown => (o['spec'] as Json)['stagedAction'] ?? 'Set';
  const staged = manifests.filter((o) => isStaged(o) && action(o) !== 'Ignore');
  const gone = new Set(staged.map(keyOf));
  return [
    ...manifests.filter((o) => !isStaged(o) && !gone.has(keyOf(o))),
    ...staged
      .filter((o) => action(o) === 'Set')
      .map((o) => ({ ...o, kind: String(o['kind']).replace('Staged', '') })),
  ];
}

function pendingAction({ checks }: Verdict): 'allow' | 'deny' {
  return checks.every((check) => (check.pending ?? check).action === 'allow') ? 'allow' : 'deny';
}

test('evaluate is what the oracle says of Calico’s kinds, for every field, operator, action and scope', () => {
  const seen = new Map<string, number>();
  const note = (what: string): unknown => seen.set(what, (seen.get(what) ?? 0) + 1);
  fc.assert(
    fc.property(cases, ({ world: bare, things, policies, flows }) => {
      const manifests = [...things, ...policies];
      const { book, world } = load(bare, manifests);
      for (const manifest of manifests) noteManifest(manifest, note);
      const enforced = manifests.filter((o) => !isStaged(o));
      const pending = putInForce(manifests);
      for (const flow of flows) {
        const verdict = evaluate(book, world, flow);
        noteVerdict(verdict, flow, note);
        const about = (): string => JSON.stringify({ flow, verdict });
        assert.equal(verdict.action, calicoOracle({ objects: enforced, world: bare, flow }), about());
        assert.equal(pendingAction(verdict), calicoOracle({ objects: pending, world: bare, flow }), about());
      }
    }),
    { numRuns: RUNS },
  );
  const missing = EXPECTED.filter((what) => (seen.get(what) ?? 0) < 10);
  assert.deepEqual(missing, [], JSON.stringify(Object.fromEntries(seen)));
});

const ENTITY = [
  'nets',
  'notNets',
  'selector',
  'notSelector',
  'namespaceSelector',
  'serviceAccounts',
  'ports',
  'notPorts',
  'services',
];

/** What has to have occurred: fields by their names, and `true` for those that had a part in a decision. */
const EXPECTED = [
  ...['NetworkPolicy', 'GlobalNetworkPolicy', 'StagedNetworkPolicy', 'StagedGlobalNetworkPolicy'].map(
    (each) => `kind ${each}`,
  ),
  ...['Tier', 'Profile', 'NetworkSet', 'GlobalNetworkSet', 'HostEndpoint'].map((each) => `kind ${each}`),
  ...['projectcalico.org/v3', 'crd.projectcalico.org/v1'].map((each) => `group ${each}`),
  ...ENTITY.flatMap((each) => [`source.${each}`, `destination.${each}`]),
  ...['names', 'selector'].map((each) => `serviceAccounts.${each}`),
  ...['ipVersion', 'protocol', 'notProtocol', 'icmp', 'notICMP', 'metadata'].map((each) => `rule.${each}`),
  'destination.domains',
  ...['tier', 'order', 'types', 'selector', 'namespaceSelector', 'serviceAccountSelector'].map(
    (each) => `spec.${each}`,
  ),
  ...['doNotTrack', 'preDNAT', 'applyOnForward', 'stagedAction', 'labelsToApply', 'defaultAction'].map(
    (each) => `spec.${each}`,
  ),
  ...['interfaceName', 'expectedIPs', 'profiles', 'ports', 'node', 'ingress', 'egress'].map(
    (each) => `spec.${each}`,
  ),
  ...['Allow', 'Deny', 'Log', 'Pass'].map((each) => `action ${each}`),
  ...['Set', 'Delete', 'Ignore'].map((each) => `staged ${each}`),
  ...['Pass', 'Deny'].map((each) => `default ${each}`),
  ...[
    '==',
    '!=',
    ' in',
    'not in',
    'contains',
    'starts',
    'ends',
    'has(',
    'all(',
    'global(',
    '&&',
    '||',
    '!',
  ].map((each) => `says ${each}`),
  ...['pcns.', 'pcsa.', '/namespace', '/orchestrator', '/serviceaccount', '/name'].map(
    (each) => `says ${each}`,
  ),
  ...['6', '17', '132', '136', '47', '1'].map((each) => `flow ${each} 4`),
  ...['6', '17', '132', '136', '47', '58'].map((each) => `flow ${each} 6`),
  ...['early', 'late', 'default'].flatMap((tier) =>
    ['allow', 'deny', 'pass', 'log'].map((each) => `decided ${tier} ${each}`),
  ),
  ...['allow', 'deny', 'log'].map((each) => `decided profiles ${each}`),
  ...['untracked', 'pre-dnat', 'local', 'forward'].flatMap((each) => [
    `scope ${each} allow`,
    `scope ${each} deny`,
  ]),
  ...['self', 'own-node', 'failsafe'].map((each) => `exempt ${each}`),
  ...['allow', 'deny'].flatMap((each) => [`verdict ${each}`, `pending ${each}`]),
];

type Note = (what: string) => unknown;

const SAID = [
  '==',
  '!=',
  ' in',
  'not in',
  'contains',
  'starts',
  'ends',
  'has(',
  'all(',
  'global(',
  '&&',
  '||',
  '!',
  'pcns.',
  'pcsa.',
  '/namespace',
  '/orchestrator',
  '/serviceaccount',
  '/name',
];

function noteManifest(manifest: Json, note: Note): void {
  const spec = manifest['spec'] as Json;
  note(`kind ${String(manifest['kind'])}`);
  note(`group ${String(manifest['apiVersion'])}`);
  for (const key of Object.keys(spec)) note(`spec.${key}`);
  if ('stagedAction' in spec) note(`staged ${String(spec['stagedAction'])}`);
  if ('defaultAction' in spec) note(`default ${String(spec['defaultAction'])}`);
  const written = JSON.stringify(spec);
  for (const each of SAID) if (written.includes(each)) note(`says ${each}`);
  for (const rule of ['ingress', 'egress'].flatMap((way) => (spec[way] as Json[] | undefined) ?? [])) {
    note(`action ${String(rule['action'])}`);
    for (const key of Object.keys(rule)) note(`rule.${key}`);
    for (const end of ['source', 'destination']) {
      const entity = (rule[end] ?? {}) as Json;
      for (const key of Object.keys(entity)) note(`${end}.${key}`);
      for (const key of Object.keys(entity['serviceAccounts'] ?? {})) note(`serviceAccounts.${key}`);
    }
  }
}

function noteVerdict(verdict: Verdict, flow: Flow, note: Note): void {
  note(`flow ${flow.protocol} ${addressFamily(flow.source)}`);
  note(`verdict ${verdict.action}`);
  for (const { exempt, trail, scope, action, pending } of verdict.checks) {
    if (exempt !== undefined) note(`exempt ${exempt}`);
    if (scope !== undefined) note(`scope ${scope} ${action}`);
    if (pending !== undefined) note(`pending ${pending.action}`);
    for (const { tier, outcome } of trail) if (outcome !== 'no match') note(`decided ${tier} ${outcome}`);
  }
}
