/**
 * What an operator is asked, and what the answers may be. Every question can be left open: then it asks nothing of
 * anybody. All that is wrong with answers is told at once, contradictions among them.
 */
import { z } from 'zod';
import { Fault, type Problem } from '#model/fault.ts';

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
  /** Between nodes, bytes. */
  mtu: z.int().min(1280).max(65_535).optional(),
  /** Kernel modules that some node lacks. */
  lacks: z.array(z.string().regex(/^[a-z0-9_]+$/, 'must be the name of a kernel module')).optional(),
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

/** What answers can name that is not in their schema. */
export type Known = { readonly providers: readonly string[]; readonly instances: ReadonlySet<string> };

/** Throws Fault `request-invalid` with every problem: of each field, and of those that contradict each other. */
export function parseAnswers(value: unknown, known: Known): Answers {
  const parsed = answersSchema.safeParse(value ?? {});
  const bad = parsed.success ? [] : parsed.error.issues.flatMap(problemsOf);
  const usable = answersSchema.safeParse(without(value, new Set(bad.map(({ path }) => path.split('.')[0]))));
  const problems = [...bad, ...(usable.success ? contradictions(usable.data, known) : [])];
  if (problems.length > 0) throw new Fault('request-invalid', 'the answers are not usable', { problems });
  return parsed.data ?? {};
}

function without(value: unknown, names: ReadonlySet<string | undefined>): unknown {
  if (typeof value !== 'object' || value === null) return {};
  return Object.fromEntries(Object.entries(value).filter(([name]) => !names.has(name)));
}

/** Each unknown field at its own path, with what there is. */
function problemsOf(issue: z.core.$ZodIssue): Problem[] {
  const path = issue.path.join('.');
  if (issue.code !== 'unrecognized_keys') return [{ path, message: issue.message }];
  const message = `is no answer; there are: ${Object.keys(answersSchema.shape).join(', ')}`;
  return issue.keys.map((key) => ({ path: key, message }));
}

/** What is wrong with answers that are each possible by themselves. */
const CHECKS: readonly ((answers: Answers, known: Known) => Problem | undefined | false)[] = [
  ({ policies = [] }) =>
    policies.includes('none') &&
    policies.length > 1 && {
      path: 'policies',
      message: 'says none and others: leave out none, or all others',
    },
  ({ present = 'none' }, { providers }) =>
    present !== 'none' &&
    !providers.includes(present) && {
      path: 'present',
      message: `must be none or one of ${providers.join(', ')}`,
    },
  ({ instance }, { instances }) =>
    instance !== undefined &&
    !instances.has(instance) && {
      path: 'instance',
      message: `no instance type of AWS is called ${instance}`,
    },
  ({ instance, platform = 'aws' }) =>
    instance !== undefined &&
    platform !== 'aws' && {
      path: 'instance',
      message: `is of AWS, and platform is ${platform}: leave one out`,
    },
];

function contradictions(answers: Answers, known: Known): Problem[] {
  return CHECKS.map((check) => check(answers, known)).filter((one) => one !== undefined && one !== false);
}
