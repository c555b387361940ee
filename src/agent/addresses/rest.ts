/** How long an address rests once it was released. An agent that stops ends no rest: its successor begins it again. */
import type { AgentParts } from '../parts.ts';
import type { Pools } from './pools.ts';

/** Undefined: not at all. */
export type Rest = () => Promise<void> | undefined;

export function restOf({ settings, clock, signal }: Pick<AgentParts, 'settings' | 'clock' | 'signal'>): Rest {
  const { quarantineSeconds } = settings.addresses;
  const rest = async (): Promise<void> => {
    await clock.sleep(quarantineSeconds * 1000, signal);
    if (signal.aborted) await new Promise<never>(() => undefined);
  };
  return () => (quarantineSeconds > 0 ? rest() : undefined);
}

/** Addresses that rested when a predecessor ended. */
export async function settleOrphans(pools: Pick<Pools, 'orphans' | 'settleOne'>, rest: Rest): Promise<void> {
  await rest();
  for (const ip of pools.orphans) pools.settleOne(ip);
}
