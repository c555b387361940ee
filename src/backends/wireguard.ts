/**
 * WireGuard with the kernel's device: one for all peers, and a peer for each node by its public key. What comes in is
 * taken from a node's own subnets only (allowed IPs), and routed pods reach it as with any tunnel.
 */
import type { Item } from '#model/host.ts';
import type { Leg } from '#model/leg.ts';
import { MAIN_TABLE, TRIAL_LINK, WIREGUARD } from '#model/numbers.ts';
import type { NodeAdvert } from '#model/world.ts';
import { deviceMtu, type NetworkBackend, type Self, tunnelFamily } from './backend.ts';
import { planInside } from './inside.ts';
import { ofPort } from './outer.ts';

const LINK = WIREGUARD.link;
/** 32 bytes in base64. */
const KEY = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;

export const wireguard: NetworkBackend = {
  name: 'wireguard',
  title: 'WireGuard',
  carrier: 'wireguard',
  automatic: true,
  seals: () => true,
  advertise({ wireguardKey, settings }) {
    if (wireguardKey === undefined) return {};
    return { wireguard: { publicKey: wireguardKey, port: settings.road.wireguard.port } };
  },
  mismatch,
  outer: ({ road }) => [ofPort(road.wireguard.port)],
  strict: ({ road }) =>
    road.wireguard.strict ? { from: `iifname != "${LINK}"`, to: `oifname != "${LINK}"` } : undefined,
  trial({ wireguardKey: publicKey }) {
    if (publicKey === undefined) return [];
    return [{ kind: 'link', type: 'wireguard', name: TRIAL_LINK, publicKey, port: 0 }];
  },
  planNode(self) {
    const { wireguardKey: publicKey, settings } = self;
    if (publicKey === undefined) return [];
    const { port } = settings.road.wireguard;
    return [
      { kind: 'link', type: 'wireguard', name: LINK, publicKey, port, mtu: deviceMtu(wireguard, self) },
      ...planInside(self, LINK),
    ];
  },
  planLeg(self, leg) {
    const mtu = leg.mtu < deviceMtu(wireguard, self) ? { mtu: leg.mtu } : {};
    const { prefix, metric } = leg;
    return [{ kind: 'route', type: 'unicast', prefix, table: MAIN_TABLE, metric, link: LINK, ...mtu }];
  },
  planPeer,
};

/** A peer that is reached plain may seal what it sends all the same. */
function planPeer(self: Self, node: NodeAdvert, legs: readonly Leg[]): Item[] {
  const endpoint = node.addresses[tunnelFamily(self)];
  if (node.wireguard === undefined || endpoint === undefined) return [];
  const { publicKey, port } = node.wireguard;
  const allowed = legs.map(({ prefix }) => prefix).sort();
  return [{ kind: 'wireguard-peer', link: LINK, publicKey, endpoint, port, allowed }];
}

/** Why the two cannot talk, whatever the family. */
function mismatch(self: Self, node: NodeAdvert): string | undefined {
  if (node.wireguard === undefined) return `${node.name} does not tell its WireGuard key`;
  const { publicKey: theirs, port } = node.wireguard;
  if (!KEY.test(theirs) || !(Number.isInteger(port) && port > 0 && port < 0x1_0000))
    return `${node.name} tells no usable WireGuard key and port`;
  if (self.wireguardKey === undefined) return 'this node has no WireGuard key';
  return theirs === self.wireguardKey ? `${node.name} claims this node’s WireGuard key` : undefined;
}
