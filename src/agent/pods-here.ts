/** What the plans of node and cluster must know of the pods that live here. */
import type { ClusterOptions } from './cluster.ts';
import type { Ledger } from './attachments.ts';
import { bridgeMac } from '#backends/backend.ts';
import type { Settings } from '#model/settings.ts';
import { stationsOf } from '#wiring/segment.ts';

/** Whether pods are here that were made under the other wiring. */
export function hasOtherThan(type: Settings['wiring']['type'], ledger: Pick<Ledger, 'list'>): boolean {
  const other = type === 'bridge' ? 'routed' : 'bridge';
  return ledger.list().some(({ wiring }) => wiring === other);
}

export function podsHere(
  ledger: Pick<Ledger, 'list'>,
  { wiring, node }: Settings,
  publishSoon: () => void,
): Pick<ClusterOptions, 'legacyPods' | 'hasPorts' | 'stations' | 'publishSoon'> {
  return {
    legacyPods: () => hasOtherThan(wiring.type, ledger),
    hasPorts: () => ledger.list().some((one) => one.wiring === 'bridge'),
    stations: () => stationsOf(ledger.list(), bridgeMac(node.name)),
    publishSoon,
  };
}
