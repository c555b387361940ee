/** `tartan pause`: nothing of the node changes until the operator lets it, also over a restart of the agent. */
import type { Ledger } from './pods/attachments.ts';

/** Changes something of the node. */
type Freezable = { paused: boolean; release(): void };

export type Freezing = {
  pause(): void;
  /** The operator agrees to what is held back, by a pause or by the brake. */
  release(): void;
};

/** In the ledger while the node is paused. */
const PAUSED = 'paused';

export function openFreezing(
  ledger: Pick<Ledger, 'getMeta' | 'setMeta'>,
  parts: readonly (Freezable | undefined)[],
): Freezing {
  const all = parts.filter((part) => part !== undefined);
  const freeze = (paused: boolean): void => {
    for (const part of all) part.paused = paused;
  };
  freeze(ledger.getMeta(PAUSED) !== undefined);
  return {
    pause() {
      ledger.setMeta(PAUSED, 'yes');
      freeze(true);
    },
    release() {
      ledger.setMeta(PAUSED, undefined);
      freeze(false);
      for (const part of all) part.release();
    },
  };
}
