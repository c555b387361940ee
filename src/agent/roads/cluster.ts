/**
 * From what the stores say to what the host should be: keeps this node's own place (underlay, subnets), plans the node
 * and each peer, and hands the plans to the host. A peer is planned again only when its advert or our own place changed,
 * and only for the subnets that it may use: nodes that want the same one do not fight over its route.
 */
import type { Host } from '../host/host.ts';
import type { Events } from '#lib/log.ts';
import type { Adopted, Self } from '#backends/backend.ts';
import { selectInterface } from '#backends/interface.ts';
import { advertOf, checkRoad, planBlackholes, planNode, planPeer, podMtu } from '#backends/node-plan.ts';
import { hasSegment, requiredFamilies, roadsOf, wayFor } from '#backends/ways.ts';
import { given } from '#lib/given.ts';
import { resolveClaims, type SubnetConflict, SubnetUse } from '#ipam/conflict.ts';
import { toFault } from '#model/fault.ts';
import type { IpsecSelf } from '#model/ipsec.ts';
import type { Leg, Unreachable } from '#model/leg.ts';
import type { PoolMode, Way } from '#model/road.ts';
import type { Settings } from '#model/settings.ts';
import type { Underlay, UnderlayChoice } from '#model/underlay.ts';
import type { NodeAdvert, Station, SubnetClaim } from '#model/world.ts';
import { families, familyValues, type PerFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';

export type PeerPlan = {
  readonly legs: readonly Leg[];
  readonly unreachable: readonly Unreachable[];
  /** Why the peer is not reached by this or that way of the present ones, though it is by another. */
  readonly missing: readonly string[];
};

export type ClusterOptions = {
  readonly settings: Settings;
  readonly host: Host;
  readonly events: Events;
  readonly underlay: () => Underlay;
  /** Claims as they stand, those of this node among them. */
  readonly claims: () => readonly SubnetClaim[];
  /** What is routed to the node by blocks. */
  readonly blocksOf?: (node: string) => readonly Prefix[];
  /** Of pools that say it themselves. */
  readonly poolModes?: () => readonly PoolMode[];
  /** Pods of the wiring that the settings do not name live here. */
  readonly legacyPods: () => boolean;
  /** Least MTU of the pods that are ports of the bridge, in bytes. */
  readonly narrowestPort?: () => number | undefined;
  /** Public key of this node, made when it is first asked for. */
  readonly wireguardKey?: (() => string) | undefined;
  /** Public keys of this node in the userspace tunnel, the newest first; none where none are needed. */
  readonly tunnelKeys?: (() => readonly string[] | undefined) | undefined;
  /** What was taken over from another provider. */
  readonly adopted?: (() => Adopted | undefined) | undefined;
  /** IPsec's nonce and the names of its secrets, as they are now. */
  readonly ipsec?: (() => IpsecSelf | undefined) | undefined;
  /** Who is here on the segment of all nodes. */
  readonly stations: () => readonly Station[];
  /** Asks that the advert is published again. */
  readonly publishSoon: () => void;
  /** Asks for a `settle` soon. */
  readonly nudge: () => void;
  /** Publishes this node's advert when it differs from the last one. */
  readonly publish: (advert: NodeAdvert) => Promise<void>;
};

export class Cluster {
  readonly #options: ClusterOptions;
  readonly adverts = new Map<string, NodeAdvert>();
  readonly peers = new Map<string, PeerPlan>();
  /** The advert that each peer was planned with. */
  readonly #planned = new Map<string, NodeAdvert>();
  /** Peers whose advert, or whose view from here, changed since. */
  readonly #changed = new Set<string>();
  readonly #use = new SubnetUse();
  #unsettled = true;
  conflicts: readonly SubnetConflict[] = [];
  self: Self | undefined;
  #placeText = '';
  #waysText = '';
  /** Why there is no underlay, for status. */
  underlayProblem: string | undefined;

  constructor(options: ClusterOptions) {
    this.#options = options;
  }

  /**
   * Looks at the underlay again; plans everything again when the node's place or its ways changed. Answers whether it did.
   */
  refresh(subnets: PerFamily<Prefix>, ways: readonly Way[] = this.#settled()): boolean {
    const underlay = this.#select(ways);
    if (underlay === undefined || families(subnets).length === 0) return false;
    const self = this.#place({ subnets, underlay, ways });
    if (!this.#isNews(self)) return false;
    for (const { path, message } of checkRoad(self)) this.#options.events.add('error', `${path}: ${message}`);
    this.self = self;
    this.#options.host.set('node', planNode(self));
    this.#use.set(self.name, contestable(advertOf(self, true)));
    this.setBlocks(self.name);
    this.#planned.clear();
    for (const name of this.adverts.keys()) this.#changed.add(name);
    this.unsettle();
    return true;
  }

  #settled(): Way[] {
    const { settings } = this.#options;
    return [wayFor(settings.road, settings)];
  }

  #place(place: Required<Pick<Self, 'subnets' | 'underlay' | 'ways'>>): Self {
    const { settings } = this.#options;
    const roads = roadsOf({ settings, ...place });
    const poolModes = this.#options.poolModes?.() ?? [];
    const { wireguardKey, tunnelKeys, ipsec } = this.#options;
    const key = roads.includes('wireguard') ? this.#open(wireguardKey) : undefined;
    const keys = roads.includes('udp') ? this.#open(tunnelKeys) : undefined;
    const names = roads.includes('ipsec') ? this.#open(ipsec) : undefined;
    const self: Self = {
      name: this.#name,
      settings,
      ...place,
      legacyPods: this.#options.legacyPods(),
      ...(poolModes.length === 0 ? {} : { poolModes }),
      ...given('wireguardKey', key),
      ...given('tunnelKeys', keys),
      ...given('ipsec', names),
      ...given('adopted', this.#options.adopted?.()),
    };
    return { ...self, ...this.#bridgeMtu(self) };
  }

  /** Where pods of another road's time are its ports, and have less than roads leave now. */
  #bridgeMtu(self: Self): Pick<Self, 'bridgeMtu'> {
    const port = this.#options.narrowestPort?.();
    if (port === undefined) return {};
    const { name } = self.settings.wiring.bridge;
    const bridge = this.#options.underlay().links.find((link) => link.ours && link.name === name);
    // A pod that asked for less than the bridge has keeps nobody else from it.
    const mtu = Math.max(port, bridge?.mtu ?? 0);
    return mtu < podMtu(self) ? { bridgeMtu: mtu } : {};
  }

  /** Without its key, every peer says why it cannot be reached. */
  #open<Key>(keyOf: (() => Key) | undefined): Key | undefined {
    try {
      return keyOf?.();
    } catch (error) {
      this.#options.events.add('error', toFault(error).message);
      return undefined;
    }
  }

  #isNews({ subnets, underlay, legacyPods, bridgeMtu, tunnelKeys, ipsec, ways, poolModes }: Self): boolean {
    const place = JSON.stringify([subnets, underlay, legacyPods, tunnelKeys]);
    const roads = JSON.stringify([ways, ipsec, poolModes, bridgeMtu]);
    const isFirst = this.#placeText === '';
    const [moved, turned] = [place !== this.#placeText, roads !== this.#waysText];
    if (moved && !isFirst) this.#options.events.add('info', `this node's place changed: ${underlay.why}`);
    // What other roads take away, the operator asked for.
    if (turned && !isFirst) this.#options.host.agreeOnce();
    [this.#placeText, this.#waysText] = [place, roads];
    return moved || turned;
  }

  #select(ways: readonly Way[]): UnderlayChoice | undefined {
    const { settings, events } = this.#options;
    try {
      const required = requiredFamilies({ settings, ways });
      const choice = selectInterface(settings.underlay, this.#options.underlay(), required);
      this.underlayProblem = undefined;
      return choice;
    } catch (error) {
      const fault = toFault(error);
      const text = [fault.message, fault.details].filter((part) => part !== '').join('; ');
      if (text !== this.underlayProblem) events.add('error', `no underlay link: ${text}`);
      this.underlayProblem = text;
      return undefined;
    }
  }

  /** A peer's advert came, changed or (undefined) went. */
  setAdvert(name: string, advert: NodeAdvert | undefined): void {
    if (name === this.#name) return;
    this.#use.set(name, advert === undefined ? [] : contestable(advert));
    this.#changed.add(name);
    if (advert === undefined) {
      this.adverts.delete(name);
      this.peers.delete(name);
      this.#planned.delete(name);
      this.unsettle();
      this.#options.host.set(`peer/${name}`, undefined);
      return;
    }
    this.adverts.set(name, this.#withBlocks(advert));
    this.unsettle();
  }

  #withBlocks(advert: NodeAdvert): NodeAdvert {
    const { blocks: _, ...told } = advert;
    const blocks = this.#options.blocksOf?.(advert.name) ?? [];
    return blocks.length === 0 ? told : { ...told, blocks };
  }

  /** What is routed to the node by blocks has changed. Unused addresses of our own do not leave us. */
  setBlocks(name: string): void {
    const advert = this.adverts.get(name);
    if (advert !== undefined) this.setAdvert(name, advert);
    if (name === this.#name && this.self?.settings.blackhole === true)
      this.#options.host.set('blocks', planBlackholes(this.#options.blocksOf?.(name) ?? []));
  }

  /** Adverts or claims changed: who may use which subnet has to be found again. */
  unsettle(): void {
    this.#unsettled = true;
    this.#options.nudge();
  }

  /** Plans what changed since the last time, whatever the number of changes. */
  settle(): void {
    const { self } = this;
    if (self === undefined || !this.#unsettled) return;
    this.#unsettled = false;
    if (this.#use.contested || this.conflicts.length > 0) this.#resolve(self);
    else for (const name of this.#changed) this.#planWhenNew(self, name, this.adverts.get(name));
    this.#changed.clear();
  }

  /** Nodes are in each other's way, or were: one look at all claims. */
  #resolve(self: Self): void {
    const own = advertOf(self, true);
    const adverts = new Map([...this.adverts, [own.name, own] as const].filter(([, one]) => !hasBlocks(one)));
    // A claim decides between nodes that use the subnet. While its holder does not, the pods that live there are reached.
    const used = this.#options
      .claims()
      .filter(({ node, subnet }) => familyValues(adverts.get(node)?.subnets ?? {}).includes(subnet));
    const { nodes, conflicts } = resolveClaims(adverts, used);
    this.#report(conflicts);
    for (const [name, advert] of nodes) if (name !== self.name) this.#planWhenNew(self, name, advert);
    for (const [name, advert] of this.adverts) if (hasBlocks(advert)) this.#planWhenNew(self, name, advert);
  }

  #planWhenNew(self: Self, name: string, advert: NodeAdvert | undefined): void {
    if (advert === undefined || this.#planned.get(name) === advert) return;
    this.#planned.set(name, advert);
    this.#plan(self, advert);
  }

  #report(conflicts: readonly SubnetConflict[]): void {
    const before = new Set(this.conflicts.map(({ why }) => why));
    const now = new Set(conflicts.map(({ why }) => why));
    this.conflicts = conflicts;
    for (const why of now) if (!before.has(why)) this.#options.events.add('error', why);
    for (const why of before) if (!now.has(why)) this.#options.events.add('info', `settled: ${why}`);
  }

  /** Why this node may not use a subnet of its own, one sentence each. */
  lostSubnets(): string[] {
    return this.#lostBy(this.#name);
  }

  #lostBy(node: string): string[] {
    return this.conflicts.filter((conflict) => conflict.node === node).map(({ why }) => why);
  }

  #plan(self: Self, advert: NodeAdvert): void {
    try {
      const { items, legs, unreachable, missing } = planPeer(self, advert);
      const lost = this.#lostBy(advert.name).map((why): Unreachable => ({ peer: advert.name, why }));
      // Copied to their size: what grew by pushing has room for 17, thousands of times.
      this.peers.set(advert.name, { legs: legs.slice(), unreachable: [...unreachable, ...lost], missing });
      this.#options.host.set(`peer/${advert.name}`, items);
    } catch (error) {
      const why = `its advert cannot be planned: ${String(error)}`;
      this.#options.events.add('error', `peer ${advert.name}: ${why}`);
      this.peers.set(advert.name, { legs: [], unreachable: [{ peer: advert.name, why }], missing: [] });
      this.#options.host.set(`peer/${advert.name}`, undefined);
    }
  }

  podMtu(): number | undefined {
    return this.self === undefined ? undefined : podMtu(this.self);
  }

  /** `more`: what the advert says besides the node's place. */
  async advertise(ready: boolean, more: Partial<NodeAdvert> = {}): Promise<void> {
    const { self } = this;
    if (self === undefined) return;
    await this.#options.publish({ ...this.#withStations(advertOf(self, ready)), ...more });
  }

  /** Pods came or went: on a segment the other nodes are told. */
  notePods(): void {
    if (this.self !== undefined && hasSegment(this.self)) this.#options.publishSoon();
  }

  #withStations(advert: NodeAdvert): NodeAdvert {
    if (advert.layer2 === undefined) return advert;
    return { ...advert, layer2: { ...advert.layer2, stations: this.#options.stations() } };
  }

  get #name(): string {
    return this.#options.settings.node.name;
  }
}

/** Subnets that another node may want too. */
function contestable(advert: NodeAdvert): Prefix[] {
  return hasBlocks(advert) ? [] : familyValues(advert.subnets);
}

/** Blocks are taken by compare-and-swap: no two nodes have one. */
function hasBlocks({ addressing }: NodeAdvert): boolean {
  return addressing === 'blocks';
}
