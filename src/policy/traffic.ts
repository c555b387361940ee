/** Which packets are in a set of traffic: the meaning of every kind of TrafficSet. */
import { type End, PROTOCOL, type TrafficSet } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import { addressFamily } from '#net/address.ts';
import type { View } from './match.ts';
import { hasAddress } from './peers.ts';

type Meaning = {
  readonly [K in TrafficSet['kind']]: (set: Extract<TrafficSet, { kind: K }>, view: View) => boolean;
};

export function isTraffic<K extends TrafficSet['kind']>(
  set: Extract<TrafficSet, { kind: K }>,
  view: View,
): boolean {
  return MEANING[set.kind](set, view);
}

const WITH_PORTS: ReadonlySet<number> = new Set([
  PROTOCOL.tcp,
  PROTOCOL.udp,
  PROTOCOL.sctp,
  PROTOCOL.udplite,
]);

const MEANING: Meaning = {
  family: ({ family }, { flow }) => addressFamily(flow.destination) === family,
  protocol: ({ protocol }, { flow }) => flow.protocol === protocol,
  ports: ({ end, protocol, ranges }, { flow }) => {
    const port = portAt(flow, end, protocol);
    return port !== undefined && ranges.some(({ from, to }) => from <= port && port <= to);
  },
  'named-port': ({ end, protocol, name }, { world, flow }) => {
    const port = portAt(flow, end, protocol);
    const isIt = (named: { name: string; protocol: number; port: number }): boolean =>
      named.name === name && named.protocol === flow.protocol && named.port === port;
    return world.endpoints.some(
      (endpoint) =>
        endpoint.kind !== 'network-set' && hasAddress(endpoint, flow[end]) && endpoint.ports.some(isIt),
    );
  },
  icmp: ({ family, type, code }, { flow }) =>
    flow.protocol === (family === 4 ? PROTOCOL.icmp : PROTOCOL.icmpv6) &&
    (type === undefined || flow.icmp?.type === type) &&
    (code === undefined || flow.icmp?.code === code),
};

/** The port at that end, if the flow has ports and is of the protocol, where one is asked for. */
function portAt(flow: Flow, end: End, protocol: number | undefined): number | undefined {
  if (!WITH_PORTS.has(flow.protocol)) return undefined;
  if (protocol !== undefined && protocol !== flow.protocol) return undefined;
  return end === 'source' ? flow.sourcePort : flow.destinationPort;
}
