/**
 * Nodes of flannel's as peers of ours, and ours as nodes of flannel's, by leases in etcd: while a cluster moves node by node,
 * each side finds the other where it looks. ./flannel-node.ts is the same for annotations.
 */
import type { NodeAdvert, SubnetClaim } from '#model/world.ts';
import type { Address } from '#net/address.ts';
import { familyValues, type PerFamily, perFamily } from '#net/per-family.ts';
import type { FlannelLease } from './flannel-lease.ts';
import { claimName } from './subnet.ts';

export type PeerQuestion = {
  /** Addresses of nodes that tell of themselves, this one among them: their leases are ours to keep. */
  readonly known: ReadonlySet<Address>;
  /** What leases do not tell: all nodes have the same. */
  readonly vxlanPort: number;
};

/** By names that no node has. A lease without data (a reservation) is nobody's yet. */
export function peersOfLeases(
  leases: readonly FlannelLease[],
  { known, vxlanPort: port }: PeerQuestion,
): Map<string, NodeAdvert> {
  const peers = new Map<string, NodeAdvert>();
  for (const { addresses, subnets, backend, vtep } of leases) {
    const own = familyValues(addresses);
    if (own.some((address) => known.has(address)) || !isShared(backend)) continue;
    const [first] = familyValues(vtep);
    if (backend === 'vxlan' && (first === undefined || vtep[4] === undefined)) continue;
    const spoken =
      backend === 'vxlan'
        ? { vxlan: { vni: first?.vni ?? 0, port, mac: perFamily((family) => vtep[family]?.mac) } }
        : {};
    const name = flannelName(addresses);
    // Its MTU is not told: this node's own counts then.
    const advert = { name, addresses, subnets, road: backend, accepts: [backend], mtu: 65_535, ready: true };
    peers.set(name, { ...advert, ...spoken });
  }
  return peers;
}

/** No node of ours takes a subnet that flannel gave. */
export function claimsOfPeers(leases: readonly FlannelLease[], known: ReadonlySet<Address>): SubnetClaim[] {
  return leases
    .filter(({ addresses }) => !familyValues(addresses).some((address) => known.has(address)))
    .flatMap(({ addresses, subnets }) =>
      familyValues(subnets).map((subnet) => ({ node: flannelName(addresses), subnet, reserved: true })),
    );
}

function flannelName(addresses: PerFamily<Address>): string {
  return `flannel ${familyValues(addresses).join(' ')}`;
}

function isShared(backend: string | undefined): backend is 'vxlan' | 'host-gw' {
  return backend === 'vxlan' || backend === 'host-gw';
}

/**
 * The lease by which flannel's nodes reach this one: the last part of its key, and its value in Go's spelling. Undefined where
 * they could not: by another road, or without IPv4, by which flannel knows nodes.
 */
export function leaseOfAdvert(
  advert: NodeAdvert,
): { readonly key: string; readonly value: string } | undefined {
  const { road, addresses, subnets } = advert;
  if (!isShared(road) || addresses[4] === undefined || subnets[4] === undefined) return undefined;
  const data = dataOf(advert);
  if (data === undefined) return undefined;
  const value = {
    PublicIP: addresses[4],
    PublicIPv6: subnets[6] === undefined ? null : (addresses[6] ?? null),
    BackendType: road,
    // Go leaves out what is nil.
    ...(data === null ? {} : { BackendData: data }),
  };
  return { key: familyValues(subnets).map(claimName).join('&'), value: JSON.stringify(value) };
}

/** Undefined: what flannel needs to know is missing. */
function dataOf({ road, vxlan }: NodeAdvert): object | null | undefined {
  if (road !== 'vxlan') return null;
  const mac = vxlan?.mac[4];
  return mac === undefined ? undefined : { VNI: vxlan?.vni, VtepMAC: mac };
}
