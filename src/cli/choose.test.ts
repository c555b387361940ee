/** The advice on the facts that come with Tartan: properties for any answers, and what an expert would say in known situations. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { adviseOn, chooseBy } from '#advisor/choose/advice.ts';
import {
  type Answers,
  NEEDS,
  parseAnswers,
  PLATFORMS,
  POLICIES,
  PREFERENCES,
} from '#advisor/choose/answers.ts';
import { choose } from '#advisor/choose/choose.ts';
import { documentOf, renderHtml, renderMarkdown, renderText } from '#advisor/choose/document.ts';
import { nextOf, settingsFor } from '#advisor/choose/next.ts';
import { reportOf, reportSchema } from '#advisor/choose/report.ts';
import { roadFor } from '#advisor/choose/road.ts';
import { preferencesOf, requirementsOf } from '#advisor/choose/requirements.ts';
import { type ClusterView, seenInCluster, seenOnHost } from '#advisor/choose/seen.ts';
import { cellOf } from '#advisor/facts/facts.ts';
import { parseFacts } from '#advisor/facts/parse.ts';
import { parseSettings } from '#config/parse.ts';
import { Fault } from '#model/fault.ts';
import type { HostFacts } from '#model/facts.ts';
import { readManifests } from '#model/manifest.ts';
import { readFacts } from './facts-files.ts';
import { readProfiles } from './profiles.ts';

const FACTS = readFacts();
const some = <T>(words: readonly T[]) => fc.uniqueArray(fc.constantFrom(...words), { maxLength: 3 });
const options = <T>(arbitrary: fc.Arbitrary<T>) => fc.option(arbitrary, { nil: undefined });
const answers: fc.Arbitrary<Answers> = fc.record({
  platform: options(fc.constantFrom(...PLATFORMS)),
  nodes: options(fc.constantFrom(1, 40, 80, 300, 3000, 6000)),
  podsPerNode: options(fc.constantFrom(1, 100, 300, 2000)),
  subnets: options(fc.constantFrom('one' as const, 'several' as const, 'sites' as const)),
  family: options(fc.constantFrom('ipv4' as const, 'ipv6' as const, 'dual' as const)),
  policies: some(POLICIES.filter((word) => word !== 'none')),
  needs: some(NEEDS),
  memory: options(fc.constantFrom(40, 150, 1000)),
  kernel: options(fc.constantFrom('4.19', '5.10.0-8', '6.12')),
  mtu: options(fc.constantFrom(1400, 1500, 9001)),
  lacks: options(fc.subarray(['wireguard', 'vxlan', 'ip_set', 'openvswitch'])),
  present: options(fc.constantFrom(...FACTS.candidates.map(({ id }) => id))),
  unmaintained: options(fc.boolean()),
  prefer: some(PREFERENCES),
});

test('whoever is excluded is not ranked, and nobody is lost', () => {
  fc.assert(
    fc.property(answers, (given) => {
      const { ranked, excluded } = chooseBy(FACTS, given);
      const ids = [...ranked, ...excluded].map(({ candidate }) => candidate.id);
      assert.deepEqual(ids.toSorted(), FACTS.candidates.map(({ id }) => id).toSorted());
      for (const { unmet } of excluded) assert.ok(unmet.length > 0 && unmet.every(({ met }) => met === 'no'));
      for (const { judged } of ranked) assert.ok(judged.every(({ met }) => met !== 'no'));
    }),
  );
});

test('one more requirement brings nobody back', () => {
  fc.assert(
    fc.property(answers, answers, (given, more) => {
      const few = requirementsOf(given);
      const before = choose(FACTS, few, preferencesOf(given)).excluded;
      const after = choose(FACTS, [...few, ...requirementsOf(more)], preferencesOf(given)).excluded;
      for (const { candidate } of before) assert.ok(after.some((one) => one.candidate === candidate));
    }),
  );
});

test('whoever is unknown is not excluded for it', () => {
  const nothing = parseFacts({ sources: '{}', x: 'title: X\nfacts: {}' });
  fc.assert(fc.property(answers, (given) => assert.equal(chooseBy(nothing, given).excluded.length, 0)));
});

test('places: equals share one, and every other is behind for a reason in which the two differ', () => {
  fc.assert(
    fc.property(answers, (given) => {
      for (const [index, { place, behind }] of chooseBy(FACTS, given).ranked.entries()) {
        assert.equal(behind === undefined || place === index + 1, true);
        if (behind) assert.notDeepEqual(behind.reason.mine, behind.reason.theirs);
      }
    }),
  );
});

test('the report suits its schema, names a source for whatever it states, and its formats hold the winners', () => {
  fc.assert(
    fc.property(answers, (given) => {
      const advice = adviseOn(FACTS, given);
      const report = reportOf(FACTS, advice, nextOf(FACTS, given, advice.choice));
      const read = reportSchema.parse(JSON.parse(JSON.stringify(report)));
      const stated = [
        ...read.ranked.flatMap(({ met }) => met),
        ...read.excluded.flatMap(({ unmet }) => unmet),
      ];
      const cells = [
        ...stated.map(({ cell }) => cell),
        ...read.ranked.flatMap(({ losses }) => losses.map(({ cell }) => cell)),
      ];
      for (const { claim, feature } of cells) {
        assert.ok(claim && Object.hasOwn(FACTS.sources, claim.source), feature);
        assert.match(claim.date, /^20\d\d/);
      }
      const blocks = documentOf(report, 'a: b\n');
      for (const render of [renderText, renderMarkdown, renderHtml])
        for (const { title } of report.ranked) assert.ok(render(blocks).includes(title));
    }),
    { numRuns: 30 },
  );
});

/** The road that settings must name, whatever else is asked; undefined: any. */
function roadAskedFor({ needs = [], lacks = [], policies = [] }: Answers): string | undefined {
  if (needs.includes('multicast'))
    return policies.length === 0 && !needs.includes('encryption') ? 'layer2' : undefined;
  if (!needs.includes('encryption')) return undefined;
  return lacks.includes('wireguard') ? 'udp' : 'wireguard';
}

for (const candidate of FACTS.candidates.filter(({ profile }) => profile !== undefined)) {
  test(`${candidate.title}: the settings it ends with are settings`, () => {
    fc.assert(
      fc.property(answers, (given) => {
        // Who cannot do it is told as the nearest, with the road that it has.
        fc.pre(!given.needs?.includes('multicast') || cellOf(candidate, 'multicast').value !== 'no');
        const choice = roadFor(candidate.profile, given);
        const text = stringify(settingsFor(candidate, given, choice?.road));
        const { settings } = parseSettings([{ origin: 'choose', text }], readProfiles(), {
          'node.name': 'a',
        });
        assert.equal(settings.profile, candidate.profile);
        if (given.policies?.length) assert.equal(settings.policy.enforce, true);
        assert.equal(settings.road.type, roadAskedFor(given) ?? settings.road.type);
      }),
      {
        numRuns: 30,
        examples: [
          [{ needs: ['multicast'] }],
          [{ needs: ['encryption'], lacks: ['wireguard'] }],
          [{ lacks: ['vxlan'], prefer: ['throughput'], family: 'ipv6' }],
        ],
      },
    );
  });
}

test('the way from what is there: none from one of the first, live between our own, node by node from others', () => {
  const migration = (given: Answers): readonly string[] =>
    nextOf(FACTS, given, chooseBy(FACTS, given)).migration;
  const few: Answers = { nodes: 3, policies: ['calico', 'host'], prefer: ['simplicity'] };
  assert.deepEqual(migration({ ...few, present: 'tartan-flannel' }), []);
  assert.deepEqual(migration({ ...few, present: 'none' }), []);
  assert.match(
    migration({ ...few, subnets: 'several', present: 'tartan-kubenet' })[0] ?? '',
    /^tartan switch /,
  );
  assert.match(
    migration({ ...few, present: 'flannel' }).join(),
    /both use UDP 8472.*cordon and drain.*remove flannel/i,
  );
});

test('bad answers are all named', () => {
  const problemsOf = (value: unknown): readonly string[] => {
    try {
      parseAnswers(value, { providers: ['calico'], instances: new Set(['m5.large']) });
      return [];
    } catch (error) {
      assert.ok(error instanceof Fault);
      return error.problems.map(({ path }) => path);
    }
  };
  assert.deepEqual(problemsOf({ nodes: -1, color: 'red', size: 1, needs: ['speed'] }).toSorted(), [
    'color',
    'needs.0',
    'nodes',
    'size',
  ]);
  const contrary = { policies: ['none', 'http'], present: 'x', platform: 'gcp', instance: 'm5.large' };
  assert.deepEqual(problemsOf(contrary).toSorted(), ['instance', 'policies', 'present']);
  const both = { ...contrary, nodes: 0, instance: 'm5.tiny', speed: 1 };
  assert.deepEqual(problemsOf(both).toSorted(), [
    'instance',
    'instance',
    'nodes',
    'policies',
    'present',
    'speed',
  ]);
});

test('who lacks least is told when nobody is left', () => {
  const { choice, resolve } = adviseOn(FACTS, { needs: ['multicast', 'bgp', 'support', 'no-datastore'] });
  assert.equal(choice.ranked.length, 0);
  assert.ok(resolve.length > 0 && resolve.every(({ giveUp }) => giveUp.length > 0));
});

test('what the host shows is not asked', () => {
  const host = {
    kernel: { release: '6.12.9' },
    settings: { ranges: { 4: '10.0.0.0/8', 6: 'fd00::/48' }, cniConf: '/etc/cni/net.d' },
    cniConfigs: ['05-tartan.conflist', '10-canal.conflist'],
    ownCniConfig: '05-tartan.conflist',
    machine: { vendor: 'Amazon EC2', product: 'm5.large' },
    lacking: ['ipip'],
    choice: { link: 'eth0', mtu: 9001 },
  } as unknown as HostFacts;
  const { answers: seen, how } = seenOnHost(host);
  assert.deepEqual(seen, {
    platform: 'aws',
    instance: 'm5.large',
    kernel: '6.12.9',
    lacks: ['ipip'],
    mtu: 9001,
    family: 'dual',
    present: 'canal',
  });
  assert.deepEqual(Object.keys(how), Object.keys(seen));
  assert.equal(how.present, '/etc/cni/net.d/10-canal.conflist');
  const bare = {
    ...host,
    settings: { ranges: {}, cniConf: '/x' },
    cniConfigs: [],
    machine: { vendor: 'QEMU', product: '' },
  };
  const other = seenOnHost(bare as unknown as HostFacts).answers;
  assert.deepEqual([other.present, other.platform, other.family], ['none', undefined, undefined]);
});

test('what the cluster tells is not asked: nodes, pods, subnets, policies, and the provider that answers', () => {
  const policy = readManifests(
    'f',
    'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nspec: {egress: [{toFQDNs: [{matchName: a}]}]}',
  );
  const view: ClusterView = {
    profile: 'canal',
    peers: [['10.0.0.2', 'fd00::2'], ['10.0.1.2']],
    connected: ['10.0.0.0/24'],
    pods: [3, 40],
    manifests: policy.manifests,
  };
  assert.deepEqual(seenInCluster(view).answers, {
    nodes: 3,
    podsPerNode: 40,
    subnets: 'several',
    present: 'tartan-canal',
    policies: ['egress', 'cilium', 'dns'],
  });
  const near = seenInCluster({ ...view, peers: view.peers.slice(0, 1), pods: [0], manifests: [] });
  assert.deepEqual(near.answers, { nodes: 2, subnets: 'one', present: 'tartan-canal' });
});

test('requirements that contradict each other are named, the smallest sets alone', () => {
  const facts = parseFacts({
    sources: "s: {title: S, date: '2026'}",
    a: 'title: A\nfacts: {bgp: [{value: yes, source: s}], multicast: [{value: no, source: s}]}',
    b: 'title: B\nfacts: {bgp: [{value: no, source: s}], multicast: [{value: yes, source: s}]}',
  });
  const { conflicts } = adviseOn(facts, { unmaintained: true, needs: ['bgp', 'encryption', 'multicast'] });
  assert.deepEqual(
    conflicts.map((set) => set.map(({ id }) => id)),
    [['needs.bgp', 'needs.multicast']],
  );
  fc.assert(
    fc.property(answers, (given) => {
      const { choice, conflicts } = adviseOn(FACTS, given);
      assert.ok(choice.ranked.length === 0 || conflicts.length === 0);
      for (const set of conflicts) {
        const left = (some: typeof set) => choose(FACTS, some, []).ranked.length;
        assert.equal(left(set), 0);
        for (const one of set)
          assert.ok(left(set.filter((other) => other !== one)) > 0, 'it is the smallest');
      }
    }),
  );
});

test('facts: what is wrong with them is told at its place, and sources that disagree stay', () => {
  const bad = {
    sources: 's: {title: T, date: 2020}',
    x: 'title: X\nfacts: {bgp: [{value: maybe, source: s}], speed: []}',
  };
  assert.throws(
    () => parseFacts(bad),
    (error) => error instanceof Fault && error.problems.length >= 2,
  );
  const flannel = FACTS.candidates.find(({ id }) => id === 'flannel');
  assert.ok((flannel?.facts.encryption ?? []).length > 2);
});
