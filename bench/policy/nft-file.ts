/**
 * A program of ours as a file that `nft -f` reads: every entry in a map of the same kind, keys and values alike (numbers
 * as marks). Of our rules it has what nft's grammar can say, which is not much: it cannot look up the answers of
 * two maps together (docs/decisions/0006), so a listing of our own table cannot be read back. The table is replaced as a
 * whole, in one transaction.
 */
import {
  POLICY_MAP_NAMES,
  POLICY_MAPS,
  type PolicyField,
  type PolicyMapType,
  type PolicyProgram,
} from '#model/policy-program.ts';

const TYPES: Readonly<Record<PolicyField, string>> = {
  zero: '',
  ipv4: 'ipv4_addr',
  ipv6: 'ipv6_addr',
  number: 'mark',
  protocol: 'inet_proto',
  port: 'inet_service',
  interface: 'ifname',
};
const VERDICTS: Readonly<Record<string, string>> = { allow: 'accept', deny: 'continue' };

const typeOf = (fields: readonly PolicyField[]): string =>
  fields
    .filter((field) => field !== 'zero')
    .map((field) => TYPES[field])
    .join(' . ');

function mapText(name: string, type: PolicyMapType, entries: readonly (readonly [string, string])[]): string {
  const value = type.value === 'verdict' ? 'verdict' : typeOf(type.value);
  const elements = entries.map(([key, to]) => {
    const shown = type.value === 'verdict' ? (VERDICTS[to] ?? `goto ${to}`) : to;
    return `${key.split(' ').join(' . ')} : ${shown}`;
  });
  const lines = [
    `type ${typeOf(type.key)} : ${value};`,
    ...(type.ranges === true ? ['flags interval;'] : []),
    ...(type.counted === true ? ['counter;'] : []),
    ...(elements.length === 0 ? [] : [`elements = { ${elements.join(',\n')} }`]),
  ];
  return `map ${name} {\n${lines.join('\n')}\n}`;
}

const RULES = ['ingress4', 'egress4', 'peer4', 'net4'].map((map) => `meta mark set ip saddr map @${map}`);

/** The text, and how many elements are in it: as many as the program has entries. */
export function formatNft(
  { entries, chains }: PolicyProgram,
  table: string,
): { text: string; elements: number } {
  const byMap = Map.groupBy(entries, ([key]) => key.slice(0, key.indexOf(' ')));
  const maps = POLICY_MAP_NAMES.filter((name) => !POLICY_MAPS[name].key.includes('interface' as never)).map(
    (name) => {
      const own = (byMap.get(name) ?? []).map(([key, value]) => [key.slice(name.length + 1), value] as const);
      return mapText(name, POLICY_MAPS[name], own);
    },
  );
  const body = [
    ...[...chains.keys()].map((name) => `chain ${name} { }`),
    ...maps,
    `chain forward { type filter hook forward priority -5; ct state established,related accept; ${RULES.join('; ')}; }`,
  ];
  const text = `add table inet ${table}\ndelete table inet ${table}\ntable inet ${table} {\n${body.join('\n')}\n}\n`;
  return { text, elements: entries.size };
}
