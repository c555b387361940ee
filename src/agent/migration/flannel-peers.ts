/**
 * While a cluster moves from flannel: its nodes are peers by their leases in etcd, and this node has a lease that they read. A
 * node that tells of itself is no more flannel's, and its lease is its own to keep. What always holds: leases that are all
 * gone at once are a gap, and nobody is forgotten for it.
 */
import type { Agent } from '../agent.ts';
import type { Host } from '../host/host.ts';
import type { AgentParts } from '../parts.ts';
import { hostAddresses } from '../policy/addresses.ts';
import { type FlannelLease, readFlannelLeases } from '#ipam/flannel-lease.ts';
import { claimsOfPeers, leaseOfAdvert, peersOfLeases } from '#ipam/flannel-peer.ts';
import { dropRoutes, lookAtRoutes } from '#kernel/take-over.ts';
import { findLeftRoutes } from '#migration/flannel.ts';
import { toFault } from '#model/fault.ts';
import { keyOf } from '#model/host.ts';
import { MAIN_TABLE, METRIC } from '#model/numbers.ts';
import type { EtcdSettings, FlannelPlaces } from '#model/settings.ts';
import type { NodeAdvert, SubnetClaim } from '#model/world.ts';
import type { Address } from '#net/address.ts';
import { familyValues } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';
import { EtcdClient } from '#stores/etcd/client.ts';
import { type FlannelKey, followKeys, keepKey } from '#stores/etcd/flannel-keys.ts';

/** As flannel has it. */
const LEASE = { ttlSeconds: 86_400, renewBeforeSeconds: 3600 } as const;
/** The lease is looked at so often when nothing about it changed. */
const LOOK_MS = 600_000;

export type FlannelPeersOptions = {
  readonly parts: Pick<AgentParts, 'settings' | 'clock' | 'signal' | 'events' | 'kernel'>;
  readonly host: Pick<Host, 'seen'>;
  /** What nodes tell of themselves in the store. */
  readonly adverts: () => readonly NodeAdvert[];
  /** flannel runs on that node, or (undefined) does no more. */
  readonly onPeer: (name: string, advert: NodeAdvert | undefined) => void;
  /** All were told for the first time, or leases changed. */
  readonly onChange: () => void;
};

export function openFlannelPeers(
  agent: Pick<Agent, 'host' | 'cluster' | 'adverts'>,
  parts: AgentParts,
  onChange: () => void,
): FlannelPeers {
  const { host, cluster } = agent;
  const onPeer = (name: string, advert: NodeAdvert | undefined): void => cluster.setAdvert(name, advert);
  return new FlannelPeers({ parts, host, onPeer, onChange, adverts: () => agent.adverts() });
}

export class FlannelPeers {
  readonly #options: FlannelPeersOptions;
  readonly #client: EtcdClient | undefined;
  readonly #places: FlannelPlaces | undefined;
  #leases: readonly FlannelLease[] = [];
  #peers = new Map<string, NodeAdvert>();
  #told = new Set<string>();
  #kept = { value: '', atMs: -Infinity };
  #isTidy: boolean;
  /** Nodes tell other things of themselves than when it was last considered. */
  isStale = false;
  synced: boolean;

  constructor(options: FlannelPeersOptions) {
    this.#options = options;
    const { settings, clock, signal, events } = options.parts;
    const places = settings.migration?.flannel ?? undefined;
    const etcd = etcdOf(settings);
    this.synced = places === undefined || etcd === undefined;
    this.#isTidy = places === undefined;
    if (places === undefined || etcd === undefined) return;
    this.#places = places;
    const notice = (text: string): void => events.add('warning', `flannel’s keys: ${text}`);
    const client = new EtcdClient({ settings: etcd, clock, notice });
    this.#client = client;
    signal.addEventListener('abort', () => client.close(), { once: true });
    const below = `${places.prefix}/subnets/`;
    void followKeys({ client, below, clock, signal, onKeys: (keys) => this.#onKeys(keys) });
  }

  /** Subnets that flannel gave to nodes of its own. */
  claims(): SubnetClaim[] {
    return this.#leases.length === 0 ? [] : claimsOfPeers(this.#leases, this.#known());
  }

  #known(): Set<Address> {
    const told = this.#options.adverts().flatMap(({ addresses }) => familyValues(addresses));
    return new Set([...told, ...this.#own()]);
  }
  #own(): Address[] {
    const { settings, kernel } = this.#options.parts;
    return [...hostAddresses(kernel.underlay()), ...familyValues(settings.underlay.publicAddress)];
  }

  #onKeys(keys: readonly FlannelKey[]): void {
    const { leases, problems } = readFlannelLeases(keys);
    this.#tell(problems.map(({ path, message }) => `flannel’s lease ${path} ${message}`));
    if (leases.length === 0 && this.#leases.length > 0)
      return this.#tell(['all leases of flannel are gone at once']);
    this.#leases = leases;
    this.synced = true;
    this.consider();
    this.#options.onChange();
  }

  #tell(texts: readonly string[]): void {
    for (const text of texts) if (!this.#told.has(text)) this.#options.parts.events.add('warning', text);
    this.#told = new Set(texts);
  }

  /** Leases, or what nodes tell of themselves, have changed. */
  consider(): void {
    this.isStale = false;
    if (this.#client === undefined) return;
    const { settings } = this.#options.parts;
    const peers = peersOfLeases(this.#leases, { known: this.#known(), vxlanPort: settings.road.vxlan.port });
    const before = this.#peers;
    this.#peers = peers;
    for (const name of before.keys()) if (!peers.has(name)) this.#options.onPeer(name, undefined);
    for (const [name, advert] of peers)
      if (JSON.stringify(before.get(name)) !== JSON.stringify(advert)) this.#options.onPeer(name, advert);
  }

  /** This node's own lease, by which flannel's nodes reach it. */
  async keep(advert: NodeAdvert): Promise<void> {
    const lease = leaseOfAdvert(advert);
    const { clock, events } = this.#options.parts;
    if (this.#client === undefined || lease === undefined) return;
    const { key, value } = lease;
    if (this.#kept.value === value && clock.monotonicMs() - this.#kept.atMs < LOOK_MS) return;
    try {
      const isOwn = (text: string): boolean => this.#isOwn(key, text);
      const whole = `${this.#places?.prefix}/subnets/${key}`;
      await keepKey(this.#client, { key: whole, value, ...LEASE, isOwn });
      this.#kept = { value, atMs: clock.monotonicMs() };
    } catch (error) {
      const { message } = toFault(error);
      if (!this.#told.has(message))
        events.add('error', `flannel’s nodes do not learn of this one: ${message}`);
      this.#told.add(message);
    }
  }

  #isOwn(key: string, value: string): boolean {
    const [lease] = readFlannelLeases([{ key, value, isLeased: true }]).leases;
    return (
      lease === undefined || familyValues(lease.addresses).some((address) => this.#own().includes(address))
    );
  }

  /** The routes that flannel left stand before ours, which are there by now. */
  tidy(): void {
    if (this.#isTidy) return;
    const { settings } = this.#options.parts;
    const { seen } = this.#options.host;
    const ranges = familyValues(settings.network.subnets).map(({ range }) => range);
    const covered = (prefix: Prefix): boolean => seen.has(routeKey(prefix));
    const left = findLeftRoutes(lookAtRoutes(), { ranges, covered });
    dropRoutes(left);
    this.#isTidy = left.length === 0;
  }
}

function routeKey(prefix: Prefix): string {
  return keyOf({ kind: 'route', type: 'unicast', prefix, table: MAIN_TABLE, metric: METRIC.peer });
}

function etcdOf({ store }: AgentParts['settings']): EtcdSettings | undefined {
  return store.type === 'etcd' ? store.etcd : undefined;
}
