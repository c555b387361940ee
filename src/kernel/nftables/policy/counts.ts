/**
 * What a policy table has counted, for whoever measures: read from a pool thread and a piece at a time, by a socket of its
 * own, so that neither the loop nor the table's writer waits, however large the maps are. Entries that come or go
 * meanwhile may be left out or told twice (with the same count).
 */
import {
  POLICY_MAP_NAMES,
  POLICY_MAPS,
  type PolicyMapName,
  type PolicyMapType,
} from '#model/policy-program.ts';
import { Attributes, eachAttribute, type Message } from '../../netlink/message.ts';
import { NetlinkError, type NetlinkSocket, openNetlink } from '../../netlink/socket.ts';
import type { Scope } from '../../scope.ts';
import { NETLINK_NETFILTER } from '../../sys.ts';
import { NFGENMSG_BYTES } from '../nfnetlink.ts';
import { isTelling } from './chains.ts';
import { commentOf, getMap, getRules } from './dump.ts';
import { type Count, readEntries } from './entries.ts';

/** `key`: an entry, or the rule of a chain by its index, as in the reasons of programs: `c7 0`, `denied-egress 0`. */
export type Counted = { readonly key: string; readonly count: Count };

const COUNTED = POLICY_MAP_NAMES.filter((map) => (POLICY_MAPS[map] as PolicyMapType).counted === true);
const RULE = { table: 1, chain: 2, expressions: 4 } as const;
const EXPRESSION = { name: 1, data: 2 } as const;
const COUNTER = { bytes: 1, packets: 2 } as const;

export type CountReader = {
  /** All that have counted anything. One at a time. */
  read(table: string): Promise<Counted[]>;
  close(): void;
};

/** In the namespace that `run` goes to. */
export function openCounts(run: Scope['run']): CountReader {
  const socket = run(() => openNetlink(NETLINK_NETFILTER));
  return {
    async read(table) {
      const found: Counted[] = [];
      for (const map of COUNTED) found.push(...(await readMap(socket, table, map)));
      found.push(...(await readRules(socket, table)));
      return found;
    },
    close: () => socket[Symbol.dispose](),
  };
}

async function readMap(socket: NetlinkSocket, table: string, map: PolicyMapName): Promise<Counted[]> {
  const parse = (message: Message): Counted[] =>
    readEntries(map, message).flatMap(({ key, count }) =>
      count === undefined || count.packets === 0n ? [] : [{ key: `${map} ${key}`, count }],
    );
  return (await ask(socket.dumpAsync(getMap(table, map), parse, () => true))).flat();
}

type CountedRule = { readonly chain: string; readonly count: Count | undefined };

async function readRules(socket: NetlinkSocket, table: string): Promise<Counted[]> {
  const rules = await ask(
    socket.dumpAsync(
      getRules(table),
      (message) => readRule(table, message),
      () => true,
    ),
  );
  const next = new Map<string, number>();
  return rules.flatMap(({ chain, count }) => {
    const index = next.get(chain) ?? 0;
    next.set(chain, index + 1);
    return count === undefined || count.packets === 0n ? [] : [{ key: `${chain} ${index}`, count }];
  });
}

/** Undefined: another table's, or one that only tells of packets for the next. */
function readRule(table: string, message: Message): CountedRule | undefined {
  const rule = new Attributes(message.bytes, message.at + NFGENMSG_BYTES, message.end);
  if (rule.str(RULE.table) !== table || isTelling(commentOf(rule))) return undefined;
  let count: Count | undefined;
  const expressions = rule.data(RULE.expressions) ?? Buffer.alloc(0);
  eachAttribute(expressions, 0, expressions.length, (_, at, end) => {
    const expression = new Attributes(expressions, at, end);
    if (expression.str(EXPRESSION.name) === 'counter') count = readCounter(expression);
  });
  return { chain: rule.str(RULE.chain) ?? '', count };
}

function readCounter(expression: Attributes): Count {
  const counter = expression.nest(EXPRESSION.data);
  return { packets: counter?.u64be(COUNTER.packets) ?? 0n, bytes: counter?.u64be(COUNTER.bytes) ?? 0n };
}

async function ask<T>(dump: Promise<T[]>): Promise<T[]> {
  try {
    return await dump;
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENOENT') return [];
    throw error;
  }
}
