/** Answers that need no asking: what a host shows, and what its agent knows of the cluster. Each with how it is known. */
import type { HostFacts } from '#model/facts.ts';
import type { Manifest } from '#model/manifest.ts';
import { parseAddress } from '#net/address.ts';
import { families } from '#net/per-family.ts';
import { contains, parsePrefix } from '#net/prefix.ts';
import { usesOf } from '../audit/uses.ts';
import type { Answers, Topic } from './answers.ts';
import { policyWordsOf } from './requirements.ts';

export type Seen = {
  readonly answers: Answers;
  /** Of each answer that is there. */
  readonly how: Readonly<Partial<Record<Topic, string>>>;
};

/** What an agent tells of its cluster. */
export type ClusterView = {
  readonly profile: string;
  /** Addresses of each other node. */
  readonly peers: readonly (readonly string[])[];
  /** Prefixes that this node reaches without a router. */
  readonly connected: readonly string[];
  /** Pods of each node that has any. */
  readonly pods: readonly number[];
  readonly manifests: readonly Manifest[];
};

export type One<T extends Topic = Topic> = readonly [topic: T, answer: Answers[T], how: string];

/** The later ones count. */
export function joinSeen(...all: readonly Seen[]): Seen {
  return {
    answers: Object.assign({}, ...all.map(({ answers }) => answers)) as Answers,
    how: Object.assign({}, ...all.map(({ how }) => how)) as Seen['how'],
  };
}

export function seen(all: readonly (One | false | undefined)[]): Seen {
  const there = all.filter((one) => one !== false && one !== undefined);
  return {
    answers: Object.fromEntries(there.map(([topic, answer]) => [topic, answer])),
    how: Object.fromEntries(there.map(([topic, , how]) => [topic, how])),
  };
}

export function seenOnHost(facts: HostFacts): Seen {
  const used = families(facts.settings.ranges);
  return seen([
    ...platformOf(facts.machine),
    ['kernel', facts.kernel.release, 'uname -r'],
    facts.lacking !== undefined && ['lacks', [...facts.lacking], 'modules of this kernel'],
    facts.choice !== undefined && ['mtu', facts.choice.mtu, `link ${facts.choice.link}`],
    used.length === 2 && ['family', 'dual', 'ranges of both families in the settings'],
    used.length === 1 && used[0] === 6 && ['family', 'ipv6', 'no IPv4 range in the settings'],
    presentOf(facts),
  ]);
}

export function seenInCluster({ profile, peers, connected, pods, manifests }: ClusterView): Seen {
  const policies = policiesIn(manifests);
  const most = Math.max(0, ...pods);
  return seen([
    ['nodes', peers.length + 1, 'nodes of the store'],
    most > 0 && ['podsPerNode', most, 'pods of the fullest node'],
    peers.length > 0 &&
      connected.length > 0 && [
        'subnets',
        peers.every((peer) => isNear(peer, connected)) ? 'one' : 'several',
        'addresses of the nodes',
      ],
    ['present', `tartan-${profile}`, 'the agent that answers'],
    policies.length > 0 && ['policies', policies, 'objects of the store'],
  ]);
}

/** `sys_vendor` of DMI. */
const VENDORS: readonly (readonly [RegExp, Answers['platform']])[] = [
  [/^Amazon EC2/, 'aws'],
  [/^Google/, 'gcp'],
  [/^Microsoft Corporation/, 'azure'],
];

function platformOf(machine: HostFacts['machine']): (One | false)[] {
  const platform = VENDORS.find(([vendor]) => vendor.test(machine?.vendor ?? ''))?.[1];
  if (platform === undefined || machine === undefined) return [];
  return [
    ['platform', platform, `DMI: ${machine.vendor}`],
    platform === 'aws' &&
      /^[a-z0-9-]+\.[a-z0-9-]+$/.test(machine.product) && [
        'instance',
        machine.product,
        `DMI: ${machine.product}`,
      ],
  ];
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

function presentOf(facts: HostFacts): One | undefined {
  const names = facts.cniConfigs.filter((name) => name !== facts.ownCniConfig);
  for (const [pattern, provider] of CONFIGURATIONS) {
    const name = names.find((one) => pattern.test(one));
    if (name !== undefined) return ['present', provider, `${facts.settings.cniConf}/${name}`];
  }
  return facts.cniConfigs.length === 0
    ? ['present', 'none', `no CNI configuration in ${facts.settings.cniConf}`]
    : undefined;
}

function isNear(peer: readonly string[], connected: readonly string[]): boolean {
  const prefixes = connected.map(parsePrefix).filter((one) => one !== undefined);
  const addresses = peer.map(parseAddress).filter((one) => one !== undefined);
  return addresses.some((address) => prefixes.some((prefix) => contains(prefix, address)));
}

export function policiesIn(manifests: readonly Manifest[]): NonNullable<Answers['policies']> {
  const features = manifests.flatMap((manifest) => {
    const uses = usesOf(manifest);
    return uses === undefined ? [] : [uses.kind, ...uses.fields.map(({ feature }) => feature)];
  });
  return policyWordsOf(new Set(features.filter((feature) => feature !== undefined)));
}
