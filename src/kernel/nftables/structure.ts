/**
 * Commands that bring our table to a wanted structure. A reload keeps chains and sets that stay, so neither a packet
 * nor an element is lost: rules are flushed and declared anew within one transaction. Bodies must state the policy of
 * each base chain, since the kernel keeps the old one where none is given.
 */
import { NFT_TABLE } from '#model/numbers.ts';
import { NFT_SETS, type NftSetType } from '#model/nft-sets.ts';
import type { NftElementItem, NftTableItem } from '#model/host.ts';
import { nftText } from './fields.ts';

/** `base`: the chain hangs on a hook. */
export type Declaration = { readonly kind: 'set' | 'map' | 'chain'; readonly base: boolean };

const TOKEN = /"[^"]*"|#[^\n]*|[{}]|\b(set|map|chain)\s+([\w.-]+)\s*\{(\s*type\s+\w+\s+hook\b)?/g;

/** Sets, maps and chains that a table body (wanted, or as nft lists it) declares at its top level, by name. */
export function declarations(body: string): Map<string, Declaration> {
  const found = new Map<string, Declaration>();
  let depth = 0;
  for (const [token, kind, name, hook] of body.matchAll(TOKEN)) {
    if (token === '}') depth -= 1;
    else if (token.startsWith('"') || token.startsWith('#')) continue;
    else {
      if (depth === 0 && kind !== undefined && name !== undefined) {
        found.set(name, { kind: kind as Declaration['kind'], base: hook !== undefined });
      }
      depth += 1;
    }
  }
  return found;
}

/** What stands between the braces of `table … { }`, the answer of `list table`. */
export function listedBody(listing: string): string {
  return listing.slice(listing.indexOf('{') + 1, listing.lastIndexOf('}')).trim();
}

const tableName = (family: NftTableItem['family']): string => `${family} ${NFT_TABLE}`;

/**
 * One transaction from what is there (empty: no table) to the wanted body. It fails, changing nothing, when a set has
 * another type or a base chain another hook than before; `recreateTable` then does it.
 */
export function reloadTable(item: NftTableItem, present: ReadonlyMap<string, Declaration>): string {
  const table = tableName(item.family);
  const wanted = declarations(item.body);
  const vanished = [...present].filter(([name, { kind }]) => wanted.get(name)?.kind !== kind);
  // Chains first: what is left of their rules may still refer to sets.
  const ordered = vanished.sort(([, a], [, b]) => Number(b.kind === 'chain') - Number(a.kind === 'chain'));
  return [
    `add table ${table}`,
    `flush table ${table}`,
    ...ordered.map(([name, { kind }]) => `delete ${kind} ${table} ${name}`),
    declareTable(item),
  ].join('\n');
}

/** Whether a chain that stays would have to leave its hook or get on one: the kernel ignores that silently. */
export function changesHooks(item: NftTableItem, present: ReadonlyMap<string, Declaration>): boolean {
  return [...declarations(item.body)].some(([name, { kind, base }]) => {
    const was = present.get(name);
    return was !== undefined && was.kind === kind && was.base !== base;
  });
}

/** One transaction that makes the table anew and gives the elements back to those of its sets that still exist. */
export function recreateTable(item: NftTableItem, elements: readonly NftElementItem[]): string {
  const wanted = declarations(item.body);
  return [
    removeTable(item.family),
    declareTable(item),
    ...elements.filter(({ set }) => wanted.has(set)).map((element) => addElement(item.family, element)),
  ].join('\n');
}

/** Removes the table, whether or not it is there. */
export function removeTable(family: NftTableItem['family']): string {
  return `add table ${tableName(family)}\ndelete table ${tableName(family)}`;
}

export function listTable(family: NftTableItem['family']): string {
  return `list table ${tableName(family)}`;
}

function declareTable(item: NftTableItem): string {
  return `table ${tableName(item.family)} {\n${item.body}\n}`;
}

function addElement(family: NftTableItem['family'], element: NftElementItem): string {
  const type: NftSetType = NFT_SETS[element.set];
  const key = nftText(type.key, element.key);
  const data = type.data === undefined ? '' : ` : ${nftText(type.data, element.data ?? [])}`;
  return `add element ${tableName(family)} ${element.set} { ${key}${data} }`;
}
