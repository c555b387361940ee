/**
 * Other programs' filters of incoming and forwarded packets, read from nft's own listing (counters left out). Only what nf_tables
 * holds is seen: rules of the legacy iptables modules are in no listing.
 */
import type { ForeignChain } from '#model/facts.ts';
import { NFT_TABLE } from '#model/numbers.ts';
import { POLICY_TABLE, STAGED_POLICY_TABLE } from '#model/policy-program.ts';
import type { ChainName } from './last-rule.ts';
import type { NftLibrary } from './library.ts';

const FAMILIES = new Set(['ip', 'ip6', 'inet']);
const OURS = new Set([NFT_TABLE, POLICY_TABLE, STAGED_POLICY_TABLE]);
/** Docker jumps here first, and leaves the chain to the user. */
const USER_CHAIN = 'DOCKER-USER';

type ListedChain = { family: string; table: string; chain: string; body: string[] };

/** Base chains at the hooks input and forward in tables that are not ours. `endsInDrop`: whether a chain's last rule lets nothing pass. */
export function listFilterChains(
  library: Pick<NftLibrary, 'run'>,
  endsInDrop: (chain: ChainName) => boolean,
): ForeignChain[] {
  const chains = readChains(library.run('list chains')).filter(({ table }) => !OURS.has(table));
  const users = new Set(chains.filter(({ chain }) => chain === USER_CHAIN).map(tableOf));
  return chains.flatMap((one): ForeignChain[] => {
    const base = /^type filter hook (input|forward) .*?policy (accept|drop);/.exec(one.body[0] ?? '');
    if (base === null || !FAMILIES.has(one.family)) return [];
    const family = one.family as ForeignChain['family'];
    const hook = base[1] as ForeignChain['hook'];
    const policy = base[2] as 'accept' | 'drop';
    return [
      {
        hook,
        family,
        table: one.table,
        chain: one.chain,
        policy,
        ...(policy === 'accept' && endsInDrop({ ...one, family }) ? { rejects: true } : {}),
        ...(hook === 'forward' && users.has(tableOf(one)) ? { userChain: USER_CHAIN } : {}),
      },
    ];
  });
}

function tableOf({ family, table }: ListedChain): string {
  return `${family} ${table}`;
}

/** Blocks of `table FAMILY NAME { chain NAME { … } }` as nft prints them, one statement a line. */
export function readChains(listing: string): ListedChain[] {
  const chains: ListedChain[] = [];
  let family = '';
  let table = '';
  for (const line of listing.split('\n').map((text) => text.trim())) {
    const [, word, ...names] = /^(table|chain) (?:(\S+) )?(\S+) \{/.exec(line) ?? [];
    if (word === 'table') [family = '', table = ''] = names;
    else if (word === 'chain') chains.push({ family, table, chain: names[1] ?? '', body: [] });
    else if (line !== '' && line !== '}') chains.at(-1)?.body.push(line);
  }
  return chains;
}
