/** What answers ask for, as data: hard requirements, each on one feature, and preferences in the order they count. */
import { cellOf, type Candidate, type Cell, type Value } from '../facts/facts.ts';
import { type Feature, titleOf } from '../facts/features.ts';
import { type Answers, type NEEDS, type PLATFORMS, POLICIES, type PREFERENCES } from './answers.ts';

export type Requirement = {
  /** The answer that asks for it: `needs.multicast`. */
  readonly id: string;
  readonly feature: Feature;
  readonly sentence: string;
} & (
  | { readonly test: 'able' }
  /** The candidate goes at least so far. */
  | { readonly test: 'at-least'; readonly amount: number }
  /** The candidate asks for no more. */
  | { readonly test: 'at-most'; readonly amount: number }
  | { readonly test: 'kernel'; readonly release: string }
  /** The candidate needs none of these words. */
  | { readonly test: 'without'; readonly words: readonly string[] }
  /** As able, but who is not is only warned of. */
  | { readonly test: 'advised' }
);

/** `half`: it is met with reservations, which the cell’s note tells. */
export type Met = 'yes' | 'half' | 'unknown' | 'no';
export type Judged = { readonly requirement: Requirement; readonly met: Met; readonly cell: Cell };

export function judge(requirement: Requirement, candidate: Candidate): Judged {
  const cell = cellOf(candidate, requirement.feature);
  return { requirement, met: meets(requirement, cell.value), cell };
}

function meets(requirement: Requirement, value: Value): Met {
  if (value === 'unknown') return 'unknown';
  if (value === 'partly') return 'half';
  if (TESTS[requirement.test](requirement as never, value)) return 'yes';
  return requirement.test === 'advised' ? 'half' : 'no';
}

type Test = Requirement['test'];
type Tests = {
  readonly [T in Test]: (requirement: Extract<Requirement, { test: T }>, value: Value) => boolean;
};

/** Of values that are neither unknown nor in part. */
const TESTS: Tests = {
  able: (_, value) => value === 'yes',
  advised: (_, value) => value === 'yes',
  'at-least': ({ amount }, value) => Number(value) >= amount,
  'at-most': ({ amount }, value) => Number(value) <= amount,
  kernel: ({ release }, value) => isAsNew(release, String(value)),
  without: ({ words }, value) =>
    !String(value)
      .split(/,\s*/)
      .some((word) => words.includes(word)),
};

function isAsNew(release: string, oldest: string): boolean {
  const [major = 0, minor = 0] = release.split(/[.-]/).map(Number);
  const [wantedMajor = 0, wantedMinor = 0] = oldest.split('.').map(Number);
  return major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);
}

const OF_POLICY: Readonly<Record<(typeof POLICIES)[number], readonly Feature[]>> = {
  none: [],
  kubernetes: ['networkPolicy'],
  egress: ['egressPolicy'],
  'port-ranges': ['portRanges'],
  'named-ports': ['namedPorts'],
  cluster: ['clusterPolicy'],
  calico: ['calicoPolicy'],
  cilium: ['ciliumPolicy'],
  host: ['hostPolicy'],
  http: ['httpPolicy'],
  dns: ['dnsPolicy'],
};
/** Answers to the question about policies that name these features. */
export function policyWordsOf(features: ReadonlySet<Feature>): (typeof POLICIES)[number][] {
  return POLICIES.filter((word) => OF_POLICY[word].some((feature) => features.has(feature)));
}

const OF_NEED: Readonly<Record<(typeof NEEDS)[number], Feature>> = {
  kubernetes: 'kubernetesApi',
  bgp: 'bgp',
  encryption: 'encryption',
  multicast: 'multicast',
  'several-clusters': 'severalClusters',
  'no-datastore': 'withoutDatastore',
  'service-proxy': 'serviceProxy',
  'flow-logs': 'flowLogs',
  support: 'support',
  'host-ports': 'hostPorts',
  bandwidth: 'bandwidth',
};
type Platform = (typeof PLATFORMS)[number];
const OF_PLATFORM: Readonly<Record<Platform, Feature>> = {
  'bare-metal': 'onBareMetal',
  aws: 'onAws',
  gcp: 'onGcp',
  azure: 'onAzure',
};
const NODES_OF: Readonly<Partial<Record<Platform, Feature>>> = {
  aws: 'nodesAws',
  gcp: 'nodesGcp',
  azure: 'nodesAzure',
};

const SENTENCES: Readonly<Partial<Record<Feature, string>>> = {
  maintained: 'somebody must maintain it',
  onBareMetal: 'it must run on bare metal',
  onAws: 'it must run on AWS',
  onGcp: 'it must run on Google Cloud',
  onAzure: 'it must run on Azure',
};

function able(id: string, feature: Feature): Requirement {
  return { id, feature, test: 'able', sentence: SENTENCES[feature] ?? `it must have ${titleOf(feature)}` };
}

/** Rancher’s FAQ of 2018: a cluster over distant sites may fall apart, and encapsulation makes latency worse. */
const FAR: Requirement = {
  id: 'subnets',
  feature: 'severalClusters',
  test: 'advised',
  sentence: 'sites far apart are better clusters of their own, joined in one network',
};

export function requirementsOf(answers: Answers): Requirement[] {
  const { policies = [], needs = [], platform, subnets, family, unmaintained } = answers;
  return [
    ...(unmaintained === true ? [] : [able('unmaintained', 'maintained')]),
    ...(platform === undefined ? [] : [able('platform', OF_PLATFORM[platform])]),
    ...(subnets === undefined || subnets === 'one' ? [] : [able('subnets', 'acrossSubnets')]),
    ...(subnets === 'sites' ? [FAR] : []),
    ...(family === 'ipv6' ? [able('family', 'ipv6Only')] : []),
    ...(family === 'dual' ? [able('family', 'dualStack')] : []),
    ...policies.flatMap((word) => OF_POLICY[word].map((feature) => able(`policies.${word}`, feature))),
    ...needs.map((word) => able(`needs.${word}`, OF_NEED[word])),
    ...amounts(answers),
    ...ofHosts(answers),
  ];
}

function amounts({ nodes, podsPerNode, memory, platform }: Answers): Requirement[] {
  const limit = platform === undefined ? undefined : NODES_OF[platform];
  const most = (id: string, feature: Feature, amount: number): Requirement => ({
    id,
    feature,
    test: 'at-least',
    amount,
    sentence: `${titleOf(feature)}: ${amount} are asked for`,
  });
  return [
    ...(nodes === undefined ? [] : [most('nodes', 'nodes', nodes)]),
    ...(nodes === undefined || limit === undefined ? [] : [most('nodes', limit, nodes)]),
    ...(podsPerNode === undefined ? [] : [most('podsPerNode', 'podsPerNode', podsPerNode)]),
    ...(memory === undefined
      ? []
      : [
          {
            id: 'memory',
            feature: 'memoryMiB',
            test: 'at-most',
            amount: memory,
            sentence: `its agent may take ${memory} MiB`,
          } as const,
        ]),
  ];
}

const USUAL_MTU = 1500;

/** What the nodes are like. */
function ofHosts({ kernel, lacks = [], mtu }: Answers): Requirement[] {
  const all: (Requirement | undefined)[] = [
    kernel === undefined
      ? undefined
      : {
          id: 'kernel',
          feature: 'kernel',
          test: 'kernel',
          release: kernel,
          sentence: `it must run on Linux ${kernel}`,
        },
    lacks.length === 0
      ? undefined
      : {
          id: 'lacks',
          feature: 'modules',
          test: 'without',
          words: lacks,
          sentence: `it must do without the kernel modules ${lacks.join(', ')}`,
        },
    mtu === undefined || mtu === USUAL_MTU
      ? undefined
      : {
          id: 'mtu',
          feature: 'mtuDetection',
          test: 'advised',
          sentence: `the MTU between nodes is ${mtu}: who does not find it must be told`,
        },
  ];
  return all.filter((one) => one !== undefined);
}

/** Features on which nobody has said anything ask nothing of most: a limit that is not known is not a lack. */
export const SILENT: ReadonlySet<Feature> = new Set<Feature>([
  'kernel',
  'nodesAws',
  'nodesGcp',
  'nodesAzure',
  'podsPerNode',
  'modules',
  'mtuDetection',
]);

export type Preference = {
  readonly id: string;
  readonly feature: Feature;
  readonly better: 'more' | 'less';
};

const OF_PREFERENCE: Readonly<Record<(typeof PREFERENCES)[number], readonly Preference[]>> = {
  throughput: [{ id: 'throughput', feature: 'throughputGbit', better: 'more' }],
  'encrypted-throughput': [{ id: 'encrypted-throughput', feature: 'encryptedGbit', better: 'more' }],
  memory: [
    // Measured for most, in one place; what agents take by themselves is told of few.
    { id: 'memory', feature: 'benchMemoryMiB', better: 'less' },
    { id: 'memory', feature: 'memoryMiB', better: 'less' },
  ],
  simplicity: [{ id: 'simplicity', feature: 'oneProgram', better: 'more' }],
  'no-encapsulation': [
    { id: 'no-encapsulation', feature: 'cloudNative', better: 'more' },
    { id: 'no-encapsulation', feature: 'unencapsulated', better: 'more' },
  ],
  observability: [{ id: 'observability', feature: 'flowLogs', better: 'more' }],
  size: [{ id: 'size', feature: 'nodes', better: 'more' }],
  support: [{ id: 'support', feature: 'support', better: 'more' }],
  policy: (['networkPolicy', 'clusterPolicy', 'hostPolicy', 'dnsPolicy', 'httpPolicy'] as const).map(
    (feature) => ({
      id: 'policy',
      feature,
      better: 'more',
    }),
  ),
};

export function preferencesOf({ prefer = [] }: Answers): Preference[] {
  return prefer.flatMap((word) => OF_PREFERENCE[word]);
}
