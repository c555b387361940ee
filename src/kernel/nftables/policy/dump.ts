/** Reading a policy table back from the kernel: entries of maps, and comments of rules. Nothing where there is no table. */
import type { PolicyMapName } from '#model/policy-program.ts';
import { Attributes, type Message, MessageWriter, NLM_F_DUMP } from '../../netlink/message.ts';
import { NetlinkError, type NetlinkSocket } from '../../netlink/socket.ts';
import { beginNft, NFGENMSG_BYTES, NFT_MSG } from '../nfnetlink.ts';
import { readEntries, type Seen } from './entries.ts';

/** Large maps are read so many times at most. */
const ATTEMPTS = 5;
/** Maps of so few entries do not grow while they are read: they are read at once. */
const STABLE = 200;

/**
 * A hash that grows while it is read loses some and tells others twice, and the kernel does not say so: large maps are
 * read until two readings agree.
 */
export function dumpMap(socket: NetlinkSocket, table: string, map: PolicyMapName): Seen[] {
  const read = (): Seen[] => ask(socket, getMap(table, map), (message) => readEntries(map, message)).flat();
  let seen = read();
  for (let attempt = 1; seen.length > STABLE && attempt < ATTEMPTS; attempt += 1) {
    const again = read();
    const keys = new Set(again.map(({ key }) => key));
    if (again.length === seen.length && (keys.size === again.length || map.startsWith('net'))) return again;
    seen = again;
  }
  return seen;
}

/** Comments of all rules by chain, in order. */
export function dumpComments(socket: NetlinkSocket, table: string): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const rows = ask(socket, getRules(table), (message) => {
    const rule = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end);
    // Asking for one table's rules still gives those of all where the kernel is old.
    if (rule.str(1) !== table) return undefined;
    return [rule.str(2) ?? '', commentOf(rule)] as const;
  });
  for (const [chain, comment] of rows) {
    const list = found.get(chain);
    if (list === undefined) found.set(chain, [comment]);
    else list.push(comment);
  }
  return found;
}

/** Empty where the rule has none. */
export function commentOf(rule: Attributes): string {
  const data = rule.data(7);
  return data === undefined ? '' : data.toString('utf8', 2, 1 + data.readUInt8(1));
}

export function getMap(table: string, map: PolicyMapName): MessageWriter {
  const writer = new MessageWriter();
  beginNft(writer, NFT_MSG.getSetElem, NLM_F_DUMP, 'inet');
  writer.str(1, table);
  writer.str(2, map);
  writer.end();
  return writer;
}

export function getRules(table: string): MessageWriter {
  const writer = new MessageWriter();
  beginNft(writer, NFT_MSG.getRule, NLM_F_DUMP, 'inet');
  writer.str(1, table);
  writer.end();
  return writer;
}

function ask<T>(
  socket: NetlinkSocket,
  question: MessageWriter,
  parse: (message: Message) => T | undefined,
): T[] {
  try {
    return socket.dump(question, parse);
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return [];
    throw error;
  }
}
