/** The advice on the facts that come with Tartan: properties for any answers, and what an expert would say in known situations. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { stringify } from 'yaml';
import { adviseOn, chooseBy, winnersOf } from '#advisor/choose/advice.ts';
import {
  type Answers,
  answersOf,
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
import { preferencesOf, requirementsOf } from '#advisor/choose/requirements.ts';
import { withInstance } from '#advisor/capacity/capacity.ts';
import { type Facts, withClaim } from '#advisor/facts/facts.ts';
import { parseFacts } from '#advisor/facts/parse.ts';
import type { Feature } from '#advisor/facts/features.ts';
import { parseSettings } from '#config/parse.ts';
import { Fault } from '#model/fault.ts';
import type { HostFacts } from '#model/facts.ts';
import { readFacts, readInstances } from './facts-files.ts';
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

test('the settings it ends with are settings', () => {
  fc.assert(
    fc.property(answers, (given) => {
      for (const candidate of FACTS.candidates.filter(({ profile }) => profile !== undefined)) {
        const text = stringify(settingsFor(candidate, given));
        const { settings } = parseSettings([{ origin: 'choose', text }], readProfiles(), {
          'node.name': 'a',
        });
        assert.equal(settings.profile, candidate.profile);
        if (given.policies?.length) assert.equal(settings.policy.enforce, true);
      }
    }),
    { numRuns: 30 },
  );
});

type Situation = {
  readonly name: string;
  readonly answers: Answers;
  readonly first: readonly string[];
  /** The fact that decides, and what would be first if it were otherwise. */
  readonly decides: readonly [candidate: string, feature: Feature, value: string | number];
  readonly otherwise: readonly string[];
};

const KUBERNETES = { needs: ['kubernetes'] } as const;
const SITUATIONS: readonly Situation[] = [
  {
    name: 'EKS with many small pods: the cloud’s own, with prefixes',
    answers: {
      platform: 'aws',
      instance: 'm5.large',
      podsPerNode: 100,
      needs: ['kubernetes'],
      prefer: ['no-encapsulation'],
    },
    first: ['aws-vpc-cni'],
    decides: ['aws-vpc-cni', 'podsPerNode', 29],
    otherwise: ['calico', 'cilium', 'flannel', 'kube-router'],
  },
  {
    name: 'bare metal with a BGP fabric and a need for support',
    answers: { platform: 'bare-metal', needs: ['kubernetes', 'bgp', 'support'], policies: ['kubernetes'] },
    first: ['calico'],
    decides: ['calico', 'support', 'no'],
    otherwise: [],
  },
  {
    name: '5,000 nodes by BGP, as fast as can be',
    answers: { nodes: 5000, needs: ['kubernetes', 'bgp'], prefer: ['throughput'] },
    first: ['cilium'],
    decides: ['kube-router', 'nodes', 5000],
    otherwise: ['kube-router'],
  },
  {
    name: 'edge nodes with little memory and no policies',
    answers: { memory: 64, ...KUBERNETES, needs: ['kubernetes'], prefer: ['memory'] },
    first: ['flannel'],
    decides: ['flannel', 'memoryMiB', 100],
    otherwise: ['kube-router'],
  },
  {
    name: 'everything encrypted, and policies',
    answers: {
      needs: ['kubernetes', 'encryption'],
      policies: ['kubernetes', 'egress'],
      prefer: ['encrypted-throughput'],
    },
    first: ['cilium'],
    decides: ['cilium', 'encryption', 'no'],
    otherwise: ['calico'],
  },
  {
    name: 'multicast video on a provider that is maintained in full',
    answers: { needs: ['kubernetes', 'multicast'] },
    first: ['cilium'],
    decides: ['cilium', 'multicast', 'no'],
    otherwise: ['weave'],
  },
  {
    name: 'IPv6 alone, policies by HTTP',
    answers: { family: 'ipv6', needs: ['kubernetes'], policies: ['http'] },
    first: ['cilium'],
    decides: ['calico', 'httpPolicy', 'yes'],
    otherwise: ['calico', 'cilium'],
  },
  {
    name: 'two sites joined as clusters, far apart',
    answers: { subnets: 'sites', needs: ['kubernetes', 'several-clusters'] },
    first: ['cilium'],
    decides: ['cilium', 'severalClusters', 'no'],
    otherwise: ['calico'],
  },
  {
    name: 'no datastore at all',
    answers: { needs: ['no-datastore', 'encryption'] },
    first: ['tartan-canal', 'tartan-flannel', 'tartan-kubenet'],
    decides: ['tartan-kubenet', 'encryption', 'no'],
    otherwise: ['tartan-canal', 'tartan-flannel'],
  },
  {
    name: 'a few hosts without Kubernetes, Calico’s policies, policies for the nodes, one program',
    answers: { nodes: 3, policies: ['calico', 'host'], prefer: ['simplicity'] },
    first: ['tartan-canal', 'tartan-flannel', 'tartan-kubenet'],
    decides: ['calico', 'oneProgram', 'yes'],
    otherwise: ['calico', 'tartan-canal', 'tartan-flannel', 'tartan-kubenet'],
  },
  {
    name: 'the same on several subnets: not plain routes',
    answers: { nodes: 3, subnets: 'several', policies: ['calico', 'host'], prefer: ['simplicity'] },
    first: ['tartan-canal', 'tartan-flannel'],
    decides: ['tartan-kubenet', 'acrossSubnets', 'yes'],
    otherwise: ['tartan-canal', 'tartan-flannel', 'tartan-kubenet'],
  },
  {
    name: 'PCI: everything encrypted, with the Calico policies that are there',
    answers: { present: 'canal', needs: ['kubernetes', 'encryption'], policies: ['calico', 'egress'] },
    first: ['calico'],
    decides: ['calico', 'encryption', 'no'],
    otherwise: [],
  },
];

function factsFor({ instance }: Answers): Facts {
  const limits = instance === undefined ? undefined : readInstances().get(instance);
  return limits === undefined ? FACTS : withInstance(FACTS, limits);
}

for (const { name, answers: given, first, decides, otherwise } of SITUATIONS) {
  test(`situation: ${name}`, () => {
    const facts = factsFor(given);
    assert.deepEqual(winnersOf(chooseBy(facts, parseAnswers(given, ['canal']))), first);
    const [candidate, feature, value] = decides;
    const flipped = withClaim(facts, candidate, feature, { value, source: 'tartan', date: '2026' });
    assert.deepEqual(winnersOf(chooseBy(flipped, given)), otherwise);
  });
}

test('bad answers are all named', () => {
  const problemsOf = (value: unknown): readonly string[] => {
    try {
      parseAnswers(value, ['calico']);
      return [];
    } catch (error) {
      assert.ok(error instanceof Fault);
      return error.problems.map(({ path }) => path);
    }
  };
  assert.deepEqual(problemsOf({ nodes: -1, color: 'red', needs: ['speed'] }).toSorted(), [
    '',
    'needs.0',
    'nodes',
  ]);
  const contrary = { policies: ['none', 'http'], present: 'x', platform: 'gcp', instance: 'm5.large' };
  assert.deepEqual(problemsOf(contrary).toSorted(), ['instance', 'policies', 'present']);
});

test('who lacks least is told when nobody is left', () => {
  const { choice, resolve } = adviseOn(FACTS, { needs: ['multicast', 'bgp', 'support', 'no-datastore'] });
  assert.equal(choice.ranked.length, 0);
  assert.ok(resolve.length > 0 && resolve.every(({ giveUp }) => giveUp.length > 0));
});

test('what the host shows is not asked', () => {
  const host = {
    kernel: { release: '6.12.9' },
    settings: { ranges: { 4: '10.0.0.0/8', 6: 'fd00::/48' } },
    cniConfigs: ['05-tartan.conflist', '10-canal.conflist'],
    ownCniConfig: '05-tartan.conflist',
  } as unknown as HostFacts;
  assert.deepEqual(answersOf(host), { kernel: '6.12.9', family: 'dual', present: 'canal' });
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
