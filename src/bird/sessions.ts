/** What `show protocols all` says of sessions. */
import type { SeenSession } from '#model/routing.ts';
import { type Family, parseAddress } from '#net/address.ts';
import type { Reply } from './reply.ts';

/** One protocol: its line of the table (1002), and what is said below it (1006). */
type Entry = { readonly head: string; readonly details: readonly string[] };

export function readSessions(reply: Reply): SeenSession[] {
  return entriesOf(reply).flatMap((entry) => readSession(entry) ?? []);
}

function entriesOf({ lines }: Reply): Entry[] {
  const entries: { head: string; details: string[] }[] = [];
  for (const { code, text } of lines) {
    if (code === 1002 && !text.startsWith(' ')) entries.push({ head: text, details: [] });
    else if (code === 1006 || code === 1002) entries.at(-1)?.details.push(text);
  }
  return entries;
}

/** Name, protocol, table, up/down/start, since (date and time), and more that differs by protocol. */
const HEAD = /^(\S+)\s+(BGP|OSPF)\s+\S+\s+(\S+)\s+(\d{4}-\d\d-\d\d \S+|\S+)\s*(.*)$/;

function readSession({ head, details }: Entry): SeenSession | undefined {
  const [, name, protocol, state, since, info = ''] = HEAD.exec(head) ?? [];
  if (name === undefined || since === undefined) return undefined;
  const field = (label: string): string | undefined => fieldOf(details, label);
  const word = field('BGP state') ?? info.trim();
  const up = state === 'up' && (protocol === 'OSPF' || word === 'Established');
  return {
    name,
    protocol: protocol === 'OSPF' ? 'OSPF' : 'BGP',
    up,
    state: word,
    ...(up ? {} : textField('problem', field('Last error'))),
    since,
    ...addressField(field('Neighbor address')),
    ...numberField('neighbourAs', field('Neighbor AS')),
    ...numberField('localAs', field('Local AS')),
    ...textField('neighbourId', field('Neighbor ID')),
    channels: channelsOf(details),
  };
}

function fieldOf(details: readonly string[], label: string): string | undefined {
  const line = details.map((each) => each.trim()).find((each) => each.startsWith(`${label}:`));
  return line?.slice(label.length + 1).trim();
}

function addressField(text = ''): Pick<SeenSession, 'neighbour'> {
  const neighbour = parseAddress(text.split('%')[0] ?? '');
  return neighbour === undefined ? {} : { neighbour };
}

function numberField<K extends string>(key: K, text: string | undefined): { readonly [P in K]?: number } {
  return (text === undefined ? {} : { [key]: Number(text) }) as { readonly [P in K]?: number };
}

function textField<K extends string>(key: K, text: string | undefined): { readonly [P in K]?: string } {
  return (text === undefined ? {} : { [key]: text }) as { readonly [P in K]?: string };
}

function channelsOf(details: readonly string[]): SeenSession['channels'] {
  const found: { family: Family; imported: number; exported: number; filtered: number; preferred: number }[] =
    [];
  for (const line of details) {
    const channel = /^\s*Channel ipv([46])$/.exec(line)?.[1];
    if (channel !== undefined)
      found.push({ family: channel === '4' ? 4 : 6, imported: 0, exported: 0, filtered: 0, preferred: 0 });
    const last = found.at(-1);
    if (last !== undefined && /^\s*Routes:/.test(line)) {
      const count = (word: string): number => Number(new RegExp(`(\\d+) ${word}`).exec(line)?.[1] ?? 0);
      last.imported = count('imported');
      last.exported = count('exported');
      last.filtered = count('filtered');
      last.preferred = count('preferred');
    }
  }
  return found;
}
