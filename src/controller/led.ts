/** Whether a controller leads, as somebody sees it who never will: an agent leaves to it what it does. */
import { Sighting } from './sighting.ts';
import type { Clock } from '#lib/clock.ts';
import { CONTROLLER_LEASE } from '#model/lease.ts';
import type { Store } from '#stores/store.ts';

/** Of a lease that does not say its own. */
const DURATION_MS = 15_000;

/** Answers no once the lease has been given up, or has been as it is for its whole duration since it was first asked for. */
export function watchLead(store: Pick<Store, 'get'>, clock: Clock): () => Promise<boolean> {
  const sighting = new Sighting(DURATION_MS);
  return async () => sighting.mayBeHeld(await store.get('Lease', CONTROLLER_LEASE), clock.monotonicMs());
}
