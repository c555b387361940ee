/**
 * What a flannel cluster keeps in etcd, as ours: `PREFIX/subnets/KEY` holds the lease of a node (flannel
 * pkg/subnet/subnet.go ParseSubnetKey, pkg/lease/lease.go LeaseAttrs, Documentation/reservations.md). PREFIX is
 * /coreos.com/network unless flanneld was told another; PREFIX/config is read by config/net-conf.ts.
 *
 *     10.244.1.0-24                     {"PublicIP":"192.168.64.3","PublicIPv6":null,"BackendType":"vxlan",
 *     10.244.1.0-24&fd00:1::-64          "BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}
 *
 * A key without an etcd lease is a reservation. Nodes are known by their public addresses only.
 */
import type { Problem } from '#model/fault.ts';
import type { SubnetClaim } from '#model/world.ts';
import { type Address, addressFamily, parseAddress } from '#net/address.ts';
import { type Mac, parseMac } from '#net/mac.ts';
import { families, familyValues, type PerFamily, perFamily } from '#net/per-family.ts';
import { parsePrefix, type Prefix, prefixFamily } from '#net/prefix.ts';
import { claimName } from './subnet.ts';

export const FLANNEL_PREFIX = '/coreos.com/network';

/** A key below PREFIX/subnets/, as etcd has it. */
export type FlannelEntry = { readonly key: string; readonly value: string; readonly isLeased: boolean };

export type FlannelLease = {
  readonly subnets: PerFamily<Prefix>;
  /** Where peers send to. */
  readonly addresses: PerFamily<Address>;
  /** flannel's name of the road; absent in a reservation that an operator wrote. */
  readonly backend?: string;
  /** By the family of the inner packet. */
  readonly vtep: PerFamily<{ readonly vni: number; readonly mac: Mac }>;
  readonly reserved: boolean;
};

export type FlannelState = {
  readonly leases: readonly FlannelLease[];
  readonly problems: readonly Problem[];
};

/** Everything that can be read, and what cannot, each at its key. */
export function readFlannelLeases(entries: readonly FlannelEntry[]): FlannelState {
  const read = entries.map((entry) => readLease(entry));
  return {
    leases: read.filter((each) => 'subnets' in each),
    problems: read.flatMap((each) => ('subnets' in each ? [] : each)),
  };
}

/**
 * The claims that the leases are, under the names that our store has them by. `nodeOf` knows a node by an address of its
 * own; a lease of an unknown one is a problem, as its subnet would be given to somebody else.
 */
export function claimsOfLeases(
  leases: readonly FlannelLease[],
  nodeOf: (address: Address) => string | undefined,
): { readonly claims: ReadonlyMap<string, SubnetClaim>; readonly problems: readonly Problem[] } {
  const claims = new Map<string, SubnetClaim>();
  const problems: Problem[] = [];
  for (const { subnets, addresses, reserved } of leases) {
    const known = familyValues(addresses);
    const node = known.map(nodeOf).find((name) => name !== undefined);
    const path = familyValues(subnets).map(claimName).join('&');
    if (node === undefined)
      problems.push({ path, message: `no node is known with the address ${known.join(' or ')}` });
    else
      for (const subnet of familyValues(subnets)) claims.set(claimName(subnet), { node, subnet, reserved });
  }
  return { claims, problems };
}

function readLease({ key, value, isLeased }: FlannelEntry): FlannelLease | Problem[] {
  const problems: Problem[] = [];
  const subnets = readSubnets(key.slice(key.lastIndexOf('/') + 1));
  if (subnets === undefined) {
    const message = 'is not a subnet as flannel writes it: 10.244.1.0-24, or 10.244.1.0-24&fd00:1::-64';
    problems.push({ path: key, message });
  }
  const attributes = readFields(value);
  const addresses = attributes === undefined ? {} : readAddresses(attributes, key, problems);
  if (attributes === undefined) problems.push({ path: key, message: 'is not a JSON object' });
  if (subnets === undefined || attributes === undefined || problems.length > 0) return problems;
  const { backendtype, backenddata, backendv6data } = attributes;
  const vtep = perFamily((family) => readVtep(family === 4 ? backenddata : backendv6data));
  const backend = typeof backendtype === 'string' && backendtype !== '' ? { backend: backendtype } : {};
  return { subnets, addresses, ...backend, vtep, reserved: !isLeased };
}

function readSubnets(name: string): PerFamily<Prefix> | undefined {
  const parts = name.split('&').map((part) => parsePrefix(part.replace(/-(\d+)$/, '/$1')));
  const [first, second] = parts;
  if (parts.length > 2 || first === undefined || prefixFamily(first) !== 4) return undefined;
  if (parts.length === 1) return { 4: first };
  return second !== undefined && prefixFamily(second) === 6 ? { 4: first, 6: second } : undefined;
}

/** Keys whatever their case, as Go's decoder takes them. */
export function readFields(text: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return lowerKeys(value);
  } catch {
    return undefined;
  }
}

function lowerKeys(value: unknown): Readonly<Record<string, unknown>> | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return undefined;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key.toLowerCase(), inner]));
}

/** Zero is Go's “not given”. */
const ABSENT: ReadonlySet<unknown> = new Set([undefined, null, '', '0.0.0.0']);
const PUBLIC = { 4: 'PublicIP', 6: 'PublicIPv6' } as const;

/** At least one, as nodes are known by nothing else. */
function readAddresses(
  attributes: Readonly<Record<string, unknown>>,
  key: string,
  problems: Problem[],
): PerFamily<Address> {
  const before = problems.length;
  const addresses = perFamily((family) => {
    const value = attributes[PUBLIC[family].toLowerCase()];
    if (ABSENT.has(value)) return undefined;
    const address = typeof value === 'string' ? parseAddress(value) : undefined;
    if (address !== undefined && addressFamily(address) === family) return address;
    const message = `must be an IPv${family} address, not ${JSON.stringify(value)}`;
    problems.push({ path: `${key} ${PUBLIC[family]}`, message });
    return undefined;
  });
  if (problems.length === before && families(addresses).length === 0)
    problems.push({ path: `${key} ${PUBLIC[4]}`, message: 'is missing' });
  return addresses;
}

export function readVtep(value: unknown): { readonly vni: number; readonly mac: Mac } | undefined {
  const { vni, vtepmac } = lowerKeys(value) ?? {};
  const mac = typeof vtepmac === 'string' ? parseMac(vtepmac) : undefined;
  return typeof vni === 'number' && mac !== undefined ? { vni, mac } : undefined;
}
