/**
 * IP in IP (RFC 2003, RFC 4213, RFC 2473) and GRE (RFC 2784) with a device for each peer: the kernel takes in what comes
 * from that peer and nobody else, keeps each path's MTU, and the five kinds are used alike. With one device for all, as
 * Calico has it, sit, ip6tnl and the two of GRE would each name the peer in a way of its own, and ip6gre in none.
 */
import { fnv1a64 } from '#lib/hash.ts';
import type { Item, TunnelLink } from '#model/host.ts';
import type { Leg } from '#model/leg.ts';
import { ENCAPSULATION, MAIN_TABLE, TUNNEL_PREFIX } from '#model/numbers.ts';
import type { Settings } from '#model/settings.ts';
import { type Address, addressBits, type Family } from '#net/address.ts';
import { families } from '#net/per-family.ts';
import { interfaceAddress, type Prefix, prefixAddress, prefixFamily } from '#net/prefix.ts';
import { type NetworkBackend, type Self, tunnelFamily } from './backend.ts';
import { ofProtocols } from './outer.ts';

type Kind = TunnelLink['type'];
/** Kinds by family of the outer packet, then of the inner one. */
type Kinds = Readonly<Record<Family, Readonly<Record<Family, Kind>>>>;

/** Of one peer and kind; the kind is in the name, because a kernel object cannot change it. */
export function tunnelDevice(kind: Kind, remote: Address): string {
  return `${TUNNEL_PREFIX}${fnv1a64(`${kind} ${remote}`).toString(16).padStart(16, '0').slice(0, 9)}`;
}

type Form = {
  readonly name: 'ipip' | 'gre';
  readonly title: string;
  readonly kinds: Kinds;
  /** IP protocols of its outer packets. */
  readonly protocols: (settings: Settings) => readonly number[];
};

function ipTunnel({ name, title, kinds, protocols }: Form): NetworkBackend {
  const deviceOf = (self: Self, leg: Leg): TunnelLink =>
    makeDevice(self, leg, { name, kind: kinds[tunnelFamily(self)][prefixFamily(leg.prefix)] });
  return {
    name,
    title,
    carrier: name,
    outer: (settings) => [ofProtocols(protocols(settings))],
    prepareLeg: (self, leg) => deviceItems(self, leg, deviceOf(self, leg)),
    planLeg(self, leg) {
      const [{ prefix, metric }, link] = [leg, deviceOf(self, leg).name];
      return [{ kind: 'route', type: 'unicast', prefix, table: MAIN_TABLE, metric, link }];
    },
  };
}

export const ipip = ipTunnel({
  name: 'ipip',
  title: 'IP in IP',
  kinds: { 4: { 4: 'ipip', 6: 'sit' }, 6: { 4: 'ip6tnl', 6: 'ip6tnl' } },
  protocols: ({ network }) => families(network.subnets).map((inner) => ENCAPSULATION[inner]),
});
export const gre = ipTunnel({
  name: 'gre',
  title: 'GRE',
  kinds: { 4: { 4: 'gre', 6: 'gre' }, 6: { 4: 'ip6gre', 6: 'ip6gre' } },
  protocols: () => [ENCAPSULATION.gre],
});

function makeDevice(self: Self, leg: Leg, of: { name: 'ipip' | 'gre'; kind: Kind }): TunnelLink {
  const { ttl, tos } = self.settings.road[of.name];
  return {
    kind: 'link',
    type: of.kind,
    name: tunnelDevice(of.kind, leg.remote),
    // The address the host has, never the announced one: behind NAT the latter is no source for packets.
    local: self.underlay.local[tunnelFamily(self)] as Address,
    remote: leg.remote,
    ttl,
    tos: tos ?? 'inherit',
    mtu: leg.mtu,
  };
}

/** The node's address in the tunnel is its subnet's network address, as with VXLAN, on each of the devices. */
function deviceItems(self: Self, leg: Leg, device: TunnelLink): Item[] {
  const family = prefixFamily(leg.prefix);
  const link = device.name;
  const own = prefixAddress(self.subnets[family] as Prefix);
  const address = interfaceAddress(own, addressBits(family));
  return [
    device,
    { kind: 'address', link, address, ...(family === 6 ? { nodad: true } : {}) },
    family === 6
      ? { kind: 'sysctl', key: `net/ipv6/conf/${link}/accept_ra`, value: '0' }
      : // Loose: while a road changes, a peer's packets may still come by the old one.
        { kind: 'sysctl', key: `net/ipv4/conf/${link}/rp_filter`, value: '2' },
  ];
}
