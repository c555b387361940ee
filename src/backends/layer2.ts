/**
 * One Ethernet segment over all nodes: each node's bridge has a VXLAN device as a port, with all peers behind it. Nothing
 * is learned from the wire: where the stations of a peer are (its pods and its bridge) is known from what it tells, and
 * questions for them are answered by the bridge that they are asked on. Broadcast, multicast and what nobody knows yet
 * goes to each peer once. What comes from a peer never goes to another one, so there are no loops
 * (docs/decisions/0013-layer2.md).
 */
import type { Item } from '#model/host.ts';
import type { Leg } from '#model/leg.ts';
import { MAIN_TABLE, METRIC } from '#model/numbers.ts';
import type { SubnetSettings } from '#model/settings.ts';
import type { NodeAdvert, Station } from '#model/world.ts';
import type { Address } from '#net/address.ts';
import { isUnicastMac, mac } from '#net/mac.ts';
import { families, familyValues } from '#net/per-family.ts';
import { contains, hostPrefix } from '#net/prefix.ts';
import { bridgeMac, hasBridge, type NetworkBackend, type Self } from './backend.ts';
import { connectedPrefix } from './interface.ts';
import { ofPort } from './outer.ts';
import { vtepMac, vxlanDevice, vxlanLink } from './vxlan.ts';

/** The entry for frames to everybody, and to nobody that is known. */
const EVERYBODY = mac('00:00:00:00:00:00');

export const layer2: NetworkBackend = {
  name: 'layer2',
  title: 'layer 2 over VXLAN',
  carrier: 'layer2',
  advertise: (self) => (whyNot(self) === undefined ? { layer2: self.settings.road.layer2 } : {}),
  mismatch,
  outer: ({ road: { layer2: own } }) => [ofPort(own.port, ` @th,96,24 ${own.vni}`)],
  segmentPort: ({ road }) => vxlanDevice(road.layer2.vni),
  planNode: (self) => (whyNot(self) === undefined ? [deviceOf(self), ...onLink(self)] : []),
  planPeer,
};

/** Settings refuse it too; but a cluster may be told to change its road whatever they say. */
function whyNot(self: Self): string | undefined {
  if (!hasBridge(self)) return 'this node has no bridge to be a part of the segment';
  if (!self.settings.policy.enforce) return undefined;
  return 'this node enforces policies, which frames between pods of a segment would pass by';
}

function mismatch(self: Self, node: NodeAdvert): string | undefined {
  const { layer2: mine } = self.settings.road;
  const why = whyNot(self);
  if (why !== undefined) return why;
  if (node.layer2 === undefined) return `${node.name} does not tell its segment`;
  const { vni, port } = node.layer2;
  if (vni !== mine.vni) return `${node.name} has VNI ${vni}, this node ${mine.vni}`;
  if (port !== mine.port) return `${node.name} has VXLAN port ${port}, this node ${mine.port}`;
  return undefined;
}

/** Its own MAC address is on no frame: the bridge’s and the pods’ are. */
function deviceOf(self: Self): Item {
  const { vni, port } = self.settings.road.layer2;
  return vxlanLink(self, layer2, {
    vni,
    port,
    learning: false,
    gbp: false,
    mac: vtepMac(self.name, vni),
    master: self.settings.wiring.bridge.name,
    notesSources: false,
    answersNeighbors: true,
  });
}

/** The whole range is on the bridge's link, for the node as for its pods. */
function onLink({ settings: { network, wiring } }: Self): Item[] {
  const link = wiring.bridge.name;
  return families(network.subnets).map((family): Item => {
    const prefix = (network.subnets[family] as SubnetSettings).range;
    return { kind: 'route', type: 'unicast', prefix, table: MAIN_TABLE, metric: METRIC.peer, link };
  });
}

/** Pods whose addresses are not of the peer's subnets (another IPAM plugin's) are found by asking everybody. */
function planPeer(self: Self, node: NodeAdvert, legs: readonly Leg[]): Item[] {
  const link = vxlanDevice(self.settings.road.layer2.vni);
  const bridge = self.settings.wiring.bridge.name;
  const [{ remote } = {}] = legs;
  if (remote === undefined) return [];
  const stations = [ownStation(node), ...(node.layer2?.stations ?? [])];
  return [
    { kind: 'fdb', link, mac: EVERYBODY, remote },
    ...narrowWay(self, node, remote),
    ...stations
      .filter((station) => isUnicastMac(station.mac))
      .flatMap((station): Item[] => {
        const known = station.addresses.filter((ip) => legs.some(({ prefix }) => contains(prefix, ip)));
        if (known.length === 0) return [];
        return [
          { kind: 'fdb', link, mac: station.mac, remote },
          { kind: 'station', link, mac: station.mac },
          ...known.map((address): Item => ({ kind: 'neighbor', link: bridge, address, mac: station.mac })),
        ];
      }),
  ];
}

/** The peer's bridge, which is its pods' gateway. */
function ownStation(node: NodeAdvert): Station {
  return { mac: bridgeMac(node.name), addresses: familyValues(node.inside ?? {}) };
}

/**
 * To a neighbour with a smaller MTU no router is on the way that could say so: this route does, and the kernel tells pods
 * whose packets are too big as a router would.
 */
function narrowWay({ underlay }: Self, node: NodeAdvert, remote: Address): Item[] {
  if (node.mtu >= underlay.mtu || connectedPrefix(underlay, remote) === undefined) return [];
  const { link } = underlay;
  const [prefix, mtu] = [hostPrefix(remote), node.mtu];
  return [{ kind: 'route', type: 'unicast', prefix, table: MAIN_TABLE, metric: METRIC.peer, link, mtu }];
}
