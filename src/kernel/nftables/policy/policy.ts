/**
 * The policy table of one network namespace: deltas in, what the kernel holds out. Every load is one transaction, so
 * that packets see the rules before or after it and nothing between.
 */
import {
  type ChainRule,
  POLICY_MAP_NAMES,
  POLICY_TABLE,
  type PolicyDelta,
  type PolicyMapName,
  type PolicyProgram,
} from '#model/policy-program.ts';
import { Attributes, type Message, MessageWriter, NLM_F_DUMP } from '../../netlink/message.ts';
import { NetlinkError, type NetlinkSocket, openNetlink, type Refusal } from '../../netlink/socket.ts';
import { NETLINK_NETFILTER, setIntOption } from '../../sys.ts';
import { beginNft, NFGENMSG_BYTES, NFT_MSG, transaction } from '../nfnetlink.ts';
import { compileChain, parseChain } from './chains.ts';
import { type Count, type Entry, joinEntries, readEntries, type Seen, writeEntries } from './entries.ts';
import { FIXED_CHAINS, writeChain, writeTable } from './structure.ts';

/** Commits lose against other writers' at most a few times in a row. */
const ATTEMPTS = 5;
/** Maps of so few entries do not grow while they are read: they are read at once. */
const STABLE = 200;

/** A program is one transaction, and that one send: room for a million entries, taken only while they are sent. */
const LARGEST_BYTES = 128 << 20;
const SOL_SOCKET = 1;
const SO_SNDBUFFORCE = 32;

export type DumpedPolicy = {
  readonly program: PolicyProgram;
  /** By entry that decides. */
  readonly counts: ReadonlyMap<string, Count>;
  /** The table is there and its fixed rules are ours, complete and in order. */
  readonly intact: boolean;
};

export type PolicyTable = {
  /** Makes the table anew and fills it, all at once. */
  replacePolicy(program: PolicyProgram): void;
  /**
   * All or nothing; throws NetlinkError, EEXIST or ENOENT among them when the kernel does not hold what the delta
   * starts from: then dump, and load the difference.
   */
  loadPolicy(delta: PolicyDelta): void;
  dumpPolicy(): DumpedPolicy;
  removePolicy(): void;
  /** Nobody else can change the table: known after the first replacePolicy. */
  isOwned(): boolean;
  /** The socket that writes, by which events of our own are told from others'. */
  readonly fd: number;
  close(): void;
};

/**
 * Opens its socket in the calling thread's network namespace. `own`: keep others from changing or flushing the table,
 * where the kernel can do that and still leave the table behind.
 */
export function openPolicy({ own = true }: { readonly own?: boolean } = {}): PolicyTable {
  const socket = openNetlink(NETLINK_NETFILTER);
  setIntOption(socket.fd, SOL_SOCKET, SO_SNDBUFFORCE, LARGEST_BYTES);
  let owned = own;
  const replace = (program: PolicyProgram): void =>
    commit(socket, (writer) => {
      writeTable(writer, owned);
      for (const [name, rules] of program.chains) writeChain(writer, compileChain(name, rules));
      writeEntries(writer, 'add', [...program.entries]);
    });
  return {
    replacePolicy(program) {
      try {
        replace(program);
      } catch (error) {
        if (!owned || !(error instanceof NetlinkError) || error.code !== 'EOPNOTSUPP') throw error;
        owned = false;
        replace(program);
      }
    },
    isOwned: () => owned,
    loadPolicy: (delta) => commit(socket, (writer) => writeDelta(writer, delta)),
    dumpPolicy: () => dump(socket),
    removePolicy: () => commit(socket, writeRemoval),
    fd: socket.fd,
    close: () => socket[Symbol.dispose](),
  };
}

/** Old entries first, as a key can only come back once it has gone; chains while nothing leads to them. */
function writeDelta(writer: MessageWriter, { entries, addChains, removeChains }: PolicyDelta): void {
  for (const [name, rules] of addChains) writeChain(writer, compileChain(name, rules));
  const pick = (which: 'was' | 'value'): Entry[] =>
    [...entries].flatMap(([key, change]): Entry[] => {
      const value = change[which];
      return value === undefined ? [] : [[key, value]];
    });
  writeEntries(writer, 'delete', pick('was'));
  writeEntries(writer, 'add', pick('value'));
  for (const name of removeChains) {
    for (const message of [NFT_MSG.delRule, NFT_MSG.delChain]) {
      beginNft(writer, message, 0, 'inet');
      writer.str(1, POLICY_TABLE);
      writer.str(message === NFT_MSG.delRule ? 2 : 3, name);
      writer.end();
    }
  }
}

/** Whether or not the table is there. */
function writeRemoval(writer: MessageWriter): void {
  for (const message of [NFT_MSG.newTable, NFT_MSG.delTable]) {
    beginNft(writer, message, 0, 'inet');
    writer.str(1, POLICY_TABLE);
    writer.end();
  }
}

function commit(socket: NetlinkSocket, write: (writer: MessageWriter) => void): void {
  const writer = new MessageWriter();
  transaction(writer, () => write(writer));
  if (writer.starts.length === 2) return;
  for (let attempt = 1; ; attempt += 1) {
    const refusal = firstOf(socket.transact(writer).refusals);
    if (refusal === undefined) return;
    const isRace = refusal.code === 'ERESTART' || refusal.code === 'EINTR';
    if (!isRace || attempt === ATTEMPTS) throw new NetlinkError(refusal);
  }
}

function firstOf(refusals: ReadonlyMap<number, Refusal>): Refusal | undefined {
  return refusals.values().next().value;
}

function dump(socket: NetlinkSocket): DumpedPolicy {
  const seen = POLICY_MAP_NAMES.flatMap((map) => joinEntries(map, dumpMap(socket, map)));
  const comments = dumpComments(socket);
  const chains = new Map<string, readonly ChainRule[]>();
  let intact = FIXED_CHAINS.every(({ name, rules }) =>
    isSame(
      comments.get(name) ?? [],
      rules.map(({ comment }) => comment),
    ),
  );
  const fixed = new Set(FIXED_CHAINS.map(({ name }) => name));
  for (const [name, list] of comments) {
    if (fixed.has(name)) continue;
    const rules = parseChain(list);
    if (rules === undefined) intact = false;
    else chains.set(name, rules);
  }
  return {
    program: {
      entries: new Map(seen.map(({ key, value = '' }) => [key, value])),
      chains,
      reasons: new Map(),
      logs: new Map(),
    },
    counts: new Map(seen.flatMap(({ key, count }) => (count === undefined ? [] : [[key, count] as const]))),
    intact,
  };
}

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}

/**
 * A hash that grows while it is read loses some and tells others twice, and the kernel does not say so: large maps are
 * read until two readings agree.
 */
function dumpMap(socket: NetlinkSocket, map: PolicyMapName): Seen[] {
  const read = (): Seen[] =>
    ask(socket, NFT_MSG.getSetElem, map, (message) => readEntries(map, message)).flat();
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
function dumpComments(socket: NetlinkSocket): Map<string, string[]> {
  const found = new Map<string, string[]>();
  const rows = ask(socket, NFT_MSG.getRule, undefined, (message) => {
    const rule = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end);
    // Asking for one table's rules still gives those of all where the kernel is old.
    if (rule.str(1) !== POLICY_TABLE) return undefined;
    const data = rule.data(7);
    const comment = data === undefined ? '' : data.toString('utf8', 2, 1 + data.readUInt8(1));
    return [rule.str(2) ?? '', comment] as const;
  });
  for (const [chain, comment] of rows) {
    const list = found.get(chain);
    if (list === undefined) found.set(chain, [comment]);
    else list.push(comment);
  }
  return found;
}

function ask<T>(
  socket: NetlinkSocket,
  type: number,
  map: PolicyMapName | undefined,
  parse: (message: Message) => T | undefined,
): T[] {
  const writer = new MessageWriter();
  beginNft(writer, type, NLM_F_DUMP, 'inet');
  writer.str(1, POLICY_TABLE);
  if (map !== undefined) writer.str(2, map);
  writer.end();
  try {
    return socket.dump(writer, parse);
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return [];
    throw error;
  }
}
