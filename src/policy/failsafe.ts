/**
 * Ports of hosts that stay open whatever a host endpoint's policies say, where nothing else is set: SSH, DHCP, DNS, BGP,
 * etcd, Typha and the API server (Calico's FelixConfiguration: failsafeInboundHostPorts, failsafeOutboundHostPorts).
 */
import { PROTOCOL } from '#model/policy.ts';
import type { Failsafe, PolicyWorld } from '#model/workload.ts';

function open(protocol: number, ...ports: readonly number[]): Failsafe[] {
  return ports.map((port) => ({ protocol, ports: { from: port, to: port } }));
}

const CONTROL = [179, 2379, 2380, 5473, 6443, 6666, 6667];

export const DEFAULT_FAILSAFE: PolicyWorld['failsafe'] = {
  ingress: [...open(PROTOCOL.tcp, 22), ...open(PROTOCOL.udp, 68), ...open(PROTOCOL.tcp, ...CONTROL)],
  egress: [...open(PROTOCOL.udp, 53, 67), ...open(PROTOCOL.tcp, ...CONTROL)],
};

/** With the UDP port of the tunnel between nodes: policies of hosts would cut off all pods of other nodes. */
export function openTunnel(failsafe: PolicyWorld['failsafe'], port: number): PolicyWorld['failsafe'] {
  const tunnel = open(PROTOCOL.udp, port);
  return { ingress: [...failsafe.ingress, ...tunnel], egress: [...failsafe.egress, ...tunnel] };
}
