/** Plain routes: the peer's underlay address is the next hop, so both nodes must share a link. */
import type { Item } from '#model/host.ts';
import type { Leg } from '#model/leg.ts';
import { MAIN_TABLE } from '#model/numbers.ts';
import type { NetworkBackend, Self } from './backend.ts';

export const hostGw: NetworkBackend = {
  name: 'host-gw',
  carrier: 'direct',
  automatic: true,
  needsOwnFamily: true,
};

/** The route of a `direct` leg, whose road may be another one. Its MTU is stated only when it is narrower than our link. */
export function directRoute(self: Self, leg: Leg): Item {
  return {
    kind: 'route',
    type: 'unicast',
    prefix: leg.prefix,
    table: MAIN_TABLE,
    metric: leg.metric,
    link: self.underlay.link,
    via: leg.remote,
    ...(leg.mtu < self.underlay.mtu ? { mtu: leg.mtu } : {}),
  };
}
