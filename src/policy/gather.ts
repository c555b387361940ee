/**
 * Objects of many sources as one. What has the same kind and name as something before it is a problem and left out;
 * policies are compared when they become a book. Host endpoints have the labels of their profiles.
 */
import type { Problem } from '#model/fault.ts';
import type { Profile, Tier } from '#model/policy.ts';
import type { HostEndpoint, Labels, NetworkSet, Pod } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import type { Objects } from './frontends/frontend.ts';

/** Objects by the file or key that they came from, which problems begin with. */
export function gatherObjects(
  parts: ReadonlyMap<string, Objects>,
): Objects & { readonly problems: readonly Problem[] } {
  const problems: Problem[] = [];
  const first = new Map<string, string>();
  const only = <T>(pick: (part: Objects) => readonly T[], nameOf: (each: T) => string): T[] =>
    [...parts].flatMap(([source, part]) =>
      pick(part).filter((each) => {
        const name = nameOf(each);
        const other = first.get(name);
        if (other === undefined) first.set(name, source);
        else problems.push({ path: source, message: `${name} is also in ${other}` });
        return other === undefined;
      }),
    );
  const tiers = only<Tier>(
    (part) => part.tiers,
    ({ name }) => `Tier ${name}`,
  );
  const profiles = only<Profile>(
    (part) => part.profiles,
    ({ name }) => `Profile ${name}`,
  );
  const endpoints = only<HostEndpoint | NetworkSet>((part) => part.endpoints, objectName);
  const policies = [...parts.values()].flatMap((part) => part.policies);
  const byName = new Map(profiles.map((profile) => [profile.name, profile]));
  const labelled = endpoints.map((each) => (each.kind === 'host' ? inheritLabels(each, byName) : each));
  return { policies, tiers, profiles, endpoints: labelled, problems };
}

/** With the labels of its profiles: its own stand, then those of the first profile that has one. */
export function inheritLabels<E extends Pod | HostEndpoint>(
  endpoint: E,
  profiles: ReadonlyMap<string, Profile>,
): E {
  const inherited = (endpoint.profiles ?? []).map((name): Labels => profiles.get(name)?.labels ?? {});
  const labels: Labels = Object.assign({}, ...inherited.toReversed(), endpoint.labels);
  return { ...endpoint, labels };
}

/** Host endpoints of the node that told only addresses get the interface of the first that `linkOf` knows. */
export function findInterfaces<E extends HostEndpoint | NetworkSet>(
  endpoints: readonly E[],
  node: string,
  linkOf: (address: Address) => string | undefined,
): E[] {
  return endpoints.map((each) => {
    if (each.kind !== 'host' || each.node !== node || each.interface !== '') return each;
    const link = each.addresses.map(linkOf).find((found) => found !== undefined);
    return { ...each, interface: link ?? '' };
  });
}

/** Kind and name, as readers know it. */
export function objectName(endpoint: HostEndpoint | NetworkSet): string {
  if (endpoint.kind === 'host') return `HostEndpoint ${endpoint.name}`;
  const { namespace, name } = endpoint;
  return namespace === undefined ? `GlobalNetworkSet ${name}` : `NetworkSet ${namespace}/${name}`;
}
