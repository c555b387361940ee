/**
 * What an expert would say in known situations. Each names the fact that decides; the report cites it with its source, and
 * turning that one fact turns the advice. What sources advised in their time is advised as of then.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { adviseOn, chooseBy, winnersOf } from '#advisor/choose/advice.ts';
import { type Answers, parseAnswers } from '#advisor/choose/answers.ts';
import { documentOf, renderText } from '#advisor/choose/document.ts';
import { nextOf } from '#advisor/choose/next.ts';
import { reportOf } from '#advisor/choose/report.ts';
import { withInstance } from '#advisor/capacity/capacity.ts';
import { asOf, cellOf, type Facts, withClaim } from '#advisor/facts/facts.ts';
import type { Feature } from '#advisor/facts/features.ts';
import { readFacts, readInstances } from './facts-files.ts';

/** Of Tartan’s own, three that differ: the others would stand beside one of them in every situation. */
const OWN = new Set(['tartan-canal', 'tartan-flannel', 'tartan-kubenet']);
const ALL = readFacts();
const FACTS: Facts = {
  ...ALL,
  candidates: ALL.candidates.filter(({ id, profile }) => profile === undefined || OWN.has(id)),
};
const KNOWN = {
  providers: FACTS.candidates.map(({ id }) => id),
  instances: new Set(readInstances().keys()),
};

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
    otherwise: ['cilium'],
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
    first: ['cilium', 'tartan-flannel', 'tartan-kubenet'],
    decides: ['cilium', 'multicast', 'no'],
    otherwise: ['tartan-flannel', 'tartan-kubenet'],
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
    answers: { platform: 'bare-metal', subnets: 'sites', needs: ['kubernetes', 'several-clusters'] },
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
    first: ['calico', 'tartan-canal', 'tartan-flannel', 'tartan-kubenet'],
    decides: ['calico', 'encryption', 'no'],
    otherwise: ['tartan-canal', 'tartan-flannel', 'tartan-kubenet'],
  },
  {
    name: 'two sites with high latency between them: clusters of their own, joined',
    answers: { platform: 'bare-metal', subnets: 'sites', needs: ['kubernetes'], policies: ['kubernetes'] },
    first: ['cilium'],
    decides: ['cilium', 'severalClusters', 'no'],
    otherwise: ['calico', 'cilium', 'kube-router', 'tartan-canal', 'tartan-flannel'],
  },
  {
    name: 'edge nodes with 1 GB, many architectures, policies by the way: the one that asks for least',
    answers: {
      memory: 64,
      needs: ['kubernetes'],
      policies: ['kubernetes'],
      prefer: ['simplicity', 'memory'],
    },
    first: ['flannel'],
    decides: ['flannel', 'networkPolicy', 'no'],
    otherwise: ['kube-router'],
  },
  {
    name: 'IPv6 alone, with BGP to the routers and no second daemon',
    answers: { family: 'ipv6', needs: ['kubernetes', 'bgp'], prefer: ['simplicity'] },
    first: ['kube-router'],
    decides: ['kube-router', 'ipv6Only', 'no'],
    otherwise: ['calico', 'cilium'],
  },
  {
    name: 'old kernels without Open vSwitch, BPF and IPVS',
    answers: {
      kernel: '4.19',
      lacks: ['cls_bpf', 'openvswitch', 'ip_vs'],
      needs: ['kubernetes', 'encryption'],
    },
    first: ['calico', 'flannel'],
    decides: ['cilium', 'kernel', '4.19'],
    otherwise: ['calico', 'flannel'],
  },
];

function factsFor({ instance }: Answers): Facts {
  const limits = instance === undefined ? undefined : readInstances().get(instance);
  return limits === undefined ? FACTS : withInstance(FACTS, limits);
}

function textOf(facts: Facts, answers: Answers): string {
  const advice = adviseOn(facts, answers);
  return renderText(documentOf(reportOf(facts, advice, nextOf(facts, answers, advice.choice)), undefined));
}

for (const { name, answers, first, decides, otherwise } of SITUATIONS) {
  test(`situation: ${name}`, () => {
    const facts = factsFor(answers);
    assert.deepEqual(winnersOf(chooseBy(facts, parseAnswers(answers, KNOWN))), first);
    const [id, feature, value] = decides;
    const candidate = facts.candidates.find((one) => one.id === id) ?? assert.fail(id);
    const { claim } = cellOf(candidate, feature);
    const source = facts.sources[claim?.source ?? ''];
    const text = textOf(facts, answers);
    const cited = text
      .split('\n')
      .some((line) => line.includes(`${claim?.value}`) && line.includes(`${source?.title}, ${claim?.date}`));
    assert.ok(
      cited,
      `${id} ${feature}: ${claim?.value} [${source?.title}, ${claim?.date}] is not in\n${text}`,
    );
    const flipped = withClaim(facts, id, feature, { value, source: 'tartan', date: '2026' });
    assert.deepEqual(winnersOf(chooseBy(flipped, answers)), otherwise);
  });
}

type Then = {
  readonly name: string;
  readonly day: string;
  readonly answers: Answers;
  readonly first: readonly string[];
  /** The same question by what is known now. */
  readonly now: readonly string[];
};

/** Advice that the sources themselves gave. */
const THEN: readonly Then[] = [
  {
    name: '2017: without need for advanced features kubenet is stable and fast',
    day: '2017-06',
    answers: { platform: 'aws', nodes: 40, subnets: 'one', prefer: ['simplicity'] },
    first: ['kubenet'],
    now: ['flannel', 'kube-router'],
  },
  {
    name: '2017: for more than 50 nodes on AWS, or for policies, something else',
    day: '2017-06',
    answers: { platform: 'aws', nodes: 60, policies: ['kubernetes'], unmaintained: true },
    first: ['calico', 'canal', 'kube-router', 'romana'],
    now: ['aws-vpc-cni', 'calico', 'cilium', 'kube-router'],
  },
  {
    name: '2018: encryption is not Canal’s, and flannel’s is an experiment without policies',
    day: '2018-07',
    answers: { policies: ['kubernetes'], needs: ['encryption'], prefer: ['support'], unmaintained: true },
    first: ['calico', 'weave'],
    now: ['calico'],
  },
  {
    name: '2020: on EKS the provider of AWS',
    day: '2020-06',
    answers: { platform: 'aws', prefer: ['no-encapsulation'], unmaintained: true },
    first: ['aws-vpc-cni'],
    now: ['aws-vpc-cni'],
  },
  {
    name: '2020: elsewhere Canal first; flannel alone not, for lack of policies',
    day: '2020-06',
    answers: {
      platform: 'bare-metal',
      policies: ['kubernetes'],
      needs: ['kubernetes'],
      prefer: ['simplicity'],
      unmaintained: true,
    },
    first: ['canal'],
    now: ['kube-router', 'tartan-canal', 'tartan-flannel', 'tartan-kubenet'],
  },
  {
    name: '2020: Weave where multicast is needed',
    day: '2020-06',
    answers: { needs: ['multicast'], unmaintained: true },
    first: ['weave'],
    now: ['weave'],
  },
  {
    name: '2022: Cilium where policies go by HTTP',
    day: '2022-06',
    answers: { policies: ['kubernetes', 'http'], unmaintained: true },
    first: ['cilium'],
    now: ['cilium'],
  },
];

for (const { name, day, answers, first, now } of THEN) {
  test(`then: ${name}`, () => {
    const facts = asOf(FACTS, day);
    assert.deepEqual(winnersOf(chooseBy(facts, answers)), first);
    assert.deepEqual(winnersOf(chooseBy(FACTS, answers)), now);
  });
}
