/**
 * BGP: BIRD tells the other nodes of this node's pods, and writes the routes to theirs, so there is none to plan here. Plain,
 * packets go wherever the routes lead, by way of routers that know pods' routes too; in `bgp-ipip` BIRD's routes to nodes that
 * are not near lead into devices of IP in IP, which are made here.
 */
import type { Address, Family } from '#net/address.ts';
import { type NetworkBackend, type Self, tunnelFamily } from './backend.ts';
import { ipip, ipipDevice } from './ip-tunnel.ts';

const advertise: NetworkBackend['advertise'] = ({ settings }) => ({ routing: settings.routing.node });

export const bgp: NetworkBackend = {
  name: 'bgp',
  carrier: 'bgp',
  needsOwnFamily: true,
  isLearned: true,
  advertise,
};

export const bgpIpip: NetworkBackend = {
  name: 'bgp-ipip',
  title: 'IP in IP',
  carrier: 'bgp',
  needsOwnFamily: true,
  isLearned: true,
  advertise,
  ...(ipip.outer === undefined ? {} : { outer: ipip.outer }),
  far: (self, node, family) => {
    if (node.addresses[family] === undefined) return `${node.name} announces no IPv${family} address for BGP`;
    const remote = node.addresses[tunnelFamily(self)] as Address;
    return { link: deviceOf(self, family, remote) };
  },
  prepareLeg: (self, leg) => (leg.link === undefined ? [] : (ipip.prepareLeg?.(self, leg) ?? [])),
};

function deviceOf(self: Self, family: Family, remote: Address): string {
  return ipipDevice(tunnelFamily(self), family, remote);
}
