/** Ports of this host that no policy of a host endpoint closes, by its settings. */
import type { Settings } from '#model/settings.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { DEFAULT_FAILSAFE, openTunnel } from '#policy/failsafe.ts';

/** The tunnel's port is open whatever was set. */
export function failsafeOf({ policy: { failsafe }, road }: Settings): PolicyWorld['failsafe'] {
  const told = {
    ingress: failsafe.inbound ?? DEFAULT_FAILSAFE.ingress,
    egress: failsafe.outbound ?? DEFAULT_FAILSAFE.egress,
  };
  if (road.type === 'wireguard') return openTunnel(told, road.wireguard.port);
  return road.type === 'vxlan' ? openTunnel(told, road.vxlan.port) : told;
}
