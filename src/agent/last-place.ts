/**
 * Where this node was, for an agent that starts while the store is away: pods that come then get their network, as they would if it
 * had been there all along. What always holds:
 * - it is of this boot, as the ledger is, and the store has had time to answer;
 * - nothing is changed or removed by it: the roads to other nodes are those that the agent before this one left;
 * - only where Kubernetes gives the node its subnet, as leases and blocks may be others' by now, and where no policies are
 *   enforced: a pod whose policies nobody knows gets no network.
 */
import type { AgentParts } from './parts.ts';
import type { Way } from '#model/road.ts';
import type { PerFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';

export type Place = { readonly subnets: PerFamily<Prefix>; readonly ways: readonly Way[] };

export type LastPlaceOptions = {
  readonly parts: Pick<AgentParts, 'settings' | 'clock' | 'signal' | 'events'> & {
    readonly ledger: Pick<AgentParts['ledger'], 'getMeta' | 'setMeta'>;
  };
  /** The node has these subnets. Absent: the store alone can tell. */
  readonly resume: ((subnets: PerFamily<Prefix>) => void) | undefined;
  /** Asks for a pass over the node's place. */
  readonly nudge: () => void;
};

/** Name in the ledger, and version of what stands there. */
const META = 'last-place';
const FORMAT = 1;
const PATIENCE_MS = 5000;

export class LastPlace {
  readonly #options: LastPlaceOptions;
  readonly #isAllowed: boolean;
  #isDue = false;
  /** The agent goes by it, until the store is known. */
  isUsed = false;

  constructor(options: LastPlaceOptions) {
    this.#options = options;
    const { parts, resume, nudge } = options;
    this.#isAllowed = resume !== undefined && !parts.settings.policy.enforce;
    if (!this.#isAllowed) return;
    void parts.clock.sleep(PATIENCE_MS, parts.signal).then(() => {
      this.#isDue = true;
      nudge();
    });
  }

  /** The store says this. */
  keep({ subnets, ways }: Place): void {
    if (this.#isAllowed)
      this.#options.parts.ledger.setMeta(META, JSON.stringify({ format: FORMAT, subnets, ways }));
  }

  /** Undefined: there is nothing to go by, or not yet. */
  recall(): Place | undefined {
    const { parts, resume } = this.#options;
    const place = this.#isDue ? readPlace(parts.ledger.getMeta(META)) : undefined;
    if (place === undefined || this.isUsed) return place;
    this.isUsed = true;
    resume?.(place.subnets);
    parts.events.add(
      'warning',
      'the store does not answer: pods are added by what was known of this node before',
    );
    return place;
  }
}

/** What another release has written counts as nothing, and so does what cannot be read. */
function readPlace(text: string | undefined): Place | undefined {
  try {
    const { format, ...place } = JSON.parse(text ?? '{}') as Place & { readonly format?: number };
    return format === FORMAT ? place : undefined;
  } catch {
    return undefined;
  }
}
