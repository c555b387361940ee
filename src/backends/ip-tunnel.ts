/**
 * IP in IP (RFC 2003, RFC 4213, RFC 2473) and GRE (RFC 2784) with a device for each peer: the kernel takes in what comes
 * from that peer and nobody else, keeps each path's MTU, and the five kinds are used alike. With one device for all, as
 * Calico has it, sit, ip6tnl and the two of GRE would each name the peer in a way of its own, and ip6gre in none.
 */
import { fnv1a64 } from '#lib/hash.ts';
import type { Item, TunnelLink } from '#model/host.ts';
import type { Leg } from '#model/leg.ts';
import { ENCAPSULATION, MAIN_TABLE, TRIAL_LINK, TUNNEL_PREFIX } from '#model/numbers.ts';
import type { Settings } from '#model/settings.ts';
import { type Address, address, addressBits, type Family } from '#net/address.ts';
import { families } from '#net/per-family.ts';
import { interfaceAddress, type Prefix, prefixAddress, prefixFamily } from '#net/prefix.ts';
import { type NetworkBackend, type Self, tunnelFamily } from './backend.ts';
import { ofProtocols } from './outer.ts';

type Kind = TunnelLink['type'];
/** Kinds by family of the outer packet, then of the inner one. */
type Kinds = Readonly<Record<Family, Readonly<Record<Family, Kind>>>>;

/** Of one peer and kind; the kind is in the name, because a kernel object cannot change it. */
export function tunnelDevice(kind: Kind | `gue ${Kind}`, remote: Address): string {
  return `${TUNNEL_PREFIX}${fnv1a64(`${kind} ${remote}`).toString(16).padStart(16, '0').slice(0, 9)}`;
}

/** Addresses that nobody has (RFC 5737, RFC 3849). */
const NOBODY = { 4: address('192.0.2.1'), 6: address('2001:db8::1') } as const;

type Form = {
  readonly name: 'ipip' | 'gre' | 'fou';
  readonly title: string;
  readonly kinds: Kinds;
  /** IP protocols of its outer packets. */
  readonly protocols: (settings: Settings) => readonly number[];
  /** UDP port that its packets are wrapped for; absent: they are not. */
  readonly guePort?: (settings: Settings) => number;
};

export function ipTunnel({ name, title, kinds, protocols, guePort }: Form): NetworkBackend {
  const deviceOf = (self: Self, leg: Leg): TunnelLink =>
    makeDevice(self, leg, {
      name,
      kind: kinds[tunnelFamily(self)][prefixFamily(leg.prefix)],
      ...(guePort === undefined ? {} : { guePort: guePort(self.settings) }),
    });
  return {
    name,
    title,
    carrier: name,
    automatic: true,
    outer: (settings) => [ofProtocols(protocols(settings))],
    trial: (self) =>
      families(self.subnets).map((inner) => ({
        ...outerOf(self, name),
        type: kinds[tunnelFamily(self)][inner],
        name: TRIAL_LINK,
        remote: NOBODY[tunnelFamily(self)],
      })),
    prepareLeg: (self, leg) => deviceItems(self, leg, deviceOf(self, leg)),
    planLeg(self, leg) {
      const [{ prefix, metric }, link] = [leg, deviceOf(self, leg).name];
      return [{ kind: 'route', type: 'unicast', prefix, table: MAIN_TABLE, metric, link }];
    },
  };
}

const IPIP_KINDS: Kinds = { 4: { 4: 'ipip', 6: 'sit' }, 6: { 4: 'ip6tnl', 6: 'ip6tnl' } };

/** Of IP in IP to a peer, by family of the outer packet, then of the inner one. */
export function ipipDevice(outer: Family, inner: Family, remote: Address): string {
  return tunnelDevice(IPIP_KINDS[outer][inner], remote);
}

export const IPIP = {
  kinds: IPIP_KINDS,
  protocols: ({ network }) => families(network.subnets).map((inner) => ENCAPSULATION[inner]),
} as const satisfies Pick<Form, 'kinds' | 'protocols'>;

export const ipip = ipTunnel({ name: 'ipip', title: 'IP in IP', ...IPIP });
export const gre = ipTunnel({
  name: 'gre',
  title: 'GRE',
  kinds: { 4: { 4: 'gre', 6: 'gre' }, 6: { 4: 'ip6gre', 6: 'ip6gre' } },
  protocols: () => [ENCAPSULATION.gre],
});

type Shape = { readonly name: Form['name']; readonly kind: Kind; readonly guePort?: number };

/**
 * The kernel tells tunnels by their addresses and link: devices whose packets are wrapped are bound to the underlay's link,
 * so that they may stand beside those that are not.
 */
function makeDevice(self: Self, leg: Leg, of: Shape): TunnelLink {
  const { kind, guePort } = of;
  const name = tunnelDevice(guePort === undefined ? kind : `gue ${kind}`, leg.remote);
  const device = { ...outerOf(self, of.name), type: kind, name, remote: leg.remote, mtu: leg.mtu };
  return guePort === undefined ? device : { ...device, parent: self.underlay.link, guePort };
}

function outerOf(self: Self, road: Form['name']): Pick<TunnelLink, 'kind' | 'local' | 'ttl' | 'tos'> {
  const { ttl, tos } = self.settings.road[road];
  return {
    kind: 'link',
    // The address the host has, never the announced one: behind NAT the latter is no source for packets.
    local: self.underlay.local[tunnelFamily(self)] as Address,
    ttl,
    tos: tos ?? 'inherit',
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
