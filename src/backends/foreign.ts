/**
 * Rules in other programs' tables, for packets that they would drop whatever our own table says: what pods send and get,
 * and the tunnel's packets (docs/decisions/0005-accepts-in-others-chains.md).
 */
import type { ForeignChain } from '#model/facts.ts';
import type { ForeignRuleItem } from '#model/host.ts';
import type { Settings } from '#model/settings.ts';
import { families } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';
import type { Self } from './backend.ts';
import { outerPackets } from './ways.ts';

type Accept = Pick<ForeignRuleItem, 'rule' | 'comment'>;

/** Does traffic that nobody named die here? */
export function dropsTheRest(chain: ForeignChain): boolean {
  return chain.policy === 'drop' || chain.rejects === true;
}

/**
 * Accepts in each chain that drops, in the owner's user chain where there is one, else in the base chain. They have to
 * stand first. Nothing when the settings leave others' chains alone.
 */
export function planForeignAccepts(
  self: Pick<Self, 'settings' | 'ways'>,
  chains: readonly ForeignChain[],
): ForeignRuleItem[] {
  const { settings } = self;
  if (!settings.forward.accept) return [];
  return chains.filter(dropsTheRest).flatMap(({ hook, family, table, chain, userChain }) => {
    const accepts = hook === 'input' ? tunnelAccepts(self) : podAccepts(settings, family);
    return accepts.map((accept): ForeignRuleItem => ({
      kind: 'foreign-rule',
      family,
      table,
      chain: userChain ?? chain,
      ...accept,
    }));
  });
}

function podAccepts({ network }: Settings, table: ForeignChain['family']): Accept[] {
  return families(network.subnets)
    .filter((family) => table === 'inet' || (table === 'ip') === (family === 4))
    .flatMap((family) => {
      const [ip, range] = [family === 4 ? 'ip' : 'ip6', network.subnets[family]?.range as Prefix];
      return [
        { rule: `${ip} saddr ${range} counter accept`, comment: `tartan: from pods (IPv${family})` },
        { rule: `${ip} daddr ${range} counter accept`, comment: `tartan: to pods (IPv${family})` },
      ];
    });
}

/**
 * Whose packets these are is for our own table to say: it drops what does not come from a known peer, and an accept
 * elsewhere does not change that. Only the port is matched because iptables, which owns most such tables, lists no rule
 * that looks deeper (nft's raw payload) and then refuses the whole table.
 */
function tunnelAccepts(self: Pick<Self, 'settings' | 'ways'>): Accept[] {
  return outerPackets(self)
    .flatMap(({ any, protocols, port }) =>
      // One rule each: iptables reads no sets.
      port === undefined ? protocols.map((number) => `meta l4proto ${number}`) : [any],
    )
    .map((match) => ({ rule: `${match} counter accept`, comment: `tartan: tunnels from nodes (${match})` }));
}
