/**
 * The real kernel of one network namespace. Everything is synchronous but the deletion of links and the events; sockets
 * are opened when they are first needed and stay in their namespace.
 */
import type { Step } from '#model/diff.ts';
import { hostState, type Item, type ItemKind } from '#model/host.ts';
import { applyEntries, isLinkEntry } from './apply-entries.ts';
import { applyLink, type LinkStep } from './apply-links.ts';
import { Conntrack } from './conntrack.ts';
import { Cutter } from './conntrack-cut.ts';
import type { Change, Failure, Interest, Kernel, Userspace } from './kernel.ts';
import { observeLearned, removeLearned } from './learned.ts';
import { inNetns } from './netns.ts';
import { type Nftables, openNftables } from './nftables/nftables.ts';
import { openPolicy, type PolicyTable } from './nftables/policy/policy.ts';
import { hasPolicyTable } from './nftables/policy/presence.ts';
import { observeNetlink, observeUnderlay } from './observe.ts';
import { findLive } from './conntrack-live.ts';
import { createPair } from './pair.ts';
import { Reaper } from './reaper.ts';
import { openScope, type Scope } from './scope.ts';
import { applyShaping, observeShaping } from './shaper.ts';
import { writeSysctl } from './sysctl.ts';
import { Xfrm, type XfrmKeys } from './xfrm.ts';
import { watchChanges } from './watch.ts';
import type { PrivateKeyOf } from './wireguard.ts';

type Channel =
  | 'sysctl'
  | 'link'
  | 'entry'
  | 'wireguard'
  | 'userspace'
  | 'xfrm'
  | 'fou'
  | 'nftables'
  | 'shaper';

type Beside = {
  readonly privateKeyOf?: PrivateKeyOf | undefined;
  readonly xfrmKeys?: XfrmKeys | undefined;
  readonly userspace?: Userspace | undefined;
};

/** Who does the steps of a kind. Neighbouring steps of one channel are done together. */
const CHANNEL: Readonly<Record<ItemKind, Channel>> = {
  sysctl: 'sysctl',
  link: 'link',
  address: 'entry',
  neighbor: 'entry',
  proxy: 'entry',
  fdb: 'entry',
  station: 'entry',
  'fou-port': 'fou',
  'wireguard-peer': 'wireguard',
  tunnel: 'userspace',
  'tunnel-peer': 'userspace',
  'esp-port': 'xfrm',
  'xfrm-state': 'xfrm',
  'xfrm-policy': 'xfrm',
  route: 'entry',
  rule: 'entry',
  'nft-table': 'nftables',
  'nft-element': 'nftables',
  'foreign-rule': 'nftables',
  shaper: 'shaper',
  redirect: 'shaper',
};

/** The namespace that the calling thread is in, unless `within` names another. */
export function openKernel(
  privateKeyOf?: PrivateKeyOf,
  xfrmKeys?: XfrmKeys,
  userspace?: Userspace,
): Kernel & Disposable {
  return new LinuxKernel((work) => work(), 'host', { privateKeyOf, xfrmKeys, userspace });
}

const NO_USERSPACE: Userspace = {
  observe: () => [],
  apply: (steps) =>
    steps
      .filter(({ op }) => op !== 'remove')
      .map((step) => ({ step, code: 'EOPNOTSUPP', message: 'EOPNOTSUPP: nobody carries this here' })),
};

class LinuxKernel implements Kernel, Disposable {
  readonly #scope: Scope;
  /** In a pod nftables are looked at only once a step touched them: libnftables takes 16 ms to open. */
  readonly #place: 'host' | 'within';
  #nftables: Nftables | undefined;
  #reaper: Reaper | undefined;
  #conntrack: Conntrack | undefined;
  #cutter: Cutter | undefined;
  #foreignLinks: readonly string[] = [];
  readonly #appliers: Readonly<Record<Channel, (steps: readonly Step[]) => Failure[]>>;

  readonly #beside: Beside;
  readonly #userspace: Userspace;
  readonly #xfrm: Xfrm;

  constructor(run: Scope['run'], place: 'host' | 'within', beside: Beside) {
    const { privateKeyOf, xfrmKeys, userspace = NO_USERSPACE } = beside;
    this.#scope = openScope(run, privateKeyOf);
    this.#beside = beside;
    this.#userspace = userspace;
    this.#xfrm = new Xfrm(run, xfrmKeys);
    this.#place = place;
    this.#appliers = {
      sysctl: (steps) => run(() => steps.flatMap(applySysctl)),
      link: (steps) => steps.flatMap((step) => applyLink(this.#scope, step as Step & LinkStep) ?? []),
      entry: (steps) => applyEntries(this.#scope, steps),
      wireguard: (steps) => this.#scope.wireguard.apply(steps),
      userspace: (steps) => userspace.apply(steps),
      xfrm: (steps) => this.#xfrm.apply(steps),
      fou: (steps) => this.#scope.fou.apply(steps),
      nftables: (steps) => run(() => this.#nft().apply(steps)),
      shaper: (steps) => applyShaping(this.#scope, steps),
    };
  }
  [Symbol.dispose](): void {
    this.#reaper?.close();
    this.#conntrack?.close();
    this.#cutter?.close();
    this.#nftables?.close();
    this.#scope.wireguard[Symbol.dispose]();
    this.#xfrm[Symbol.dispose]();
    this.#scope.fou[Symbol.dispose]();
    this.#scope.socket[Symbol.dispose]();
  }

  observe(interest: Interest): Map<string, Item> {
    this.#foreignLinks = interest.foreignLinks;
    const looked = this.#place === 'host' || this.#nftables !== undefined;
    return hostState([
      ...observeNetlink(this.#scope, interest),
      ...observeShaping(this.#scope),
      ...(this.#place === 'host' ? this.#userspace.observe() : []),
      ...(looked ? this.#scope.run(() => this.#nft().observe()) : []),
      ...(this.#place === 'host' || this.#xfrm.opened ? this.#xfrm.observe() : []),
    ]);
  }

  apply(steps: readonly Step[]): Failure[] {
    const failures: Failure[] = [];
    for (let first = 0; first < steps.length;) {
      const channel = channelOf(steps[first]);
      let after = first + 1;
      while (after < steps.length && channelOf(steps[after]) === channel) after += 1;
      for (const failure of this.#appliers[channel](steps.slice(first, after))) failures.push(failure);
      first = after;
    }
    return failures;
  }

  changes(signal: AbortSignal): AsyncIterable<Change> {
    const { run } = this.#scope;
    const isNamed = (link: string): boolean => this.#foreignLinks.includes(link);
    const parseNftEvent = (bytes: Buffer) => this.#nft().changes(bytes);
    return watchChanges({ run, isNamed, parseNftEvent }, signal);
  }

  underlay(): ReturnType<Kernel['underlay']> {
    return observeUnderlay(this.#scope);
  }

  learnedRoutes(): ReturnType<Kernel['learnedRoutes']> {
    return observeLearned(this.#scope);
  }

  removeLearnedRoutes(): ReturnType<Kernel['removeLearnedRoutes']> {
    return removeLearned(this.#scope);
  }

  filterChains(): ReturnType<Kernel['filterChains']> {
    return this.#scope.run(() => this.#nft().filterChains());
  }

  createPair(pair: Parameters<Kernel['createPair']>[0]): ReturnType<Kernel['createPair']> {
    return createPair(this.#scope, pair);
  }

  reapLinks(names: readonly string[]): Promise<void> {
    this.#reaper ??= new Reaper(this.#scope);
    return this.#reaper.reap(names);
  }

  flushConntrack(filters: Parameters<Kernel['flushConntrack']>[0]): Promise<void> {
    this.#conntrack ??= new Conntrack(this.#scope.run);
    return this.#conntrack.flush(filters);
  }

  openPolicy(options?: Parameters<Kernel['openPolicy']>[0]): PolicyTable {
    const table = this.#scope.run(() => openPolicy(options));
    this.#nft().noteWriter(table.fd);
    return table;
  }

  hasPolicy(): boolean {
    return this.#scope.run(hasPolicyTable);
  }

  cutConnections(isDenied: Parameters<Kernel['cutConnections']>[0]): ReturnType<Kernel['cutConnections']> {
    this.#cutter ??= new Cutter(this.#scope.run);
    return this.#cutter.cut(isDenied);
  }

  liveDestinations(among: Parameters<Kernel['liveDestinations']>[0]): ReturnType<Kernel['liveDestinations']> {
    return findLive(this.#scope.run, among);
  }

  within(netns: number): Kernel & Disposable {
    return new LinuxKernel((work) => inNetns(netns, work), 'within', this.#beside);
  }

  #nft(): Nftables {
    this.#nftables ??= this.#scope.run(openNftables);
    return this.#nftables;
  }
}

function channelOf(step: Step | undefined): Channel {
  if (step === undefined) throw new RangeError('no step');
  if (isLinkEntry(step)) return 'entry';
  return CHANNEL[step.op === 'remove' ? step.was.kind : step.item.kind];
}

/** There is no removing a sysctl: whoever wants its old value back asks for that. */
function applySysctl(step: Step): Failure[] {
  if (step.op === 'remove' || step.item.kind !== 'sysctl') return [];
  try {
    writeSysctl(step.item);
    return [];
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    return [{ step, code: String(error.code), message: error.message }];
  }
}
