/**
 * The policy table of one network namespace: deltas in, what the kernel holds out. Every load is one transaction, so
 * that packets see the rules before or after it and nothing between.
 */
import {
  type ChainRule,
  POLICY_MAP_NAMES,
  POLICY_TABLE,
  type PolicyDelta,
  type PolicyProgram,
  STAGED_POLICY_TABLE,
} from '#model/policy-program.ts';
import { MessageWriter, NLM_F_CREATE } from '../../netlink/message.ts';
import { NetlinkError, type NetlinkSocket, openNetlink, type Refusal } from '../../netlink/socket.ts';
import { NETLINK_NETFILTER, setIntOption } from '../../sys.ts';
import { beginNft, NFT_MSG, transaction, trial } from '../nfnetlink.ts';
import { type AnswerWatch, type AnswerWay, ANSWERS, answerRules, writeAnswers } from './answers.ts';
import { compileChain, parseChain } from './chains.ts';
import { type Denial, deniedChains, DROP_SILENTLY } from './denied.ts';
import { dumpComments, dumpMap } from './dump.ts';
import { type Count, type Entry, joinEntries, writeEntries } from './entries.ts';
import { earlyChains, hostChains, type HostStyle, isHook } from './structure-hosts.ts';
import {
  FIXED_CHAINS,
  type NftChain,
  type Table,
  writeChain,
  writeClearance,
  writeRules,
  writeTable,
} from './structure.ts';

/** Commits lose against other writers' at most a few times in a row. */
const ATTEMPTS = 5;

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

/** `staged` is asked behind `enforced`, of what that let pass, tells of what it would deny, and drops nothing. */
const TABLES = {
  enforced: { name: POLICY_TABLE, priority: -5 },
  staged: { name: STAGED_POLICY_TABLE, priority: -4 },
} as const satisfies Record<string, Table>;

export type PolicyOptions = {
  /** Keep others from changing or flushing the table, where the kernel can do that and still leave it behind. */
  readonly own?: boolean;
  readonly table?: keyof typeof TABLES;
  /** How denied packets end; `audit` says nothing of the staged table. */
  readonly denial?: Denial;
  /** The bridge that pods hang on, where they do: host endpoints for all interfaces are not asked there. */
  readonly bridge?: string;
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
  /**
   * From now on these DNS answers are shown (./answers.ts); undefined: none, and no table for that. Also what a predecessor left is
   * replaced.
   */
  showAnswers(watch: AnswerWatch | undefined): void;
  /** How answers can be shown; undefined: the kernel lacks all that it takes. */
  answerWay(): AnswerWay | undefined;
  /** How denied packets end from now on: at once if the table is there, without touching what is in it. */
  changeDenial(denial: Denial): void;
  /** Denied packets can be told of: known after the first replacePolicy. Otherwise the kernel lacks nfnetlink_log. */
  canLog(): boolean;
  /** Nobody else can change the table: known after the first replacePolicy. */
  isOwned(): boolean;
  /** The socket that writes, by which events of our own are told from others'. */
  readonly fd: number;
  close(): void;
};

/** Opens its socket in the calling thread's network namespace. */
export function openPolicy(options: PolicyOptions = {}): PolicyTable {
  return new NftPolicyTable(options);
}

class NftPolicyTable implements PolicyTable {
  readonly #socket = openNetlink(NETLINK_NETFILTER);
  readonly #table: Table;
  readonly #isStaged: boolean;
  readonly #bridge: string | undefined;
  #denial: Denial;
  #owned: boolean;
  #canLog: boolean | undefined;

  constructor({ own = true, table = 'enforced', denial = DROP_SILENTLY, bridge }: PolicyOptions) {
    setIntOption(this.#socket.fd, SOL_SOCKET, SO_SNDBUFFORCE, LARGEST_BYTES);
    this.#table = TABLES[table];
    this.#isStaged = table === 'staged';
    this.#bridge = bridge;
    this.#denial = denial;
    this.#owned = own;
  }

  get fd(): number {
    return this.#socket.fd;
  }
  isOwned(): boolean {
    return this.#owned;
  }
  canLog(): boolean {
    this.#canLog ??= probeLog(this.#socket);
    return this.#canLog;
  }
  close(): void {
    this.#socket[Symbol.dispose]();
  }

  replacePolicy(program: PolicyProgram): void {
    try {
      this.#replace(program);
    } catch (error) {
      if (!this.#owned || !(error instanceof NetlinkError) || error.code !== 'EOPNOTSUPP') throw error;
      this.#owned = false;
      this.#replace(program);
    }
  }

  #replace({ chains, entries }: PolicyProgram): void {
    const table = this.#table;
    commit(this.#socket, (writer) => {
      writeTable(writer, table, this.#owned);
      for (const chain of this.#fixedChains()) writeChain(writer, table, chain);
      for (const chain of this.#compile(chains)) writeChain(writer, table, chain);
      writeEntries(writer, { table: table.name, command: 'add' }, [...entries]);
    });
  }

  /** Old entries first, as a key can only come back once it has gone; chains while nothing leads to them. */
  loadPolicy({ entries, addChains, removeChains }: PolicyDelta): void {
    const table = this.#table;
    const pick = (which: 'was' | 'value'): Entry[] =>
      [...entries].flatMap(([key, change]): Entry[] => {
        const value = change[which];
        return value === undefined ? [] : [[key, value]];
      });
    const come = this.#compile(addChains);
    const gone = this.#compile(new Map(removeChains.map((name) => [name, []])));
    const stays = new Set(gone.map(({ name }) => name)).intersection(new Set(come.map(({ name }) => name)));
    commit(this.#socket, (writer) => {
      for (const chain of come) if (!stays.has(chain.name)) writeChain(writer, table, chain);
      writeEntries(writer, { table: table.name, command: 'delete' }, pick('was'));
      writeEntries(writer, { table: table.name, command: 'add' }, pick('value'));
      for (const { name } of gone.toReversed())
        if (!stays.has(name)) writeClearance(writer, table, name, 'chain');
    });
  }

  /** Chains of programs and those of hooks, every one behind those that it leads to. */
  #compile(chains: ReadonlyMap<string, readonly ChainRule[]>): NftChain[] {
    const plain = [...chains].filter(([name]) => !isHook(name));
    const hooks = [...chains.keys()].filter(isHook);
    return [
      ...earlyChains(hooks, this.#hostStyle()),
      ...plain.map(([name, rules]) => compileChain(name, rules, this.#style())),
      ...hostChains(hooks, this.#hostStyle()),
    ];
  }

  /** Whether or not the table is there. */
  removePolicy(): void {
    if (!this.#isStaged) this.#remove(ANSWERS);
    this.#remove(this.#table);
  }

  #remove({ name }: Table): void {
    commit(this.#socket, (writer) => {
      for (const message of [NFT_MSG.newTable, NFT_MSG.delTable]) {
        beginNft(writer, message, 0, 'inet');
        writer.str(1, name);
        writer.end();
      }
    });
  }

  showAnswers(watch: AnswerWatch | undefined): void {
    if (watch === undefined) this.#remove(ANSWERS);
    else commit(this.#socket, (writer) => writeAnswers(writer, watch, this.#owned));
  }

  answerWay(): AnswerWay | undefined {
    return (['hold', 'copy'] as const).find((way) => probeAnswers(this.#socket, way));
  }

  changeDenial(denial: Denial): void {
    const before = this.#denial;
    this.#denial = denial;
    try {
      commit(this.#socket, (writer) => {
        for (const { name, rules } of this.#deniedChains()) {
          writeClearance(writer, this.#table, name);
          writeRules(writer, this.#table, name, rules);
        }
      });
    } catch (error) {
      if (error instanceof NetlinkError && error.code === 'ENOENT') return;
      this.#denial = before;
      throw error;
    }
  }

  dumpPolicy(): DumpedPolicy {
    const [socket, { name: table }] = [this.#socket, this.#table];
    const seen = POLICY_MAP_NAMES.flatMap((map) => joinEntries(map, dumpMap(socket, table, map)));
    const comments = dumpComments(socket, table);
    const hooks = [...comments.keys()].filter(isHook);
    const hooked = this.#compile(new Map(hooks.map((hook) => [hook, []])));
    const fixed = new Map([...this.#fixedChains(), ...hooked].map(({ name, rules }) => [name, rules]));
    let intact = [...fixed].every(([name, rules]) =>
      isSame(
        comments.get(name) ?? [],
        rules.map(({ comment }) => comment),
      ),
    );
    const chains = new Map<string, readonly ChainRule[]>(hooks.map((hook) => [hook, []]));
    for (const [name, list] of comments) {
      if (fixed.has(name)) continue;
      const rules = parseChain(list, this.#style());
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

  #fixedChains(): NftChain[] {
    return [...this.#deniedChains(), ...FIXED_CHAINS];
  }

  #deniedChains(): NftChain[] {
    const { audit, logPerSecond } = this.#denial;
    const kind = this.#isStaged ? 'staged' : audit ? 'audit' : 'denied';
    return deniedChains(kind, this.canLog() ? logPerSecond : 0);
  }

  #hostStyle(): HostStyle {
    return {
      staged: this.#isStaged,
      ...(this.#bridge === undefined ? {} : { bridge: this.#bridge }),
    };
  }

  /** What rules with action `log` are asked to tell of has been told of by the enforced table. */
  #style(): { readonly logs: boolean } {
    return { logs: !this.#isStaged && this.canLog() };
  }
}

/** Whether the kernel has what tells of packets (nfnetlink_log, nft_log, nft_limit). */
function probeLog(socket: NetlinkSocket): boolean {
  return probe(socket, (writer, table) => {
    for (const chain of deniedChains('denied', 1)) writeChain(writer, table, chain);
  });
}

/** Whether it has what shows answers in this way (nft_queue, or nft_log). */
function probeAnswers(socket: NetlinkSocket, way: AnswerWay): boolean {
  const rules = answerRules(way).map(({ comment, expressions }) => ({
    comment,
    expressions: expressions.slice(-1),
  }));
  return probe(socket, (writer, table) => writeChain(writer, table, { name: 'answers', rules }));
}

/** Whether the kernel would take what is written into a table of its own. */
function probe(socket: NetlinkSocket, write: (writer: MessageWriter, table: Table) => void): boolean {
  const table = { name: `${POLICY_TABLE}-trial`, priority: 0 };
  const writer = new MessageWriter();
  trial(writer, () => {
    beginNft(writer, NFT_MSG.newTable, NLM_F_CREATE, 'inet');
    writer.str(1, table.name);
    writer.end();
    write(writer, table);
  });
  const refusal = firstOf(socket.transact(writer).refusals);
  if (refusal === undefined || refusal.code === 'ENOENT') return refusal === undefined;
  throw new NetlinkError(refusal);
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

function isSame(a: readonly string[], b: readonly string[]): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}
