/**
 * IP in IP wrapped in UDP, for networks that pass UDP alone or spread it by its ports. A header between (GUE) tells what is
 * inside, so that one port serves both families. As kube-router has it, whose nodes would understand ours.
 */
import type { NodeAdvert } from '#model/world.ts';
import type { Address } from '#net/address.ts';
import { type NetworkBackend, type Self, tunnelFamily } from './backend.ts';
import { IPIP, ipTunnel } from './ip-tunnel.ts';
import { ofPort, ofProtocols } from './outer.ts';

/** The kernel does not load what it needs by itself: a node takes it when it is told to. */
const {
  automatic: _automatic,
  trial: _trial,
  ...tunnel
} = ipTunnel({
  name: 'fou',
  title: 'IP in UDP',
  ...IPIP,
  guePort: ({ road }) => road.fou.port,
});

export const fou: NetworkBackend = {
  ...tunnel,
  advertise: ({ settings }) => ({ fou: { port: settings.road.fou.port } }),
  mismatch,
  // Devices also take in what is not wrapped: that must not come from anybody either.
  outer: (settings) => [ofPort(settings.road.fou.port), ofProtocols(IPIP.protocols(settings))],
  planNode: ({ underlay, settings }) => {
    const local = underlay.local[tunnelFamily({ underlay, settings })] as Address;
    return [{ kind: 'fou-port', local, port: settings.road.fou.port }];
  },
};

function mismatch({ settings }: Self, node: NodeAdvert): string | undefined {
  const { port } = settings.road.fou;
  if (node.fou === undefined) return `${node.name} does not tell its port of IP in UDP`;
  return node.fou.port === port ? undefined : `${node.name} has the port ${node.fou.port}, this node ${port}`;
}
