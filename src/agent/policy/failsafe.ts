/** Ports of this host that no policy of a host endpoint closes, by its settings and roads. */
import { tunnelPorts } from '#backends/ways.ts';
import type { Way } from '#model/road.ts';
import type { Settings } from '#model/settings.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { DEFAULT_FAILSAFE, openTunnel } from '#policy/failsafe.ts';

/** The tunnels' ports are open whatever was set. */
export function failsafeOf(settings: Settings, ways?: readonly Way[]): PolicyWorld['failsafe'] {
  const { failsafe } = settings.policy;
  const told = {
    ingress: failsafe.inbound ?? DEFAULT_FAILSAFE.ingress,
    egress: failsafe.outbound ?? DEFAULT_FAILSAFE.egress,
  };
  return tunnelPorts({ settings, ...(ways === undefined ? {} : { ways }) }).reduce(openTunnel, told);
}
