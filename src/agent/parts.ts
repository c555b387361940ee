/** What an agent is made of: opened by whoever starts it, so that tests can give it others. */
import { Complaints } from '#lib/complaints.ts';
import type { Ledger } from './pods/attachments.ts';
import type { ClusterOptions } from './roads/cluster.ts';
import type { IpsecRoad } from './roads/ipsec-road.ts';
import type { Events, Logger, LogTail } from '#lib/log.ts';
import { adoptedOf } from './migration/take-over.ts';
import type { Metrics } from './metrics.ts';
import type { TunnelRoad } from './roads/tunnel-road.ts';
import type { Clock } from '#lib/clock.ts';
import type { Kernel } from '#kernel/kernel.ts';
import type { Settings } from '#model/settings.ts';
import type { NodeApi } from '#stores/kubernetes/node-object.ts';
import type { Keep } from '#stores/last-good.ts';
import { Feeds } from '#stores/feed.ts';
import type { WatchedStore } from '#stores/open.ts';

export type AgentParts = {
  readonly settings: Settings;
  readonly version: string;
  readonly signal: AbortSignal;
  readonly clock: Clock;
  readonly log: Logger;
  readonly logTail: LogTail;
  readonly events: Events;
  readonly metrics: Metrics;
  readonly kernel: Kernel;
  readonly store: Omit<WatchedStore, 'close'>;
  /** Of this node in Kubernetes; absent: the store is another one. */
  readonly nodeApi?: NodeApi | undefined;
  /** What it holds, followed. */
  readonly feeds: Feeds;
  /** About objects that are wrong. */
  readonly complaints: Complaints;
  readonly ledger: Ledger;
  /** Public key of this node, made when it is first asked for. */
  readonly wireguardKey?: (() => string) | undefined;
  readonly ipsec?: IpsecRoad | undefined;
  /** The userspace tunnel, and this node's public keys in it, the newest first. */
  readonly tunnel?: Pick<TunnelRoad, 'status' | 'isBehind'> | undefined;
  readonly tunnelKeys?: (() => readonly string[] | undefined) | undefined;
  /** Objects of policy that were accepted before; absent: policy is off. */
  readonly keep: Keep | undefined;
};

/** By which peers know this node. */
export function keysOf({
  wireguardKey,
  tunnelKeys,
  ipsec,
  ledger,
}: AgentParts): Pick<ClusterOptions, 'wireguardKey' | 'tunnelKeys' | 'ipsec' | 'adopted'> {
  return { wireguardKey, tunnelKeys, ipsec: ipsec && (() => ipsec.self()), adopted: () => adoptedOf(ledger) };
}

type Followed = Pick<AgentParts, 'settings' | 'store' | 'clock' | 'log' | 'signal' | 'events'>;

/** Follows the store's objects for all parts of an agent. */
export function openFeeds(parts: Followed): Pick<AgentParts, 'feeds' | 'complaints'> {
  const complaints = new Complaints(parts.events, parts.clock, parts.signal);
  const onMalformed = (text: string): void => complaints.add(`not read: ${text}`);
  return { complaints, feeds: new Feeds({ ...parts, self: parts.settings.node.name, onMalformed }) };
}
