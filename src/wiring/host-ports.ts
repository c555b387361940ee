/** Host ports as elements of the table's maps, and what stands in their way. */
import type { Attachment, PortMapping } from '#model/attachment.ts';
import type { Problem } from '#model/fault.ts';
import type { NftElementItem } from '#model/host.ts';
import { type Address, addressFamily, FAMILIES, type Family } from '#net/address.ts';
import { prefixAddress } from '#net/prefix.ts';

/** One family's share of a mapping; without `ip` it is every address of the host. */
type Claim = {
  readonly family: Family;
  readonly ip?: Address;
  readonly mapping: PortMapping;
};

type Owner = Pick<Attachment, 'addresses' | 'portMappings'>;

/** A hostIP of 0.0.0.0 or :: is every address of its family; none at all is every address of both. */
function claimsOf(owner: Owner): Claim[] {
  return owner.portMappings.flatMap((mapping) => {
    const { hostIp } = mapping;
    return FAMILIES.filter((family) => podAddress(owner, family) !== undefined).flatMap((family): Claim[] => {
      if (hostIp === undefined) return [{ family, mapping }];
      if (addressFamily(hostIp) !== family) return [];
      return [isUnspecified(hostIp) ? { family, mapping } : { family, mapping, ip: hostIp }];
    });
  });
}

const isUnspecified = (ip: Address): boolean => ip === '0.0.0.0' || ip === '::';

/** Connections are led to the pod's first address of the family. */
function podAddress(owner: Pick<Attachment, 'addresses'>, family: Family): Address | undefined {
  return owner.addresses.map(prefixAddress).find((ip) => addressFamily(ip) === family);
}

export function planHostPorts(owner: Owner): NftElementItem[] {
  return claimsOf(owner).flatMap(({ family, ip, mapping }): NftElementItem[] => {
    const pod = podAddress(owner, family);
    if (pod === undefined) return [];
    const target = { kind: 'nft-element', data: [pod, String(mapping.containerPort)] } as const;
    const port = [mapping.protocol, String(mapping.hostPort)];
    if (ip === undefined) return [{ ...target, set: family === 4 ? 'hostports4' : 'hostports6', key: port }];
    return [{ ...target, set: family === 4 ? 'hostipports4' : 'hostipports6', key: [ip, ...port] }];
  });
}

/**
 * Why the wanted mappings cannot be had: taken by another attachment, named twice with different ends, or asked for a
 * family that the pod has no address of. `others` must not contain the attachment itself.
 */
export function findHostPortConflicts(wanted: Owner, others: readonly Attachment[]): Problem[] {
  const claims = claimsOf(wanted);
  const own = claims.map((claim): Held => ({ claim }));
  const taken = groupByPort(others.flatMap((owner) => claimsOf(owner).map((claim) => ({ claim, owner }))));
  const byOthers = claims.flatMap((claim) => {
    const found = taken.get(portOf(claim))?.find((held) => sameAddress(held.claim, claim));
    return found?.owner === undefined ? [] : [{ claim, by: `is taken by ${ownerText(found.owner)}` }];
  });
  const byItself = [...groupByPort(own).values()].flatMap((sharing) =>
    sharing
      .filter(({ claim }, index) =>
        sharing
          .slice(0, index)
          .some((earlier) => sameAddress(earlier.claim, claim) && !sameEnd(earlier.claim, claim)),
      )
      .map(({ claim }) => ({ claim, by: 'is asked for twice, with different container ports' })),
  );
  const conflicts = [...byOthers, ...byItself].map(({ claim, by }) => ({
    path: pathOf(wanted, claim.mapping),
    message: `${claimText(claim)} ${by}`,
  }));
  return [...conflicts, ...unserved(wanted, claims)];
}

/** A claim and, where it is not the wanted attachment's own, who has it. */
type Held = { readonly claim: Claim; readonly owner?: Attachment };

const portOf = ({ family, mapping }: Claim): string => `${family} ${mapping.protocol} ${mapping.hostPort}`;

/** Only claims of one port can stand in each other's way: pods with thousands of them are compared in no time. */
function groupByPort(held: readonly Held[]): Map<string, Held[]> {
  return Map.groupBy(held, ({ claim }) => portOf(claim));
}

const sameAddress = (a: Claim, b: Claim): boolean =>
  a.ip === undefined || b.ip === undefined || a.ip === b.ip;

const sameEnd = (a: Claim, b: Claim): boolean => a.mapping.containerPort === b.mapping.containerPort;

function unserved(wanted: Owner, claims: readonly Claim[]): Problem[] {
  const served = new Set(claims.map((claim) => claim.mapping));
  return wanted.portMappings
    .filter((mapping) => !served.has(mapping))
    .map((mapping) => ({
      path: pathOf(wanted, mapping),
      message: `the pod has no address of the family of hostIP ${mapping.hostIp}`,
    }));
}

function pathOf(wanted: Owner, mapping: PortMapping): string {
  return `runtimeConfig.portMappings[${wanted.portMappings.indexOf(mapping)}]`;
}

function claimText({ family, ip, mapping }: Claim): string {
  return `${mapping.protocol} port ${mapping.hostPort} of ${ip ?? `every IPv${family} address`}`;
}

function ownerText({ pod, containerId, ifname }: Attachment): string {
  return pod === undefined ? `${containerId}/${ifname}` : `pod ${pod.namespace}/${pod.name}`;
}
