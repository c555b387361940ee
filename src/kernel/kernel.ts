/**
 * The kernel of one network namespace, as the rest of the code sees it: state in, state out. The real one speaks
 * netlink (./linux.ts), the fake one (./fake.ts) keeps the same state in memory; both pass the same contract tests.
 */
import type { Address } from '#net/address.ts';
import type { Mac } from '#net/mac.ts';
import type { Protocol } from '#model/attachment.ts';
import type { Step } from '#model/diff.ts';
import type { ForeignChain } from '#model/facts.ts';
import type { HostState, Item, ItemKey, RouteItem } from '#model/host.ts';
import type { Underlay } from '#model/underlay.ts';
import type { Flow } from '#model/verdict.ts';
import type { openPolicy, PolicyTable } from './nftables/policy/policy.ts';

/** A step that the kernel refused. `code` is the errno name; `message` carries the kernel's extended ack if it gave one. */
export type Failure = { readonly step: Step; readonly code: string; readonly message: string };

/**
 * `seen` is undefined when the object is gone. `resync`: events were lost, observe again. `underlay`: something foreign
 * changed. `policy`: somebody else changed a policy table. `learned`: BIRD changed a route.
 */
export type Change =
  | { readonly type: 'item'; readonly key: ItemKey; readonly seen: Item | undefined }
  | { readonly type: 'resync' }
  | { readonly type: 'policy' }
  | { readonly type: 'learned' }
  | { readonly type: 'underlay' };

/** What carries items that no kernel has (the userspace tunnel), as if it were a part of it. */
export type Userspace = {
  observe(): readonly Item[];
  /** Begins what the steps ask for; what turns out to fail later is no longer there when it is observed. */
  apply(steps: readonly Step[]): Failure[];
};

/** What to look at besides what carries our marks. */
export type Interest = {
  /** Sysctl keys whose present value is wanted. */
  readonly sysctls: readonly string[];
  /** Links by name that are somebody else's but stand in the wanted state. */
  readonly foreignLinks: readonly string[];
};

/** A veth pair across two namespaces, made in one request. The host end comes up at once, the pod end does not. */
export type VethPair = {
  readonly hostName: string;
  readonly hostMac?: Mac;
  readonly podName: string;
  readonly podMac: Mac;
  readonly mtu: number;
  /** Open file descriptor of the pod's network namespace. */
  readonly netns: number;
};

export type ConntrackFilter = {
  readonly protocol?: Protocol;
  /** Original destination (address the client aimed at). */
  readonly originalDestination?: Address;
  readonly originalDestinationPort?: number;
  /** Source or destination of either direction. */
  readonly anyAddress?: Address;
};

/** How many connections pass no more, and how many do again. */
export type Cut = { readonly cut: number; readonly restored: number };

export interface Kernel {
  /** All that is ours (by protocol number, alias, name prefix, table name), plus what `interest` names. */
  observe(interest: Interest): Map<ItemKey, Item>;
  /** Tries every step, in order; answers those that failed. */
  apply(steps: readonly Step[]): Failure[];
  /** Changes as they happen, until the signal aborts. The kernel's echo of our own steps is among them. */
  changes(signal: AbortSignal): AsyncIterable<Change>;
  underlay(): Underlay;
  /** Routes that this node's BIRD wrote; no step touches them. */
  learnedRoutes(): RouteItem[];
  /** For when BIRD is gone for good; answers what was removed. */
  removeLearnedRoutes(): RouteItem[];
  /** Other programs' base chains that filter what comes in or is forwarded. */
  filterChains(): ForeignChain[];
  /** Throws Fault `kernel` (and leaves nothing) when either name is taken or the namespace is gone. */
  createPair(pair: VethPair): { hostIndex: number; podIndex: number };
  /** Deletes links that are ours, many in one RCU grace period; resolves when they are gone. Missing ones are fine. */
  reapLinks(names: readonly string[]): Promise<void>;
  /** Deletes conntrack entries of both families that match one of the filters; resolves when they are gone. */
  flushConntrack(filters: readonly ConntrackFilter[]): Promise<void>;
  /** Network policy's table; whoever opened it is its only writer. */
  openPolicy(options?: Parameters<typeof openPolicy>[0]): PolicyTable;
  /** Whether a table of network policy is there, whoever made it. */
  hasPolicy(): boolean;
  /** Connections that `isDenied` holds of pass no more, all others do. One call at a time. */
  cutConnections(isDenied: (flow: Flow) => boolean): Promise<Cut>;
  /** Those of the addresses to which connections live, before or after DNAT. */
  liveDestinations(among: ReadonlySet<Address>): Promise<Set<Address>>;
  /** The same operations inside another network namespace, given by an open file descriptor. Dispose closes its sockets only. */
  within(netns: number): Kernel & Disposable;
}

export type { HostState };
