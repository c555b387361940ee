/** What the plans of node and cluster must know of the pods that live here. */
import type { ClusterOptions } from '../roads/cluster.ts';
import type { Ledger } from './attachments.ts';
import { bridgeMac } from '#backends/backend.ts';
import type { Settings } from '#model/settings.ts';
import { stationsOf } from '#wiring/segment.ts';

/** Whether pods are here that were made under the other wiring. */
export function hasOtherThan(type: Settings['wiring']['type'], ledger: Pick<Ledger, 'list'>): boolean {
  const other = type === 'bridge' ? 'routed' : 'bridge';
  return ledger.list().some(({ wiring }) => wiring === other);
}

function narrowestPort(ledger: Pick<Ledger, 'list'>): number | undefined {
  const ports = ledger.list().filter(({ wiring }) => wiring === 'bridge');
  return ports.length === 0 ? undefined : Math.min(...ports.map(({ mtu }) => mtu));
}

export function podsHere(
  ledger: Pick<Ledger, 'list'>,
  { wiring, node }: Settings,
  publishSoon: () => void,
): Pick<ClusterOptions, 'legacyPods' | 'narrowestPort' | 'stations' | 'publishSoon'> {
  return {
    legacyPods: () => hasOtherThan(wiring.type, ledger),
    narrowestPort: () => narrowestPort(ledger),
    stations: () => stationsOf(ledger.list(), bridgeMac(node.name)),
    publishSoon,
  };
}
