/** Rules in other programs' tables, for forwards that they would drop whatever our own table says. */
import type { ForeignChain } from '#model/facts.ts';
import type { ForeignRuleItem } from '#model/host.ts';
import type { Settings } from '#model/settings.ts';
import { families } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';
import { acceptsFor } from './rules.ts';

/** Does forwarded traffic that nobody named die here? */
export function dropsForward(chain: ForeignChain): boolean {
  return chain.policy === 'drop' || chain.rejects === true;
}

/**
 * Accepts for pod traffic in each chain that drops, in the owner's user chain where there is one, else in the base chain.
 * They have to stand first. Nothing when the settings leave forwarding alone.
 */
export function planForeignAccepts(settings: Settings, chains: readonly ForeignChain[]): ForeignRuleItem[] {
  if (!settings.forward.accept) return [];
  return chains.filter(dropsForward).flatMap((chain) =>
    families(settings.network.subnets)
      .filter((family) => chain.family === 'inet' || (chain.family === 'ip') === (family === 4))
      .flatMap((family) =>
        acceptsFor(family, settings.network.subnets[family]?.range as Prefix).map(
          (rule, index): ForeignRuleItem => ({
            kind: 'foreign-rule',
            family: chain.family,
            table: chain.table,
            chain: chain.userChain ?? chain.chain,
            rule,
            comment: `tartan: ${index === 0 ? 'from' : 'to'} pods (IPv${family})`,
          }),
        ),
      ),
  );
}
