/** The nftables part of one network namespace: our tables, their elements, our rules in others' chains. */
import type { Step } from '#model/diff.ts';
import type { ForeignChain } from '#model/facts.ts';
import type { Item, NftElementItem } from '#model/host.ts';
import type { Change, Failure } from '../kernel.ts';
import { openNetlink } from '../netlink/socket.ts';
import { NETLINK_NETFILTER } from '../sys.ts';
import { applyElements, dumpElements, type ElementStep } from './elements.ts';
import { parseNftEvent } from './events.ts';
import { ForeignRules } from './foreign.ts';
import { listFilterChains } from './filter-chains.ts';
import { endsInDrop } from './last-rule.ts';
import { netlinkPort, openLibrary } from './library.ts';
import { Tables } from './tables.ts';

export type Nftables = {
  /**
   * Steps on nft-table, nft-element and foreign-rule, in order; neighbouring element steps are one transaction. Tries
   * all, answers those that failed. A foreign rule whose chain does not exist fails with ENOENT.
   */
  apply(steps: readonly Step[]): Failure[];
  observe(): Item[];
  /** Base chains of others at the hooks input and forward. */
  filterChains(): ForeignChain[];
  /** What a datagram of the group NFNLGRP_NFTABLES means; nothing for our own writes. */
  changes(datagram: Buffer): Change[];
  /** What this socket writes is our own too. */
  noteWriter(fd: number): void;
  close(): void;
};

/** Opens its sockets in the calling thread's network namespace. Throws where libnftables is missing. */
export function openNftables(): Nftables {
  // First: where the kernel lacks it the library would end the process.
  const socket = openNetlink(NETLINK_NETFILTER);
  const library = openLibrary();
  const ports = new Set([library.port, netlinkPort(socket.fd) ?? library.port]);
  const tables = new Tables(library, () => dumpElements(socket));
  const rules = new ForeignRules(library, socket);
  let bases: ReadonlySet<string> = new Set();

  const applyOne = (step: Step, next: readonly NftElementItem[] = []): void => {
    const removes = step.op === 'remove';
    const item = removes ? step.was : step.item;
    if (item.kind === 'nft-table') return removes ? tables.remove(item.family) : tables.load(item, next);
    if (item.kind === 'foreign-rule') return removes ? rules.remove(item) : rules.insert(item);
    throw new TypeError(`${item.kind} is no nftables item`);
  };
  const applyRun = ([kind, steps]: Run, after: Run | undefined): Failure[] => {
    const next = after?.[0] === 'nft-element' ? added(after[1]) : [];
    if (kind !== 'nft-element') return steps.flatMap((step) => attempt(step, (one) => applyOne(one, next)));
    return applyElements(socket, steps as readonly ElementStep[]).map(({ step, refusal }) => ({
      step,
      code: refusal.code,
      message: refusal.reason,
    }));
  };
  return {
    apply: (steps) => {
      const all = runs(steps);
      return all.flatMap((run, at) => applyRun(run, all[at + 1]));
    },
    observe: () => [...tables.observe(), ...dumpElements(socket), ...rules.observe()],
    filterChains: () => {
      const chains = listFilterChains(library, (chain) => endsInDrop(socket, chain));
      bases = new Set(chains.map(({ family, table, chain }) => `${family} ${table} ${chain}`));
      return chains;
    },
    changes: (datagram) => parseNftEvent(datagram, { ports, chains: rules.chains, bases }),
    noteWriter: (fd) => {
      const port = netlinkPort(fd);
      if (port !== undefined) ports.add(port);
    },
    close: () => {
      library.close();
      socket[Symbol.dispose]();
    },
  };
}

function attempt(step: Step, work: (step: Step) => void): Failure[] {
  try {
    work(step);
    return [];
  } catch (error) {
    if (error instanceof TypeError) return [{ step, code: 'EINVAL', message: error.message }];
    if (!(error instanceof Error) || !('code' in error)) throw error;
    return [{ step, code: String(error.code), message: error.message }];
  }
}

type Run = readonly [Item['kind'], Step[]];

function added(steps: readonly Step[]): NftElementItem[] {
  return steps.flatMap((step) => (step.op === 'remove' ? [] : [step.item as NftElementItem]));
}

/** Neighbouring steps of one kind together. */
function runs(steps: readonly Step[]): Run[] {
  const found: Run[] = [];
  for (const step of steps) {
    const { kind } = step.op === 'remove' ? step.was : step.item;
    const last = found.at(-1);
    if (last?.[0] === kind) last[1].push(step);
    else found.push([kind, [step]]);
  }
  return found;
}
