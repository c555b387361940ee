/** Answers that need no asking because the objects of a Kubernetes cluster give them. Each with how it is known. */
import { isFields } from '#model/manifest-shapes.ts';
import type { Manifest } from '#model/manifest.ts';
import { parsePrefix, prefixFamily } from '#net/prefix.ts';
import type { Answers } from './answers.ts';
import { type One, policiesIn, type Seen, seen } from './seen.ts';

type Fields = Readonly<Record<string, unknown>>;
type Kernel = readonly [release: string, numbers: readonly number[]];

export function seenInApi(manifests: readonly Manifest[]): Seen {
  const objects = manifests.map(({ value }) => value).filter(isFields);
  const nodes = objects.filter((each) => each['kind'] === 'Node' && each['apiVersion'] === 'v1');
  if (nodes.length === 0) return seen([]);
  const policies = policiesIn(manifests);
  return seen([
    ['nodes', nodes.length, 'Nodes of the API server'],
    ...platformOf(nodes),
    podsPerNode(objects),
    familyOf(nodes),
    kernelOf(nodes),
    presentOf(objects, nodes),
    policies.length > 0 && ['policies', policies, 'objects of the API server'],
  ]);
}

function at(value: unknown, ...path: readonly string[]): unknown {
  return path.reduce<unknown>((inner, name) => (isFields(inner) ? inner[name] : undefined), value);
}

const PROVIDER_IDS: readonly (readonly [prefix: string, platform: NonNullable<Answers['platform']>])[] = [
  ['aws://', 'aws'],
  ['gce://', 'gcp'],
  ['azure://', 'azure'],
];

/** Where all nodes are alike. */
function platformOf(nodes: readonly Fields[]): (One | undefined)[] {
  const ids = nodes.map((node) => at(node, 'spec', 'providerID'));
  const found = PROVIDER_IDS.find(([prefix]) =>
    ids.every((id) => typeof id === 'string' && id.startsWith(prefix)),
  );
  if (found === undefined) return [];
  const [prefix, platform] = found;
  const types = new Set(
    nodes.map((node) => at(node, 'metadata', 'labels', 'node.kubernetes.io/instance-type')),
  );
  const [type] = types;
  const isOne = platform === 'aws' && types.size === 1 && typeof type === 'string';
  return [
    ['platform', platform, `providerID ${prefix}…`],
    isOne ? ['instance', type, 'label node.kubernetes.io/instance-type'] : undefined,
  ];
}

/** Those that have the node's own addresses need none. */
function podsPerNode(objects: readonly Fields[]): One | undefined {
  const counts = new Map<unknown, number>();
  for (const pod of objects) {
    const node = at(pod, 'spec', 'nodeName');
    if (pod['kind'] !== 'Pod' || node === undefined || node === '' || at(pod, 'spec', 'hostNetwork') === true)
      continue;
    counts.set(node, (counts.get(node) ?? 0) + 1);
  }
  return counts.size === 0
    ? undefined
    : ['podsPerNode', Math.max(...counts.values()), 'pods of the fullest node'];
}

function familyOf(nodes: readonly Fields[]): One | undefined {
  const families = new Set(
    nodes.flatMap((node) => {
      const prefixes = [at(node, 'spec', 'podCIDRs')].flat().map((text) => parsePrefix(String(text)));
      return prefixes.flatMap((prefix) => (prefix === undefined ? [] : [prefixFamily(prefix)]));
    }),
  );
  if (families.size === 2) return ['family', 'dual', 'podCIDRs of both families'];
  return families.has(6) ? ['family', 'ipv6', 'podCIDRs of IPv6 alone'] : undefined;
}

function kernelOf(nodes: readonly Fields[]): One | undefined {
  const kernels = nodes.flatMap((node): Kernel[] => {
    const release = at(node, 'status', 'nodeInfo', 'kernelVersion');
    const numbers = typeof release === 'string' ? /^(\d+)\.(\d+)/.exec(release) : null;
    return numbers === null ? [] : [[numbers.input, numbers.slice(1, 3).map(Number)]];
  });
  const [oldest] = kernels.toSorted(([, [a1 = 0, a2 = 0]], [, [b1 = 0, b2 = 0]]) => a1 - b1 || a2 - b2);
  return oldest === undefined ? undefined : ['kernel', oldest[0], 'the oldest kernelVersion of a Node'];
}

/** Names of the DaemonSets by which providers are installed, as their own manifests have them; the first that is there. */
const DAEMON_SETS: readonly (readonly [name: RegExp, provider: string])[] = [
  [/^canal$/, 'canal'],
  [/^calico-node$/, 'calico'],
  [/^cilium$/, 'cilium'],
  [/^kube-flannel/, 'flannel'],
  [/^weave-net$/, 'weave'],
  [/^kube-router$/, 'kube-router'],
  [/^aws-node$/, 'aws-vpc-cni'],
  [/^romana-agent$/, 'romana'],
  [/^kopeio-networking-agent$/, 'kopeio'],
];

function presentOf(objects: readonly Fields[], nodes: readonly Fields[]): One | undefined {
  const names = objects
    .filter((each) => each['kind'] === 'DaemonSet')
    .map((each) => String(at(each, 'metadata', 'name')));
  for (const [pattern, provider] of DAEMON_SETS) {
    const name = names.find((one) => pattern.test(one));
    if (name !== undefined) return ['present', provider, `DaemonSet ${name}`];
  }
  const annotated = nodes.some((node) =>
    Object.keys(at(node, 'metadata', 'annotations') ?? {}).some((key) => key.startsWith('flannel.alpha.')),
  );
  return annotated ? ['present', 'flannel', 'annotations of Nodes'] : undefined;
}
