/** The list of roads between nodes. */
import type { RoadName } from '#model/settings.ts';
import { alloc } from './alloc.ts';
import type { NetworkBackend } from './backend.ts';
import { bgp, bgpIpip } from './bgp.ts';
import { fou } from './fou.ts';
import { hostGw } from './host-gw.ts';
import { gre, ipip } from './ip-tunnel.ts';
import { layer2 } from './layer2.ts';
import { ipsec } from './ipsec.ts';
import { udp } from './udp.ts';
import { wireguard } from './wireguard.ts';
import { vxlan } from './vxlan.ts';

const BACKENDS: Readonly<Record<RoadName, NetworkBackend>> = {
  vxlan,
  'host-gw': hostGw,
  ipip,
  gre,
  fou,
  layer2,
  wireguard,
  ipsec,
  bgp,
  'bgp-ipip': bgpIpip,
  udp,
  alloc,
};

export function backendFor(road: RoadName): NetworkBackend {
  return BACKENDS[road];
}
