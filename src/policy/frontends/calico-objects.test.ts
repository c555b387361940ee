/** Calico's objects beside their rules: what they may say of each other, their labels, and many of them together. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { calicoObject } from '../testing/calico.ts';
import { findInterfaces, gatherObjects } from '../gather.ts';
import { parseObjects } from './index.ts';

const problems = (text: string): string[] =>
  parseObjects('f.yaml', text).problems.map(({ path, message }) => `${path}: ${message}`);

const object = (kind: string, spec: string, name = 'a'): string => calicoObject(kind, name, spec);

test('the tiers that are built in may be written as they are, and not otherwise', () => {
  const said = (name: string, spec: string): string[] => problems(object('Tier', spec, name));
  assert.deepEqual(said('default', 'order: 1000000'), []);
  assert.deepEqual(said('kube-admin', 'order: 1000, defaultAction: Pass'), []);
  assert.deepEqual(said('default', 'order: 5'), ['f.yaml:4 spec.order: must be 1000000 in tier default']);
  assert.deepEqual(said('default', 'order: 1000000, defaultAction: Pass'), [
    'f.yaml:4 spec.defaultAction: must be Deny in tier default',
  ]);
  assert.deepEqual(said('kube-baseline', 'order: 10000000'), [
    'f.yaml:4 spec.defaultAction: must be Pass in tier kube-baseline',
  ]);
  assert.deepEqual(said('a.b', 'order: 5'), [
    'f.yaml:3 metadata.name: must be a DNS label in lower case: names of policies begin with it',
  ]);
});

test('the label of the namespace is nobody’s to write', () => {
  const of = (kind: string): string[] =>
    problems(object(kind, 'nets: []').replace('labels: {}', 'labels: {projectcalico.org/namespace: x}'));
  const said =
    'f.yaml:3 metadata.labels.projectcalico.org/namespace: must not be there: it is made from the namespace';
  assert.deepEqual(of('NetworkSet'), [said]);
  assert.deepEqual(of('GlobalNetworkSet'), [said]);
});

test('labels as Calico keeps them in Kubernetes: in an annotation', () => {
  const stored = (json: string): string =>
    `apiVersion: crd.projectcalico.org/v1\nkind: GlobalNetworkSet\nmetadata:\n  name: s\n  annotations: {projectcalico.org/metadata: '${json}'}\n`;
  const { endpoints, problems: none } = parseObjects(
    'f',
    stored('{"labels": {"who": "partner"}, "creationTimestamp": null}'),
  );
  assert.deepEqual([endpoints[0]?.labels, none], [{ who: 'partner' }, []]);
  assert.deepEqual(parseObjects('f', stored('{}')).endpoints[0]?.labels, {});
  const shown = stored('{"labels": {"who": "partner"}}').replace(
    'crd.projectcalico.org/v1',
    'projectcalico.org/v3',
  );
  assert.deepEqual(
    parseObjects('f', shown).endpoints[0]?.labels,
    {},
    'as the API server gives it out, labels are labels',
  );
  assert.deepEqual(problems(stored('{')), [
    'f.yaml:5 metadata.annotations.projectcalico.org/metadata: must be an object as JSON',
  ]);
  assert.deepEqual(problems(stored('{"labels": {"a": 1}}')), [
    'f.yaml:5 metadata.annotations.projectcalico.org/metadata: must have labels as text',
  ]);
});

test('performanceHints are accepted and change nothing; both names of the group mean the same', () => {
  const one = object('NetworkPolicy', 'order: 5, performanceHints: [AssumeNeededOnEveryNode]');
  const other = object('NetworkPolicy', 'order: 5').replace(
    'projectcalico.org/v3',
    'crd.projectcalico.org/v1',
  );
  assert.deepEqual(problems(one), []);
  assert.deepEqual(parseObjects('f', one).policies, parseObjects('f', other).policies);
});

test('rules that types switches off, and policies that are staged for nothing, are warned of', () => {
  const warned = (kind: string, spec: string) => {
    const { policies, warnings } = parseObjects('f', object(kind, spec));
    return [policies.length, ...warnings.map(({ path, message }) => `${path}: ${message}`)];
  };
  const off = 'types: [Ingress], egress: [{action: Allow}]';
  assert.deepEqual(warned('NetworkPolicy', off), [
    1,
    'f:4 spec.egress: has no effect: types does not name this direction',
  ]);
  assert.deepEqual(warned('StagedNetworkPolicy', 'stagedAction: Learn'), [
    0,
    'f:4 spec.stagedAction: Learn is not previewed',
  ]);
  assert.deepEqual(warned('StagedGlobalNetworkPolicy', 'stagedAction: Ignore'), [
    0,
    'f:4 spec.stagedAction: Ignore is not previewed',
  ]);
  assert.deepEqual(warned('StagedNetworkPolicy', ''), [1]);
});

test('objects of one kind and name from two sources are told, and the first stays', () => {
  const parse = (source: string, ...texts: readonly string[]) =>
    [source, parseObjects(source, texts.join('---\n'))] as const;
  const { tiers, profiles, endpoints, problems } = gatherObjects(
    new Map([
      parse('a', object('Tier', 'order: 1', 't'), object('Profile', '', 'p'), object('NetworkSet', '', 's')),
      parse(
        'b',
        object('Tier', 'order: 2', 't'),
        object('Profile', '', 'p'),
        object('GlobalNetworkSet', '', 's'),
      ),
      parse('c', object('NetworkSet', '', 's'), object('HostEndpoint', 'node: a, interfaceName: e', 's')),
    ]),
  );
  assert.deepEqual([tiers.map(({ order }) => order), profiles.length, endpoints.length], [[1], 1, 3]);
  assert.deepEqual(problems, [
    { path: 'b', message: 'Tier t is also in a' },
    { path: 'b', message: 'Profile p is also in a' },
    { path: 'c', message: 'NetworkSet shop/s is also in a' },
  ]);
});

test('host endpoints that told only addresses get the interface that has the first known of them, on their node', () => {
  const of = (...specs: readonly string[]) => {
    const texts = specs.map((spec, index) => object('HostEndpoint', spec, `h${index}`));
    const { endpoints } = parseObjects('f', texts.join('---\n'));
    const found = findInterfaces(endpoints, 'a', (address) => (address === '192.0.2.1' ? 'eth0' : undefined));
    return found.map((each) => (each.kind === 'host' ? each.interface : undefined));
  };
  const named = 'interfaceName: eth7, expectedIPs: [192.0.2.1]';
  assert.deepEqual(
    of(
      'node: a, expectedIPs: [192.0.2.9, 192.0.2.1]',
      'node: a, expectedIPs: [192.0.2.9]',
      'node: b, expectedIPs: [192.0.2.1]',
      `node: a, ${named}`,
      'node: a, interfaceName: "*"',
    ),
    ['eth0', '', '', 'eth7', '*'],
  );
});
