/**
 * What an operator is asked, and what the answers may be. Every question can be left open: then it asks nothing of
 * anybody. All that is wrong with answers is told at once, contradictions among them.
 */
import { z } from 'zod';
import { Fault, type Problem } from '#model/fault.ts';
import type { HostFacts } from '#model/facts.ts';
import { families } from '#net/per-family.ts';

export const PLATFORMS = ['bare-metal', 'aws', 'gcp', 'azure'] as const;
export const POLICIES = [
  'none',
  'kubernetes',
  'egress',
  'port-ranges',
  'named-ports',
  'cluster',
  'calico',
  'cilium',
  'host',
  'http',
  'dns',
] as const;
export const NEEDS = [
  'kubernetes',
  'bgp',
  'encryption',
  'multicast',
  'several-clusters',
  'no-datastore',
  'service-proxy',
  'flow-logs',
  'support',
  'host-ports',
  'bandwidth',
] as const;
export const PREFERENCES = [
  'throughput',
  'encrypted-throughput',
  'memory',
  'simplicity',
  'no-encapsulation',
  'observability',
  'size',
  'support',
  'policy',
] as const;

const list = <const T extends readonly [string, ...string[]]>(words: T) =>
  z
    .array(z.enum(words))
    .refine((given) => new Set(given).size === given.length, 'says something twice')
    .optional();

export const answersSchema = z.strictObject({
  platform: z.enum(PLATFORMS).optional(),
  instance: z.string().optional(),
  nodes: z.int().min(1).max(1_000_000).optional(),
  podsPerNode: z.int().min(1).max(65_535).optional(),
  subnets: z.enum(['one', 'several', 'sites']).optional(),
  family: z.enum(['ipv4', 'ipv6', 'dual']).optional(),
  policies: list(POLICIES),
  needs: list(NEEDS),
  memory: z.int().min(1).optional(),
  kernel: z
    .string()
    .regex(/^\d+\.\d+/, 'must begin as a kernel’s release does: 6.1')
    .optional(),
  present: z.string().optional(),
  unmaintained: z.boolean().optional(),
  prefer: list(PREFERENCES),
});
export type Answers = z.infer<typeof answersSchema>;
export type Topic = keyof Answers;

export type Question = {
  readonly topic: Topic;
  readonly ask: string;
  readonly words?: readonly string[];
  readonly many?: boolean;
};

/** In the order in which they are asked; a dozen. */
export const QUESTIONS: readonly Question[] = [
  { topic: 'platform', ask: 'Where do the nodes run?', words: PLATFORMS },
  { topic: 'instance', ask: 'Which instance type (AWS)?' },
  { topic: 'nodes', ask: 'How many nodes, at most?' },
  { topic: 'podsPerNode', ask: 'How many pods on a node, at most?' },
  {
    topic: 'subnets',
    ask: 'Are nodes on one subnet, on several, or at several sites?',
    words: ['one', 'several', 'sites'],
  },
  { topic: 'family', ask: 'Which addresses do pods have?', words: ['ipv4', 'ipv6', 'dual'] },
  { topic: 'policies', ask: 'Which policies must be enforced?', words: POLICIES, many: true },
  { topic: 'needs', ask: 'What else must it have?', words: NEEDS, many: true },
  { topic: 'memory', ask: 'How much memory may it take on a node, in MiB?' },
  { topic: 'kernel', ask: 'Which is the oldest kernel?' },
  { topic: 'present', ask: 'Which provider is there now?' },
  { topic: 'prefer', ask: 'What do you prefer, the most important first?', words: PREFERENCES, many: true },
];

/** Throws Fault `request-invalid` with every problem. */
export function parseAnswers(value: unknown, providers: readonly string[]): Answers {
  const parsed = answersSchema.safeParse(value ?? {});
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
    throw new Fault('request-invalid', 'the answers are not usable', { problems });
  }
  const problems = contradictions(parsed.data, providers);
  if (problems.length > 0) throw new Fault('request-invalid', 'the answers are not usable', { problems });
  return parsed.data;
}

function contradictions(answers: Answers, providers: readonly string[]): Problem[] {
  const { policies = [], present, platform, instance } = answers;
  const problems: Problem[] = [];
  if (policies.includes('none') && policies.length > 1)
    problems.push({ path: 'policies', message: 'says none and others: leave out none, or all others' });
  if (present !== undefined && present !== 'none' && !providers.includes(present))
    problems.push({ path: 'present', message: `must be none or one of ${providers.join(', ')}` });
  if (instance !== undefined && platform !== undefined && platform !== 'aws')
    problems.push({ path: 'instance', message: `is of AWS, and platform is ${platform}: leave one out` });
  return problems;
}

/** Files that providers put into the CNI configuration directory. */
const CONFIGURATIONS: readonly (readonly [RegExp, string])[] = [
  [/canal/, 'canal'],
  [/calico/, 'calico'],
  [/cilium/, 'cilium'],
  [/flannel/, 'flannel'],
  [/weave/, 'weave'],
  [/kuberouter/, 'kube-router'],
  [/aws/, 'aws-vpc-cni'],
  [/romana/, 'romana'],
];

/** What needs no asking on this host. */
export function answersOf(facts: HostFacts): Answers {
  const used = families(facts.settings.ranges);
  const names = facts.cniConfigs.filter((name) => name !== facts.ownCniConfig);
  const present = CONFIGURATIONS.find(([pattern]) => names.some((name) => pattern.test(name)))?.[1];
  return {
    kernel: facts.kernel.release,
    ...(used.length === 2 ? { family: 'dual' as const } : {}),
    ...(present === undefined ? {} : { present }),
  };
}
