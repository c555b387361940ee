/** A node's subnets as Kubernetes gives them: `spec.podCIDRs` of its Node, `spec.podCIDR` of older API servers. */
import type { Problem } from '#model/fault.ts';
import { families, type PerFamily } from '#net/per-family.ts';
import { contains, parsePrefix, type Prefix, prefixFamily } from '#net/prefix.ts';

export type PodCidrs = {
  /** None: the controller manager has not given the node any (yet). */
  readonly subnets: PerFamily<Prefix>;
  readonly problems: readonly Problem[];
};

/** Everything that can be read, and what cannot, each at its path. */
export function readPodCidrs(node: unknown): PodCidrs {
  const { podCIDRs, podCIDR } = fieldsOf(fieldsOf(node)['spec']);
  const isList = Array.isArray(podCIDRs) && podCIDRs.length > 0;
  const given: readonly unknown[] = isList ? podCIDRs : [podCIDR].filter((one) => one);
  const pathOf = (index: number): string => (isList ? `spec.podCIDRs.${index}` : 'spec.podCIDR');
  const problems: Problem[] = [];
  const found: { 4?: Prefix; 6?: Prefix } = {};
  for (const [index, text] of given.entries()) {
    const subnet = typeof text === 'string' ? parsePrefix(text) : undefined;
    const family = subnet && prefixFamily(subnet);
    if (family === undefined)
      problems.push({ path: pathOf(index), message: `must be a prefix, not ${JSON.stringify(text)}` });
    else if (found[family] !== undefined)
      problems.push({ path: pathOf(index), message: `is the second of IPv${family}: there is one a family` });
    else found[family] = subnet as Prefix;
  }
  return { subnets: found, problems };
}

/** Why the node cannot use these subnets, one sentence each: each family of the cluster's needs one, within its range. */
export function podCidrProblems(
  { subnets, problems }: PodCidrs,
  wanted: PerFamily<{ readonly range: Prefix }>,
): string[] {
  const unread = problems.map(({ path, message }) => `${path} ${message}`);
  if (unread.length > 0) return unread;
  return families(wanted).flatMap((family) => {
    const [subnet, range] = [subnets[family], wanted[family]?.range];
    if (subnet === undefined) return [`it has no IPv${family} podCIDR yet`];
    const isInside = range !== undefined && contains(range, subnet);
    return isInside ? [] : [`its podCIDR ${subnet} is outside the cluster’s ${range}`];
  });
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
