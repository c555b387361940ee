/** One session as a node holds it: what the rules, the mesh and both ends come to. */
import type { Community, RoutingNode, SessionTraits } from '#model/routing.ts';
import { type Address, addressFamily, type Family } from '#net/address.ts';

export type Session = SessionTraits & {
  /** A symbol of BIRD, the same as long as the peer is. */
  readonly name: string;
  readonly title: string;
  readonly family: Family;
  readonly local: { readonly as: number; readonly address?: Address };
  readonly remote: { readonly as: number; readonly address: Address; readonly port: number };
  /** Of another AS. */
  readonly external: boolean;
  /** With another node of the cluster. */
  readonly inside: boolean;
  /** Waits for the other end to connect. */
  readonly passive: boolean;
  /** The other end is a client of this reflector. */
  readonly clusterId?: Address;
  readonly prepend: readonly number[];
  readonly communities: readonly Community[];
};

export type SessionKind = 'mesh' | 'node' | 'peer';

/** Distinct for distinct ends: addresses have no `_`, and IPv4 has no `:`. */
export function sessionName(kind: SessionKind, address: Address, port?: number): string {
  const place = address.replaceAll(/[.:]/g, '_');
  return `${kind}${addressFamily(address)}_${place}${port === undefined ? '' : `_port_${port}`}`;
}

/** RFC 4456: to a client, or to whoever is in another cluster, a server passes on what it learned inside the AS. */
export function reflectsTo(self: RoutingNode, other: RoutingNode | undefined): Address | undefined {
  if (self.reflector?.role !== 'server') return undefined;
  const { clusterId } = self.reflector;
  const sameServers = other?.reflector?.role === 'server' && other.reflector.clusterId === clusterId;
  return sameServers ? undefined : clusterId;
}
