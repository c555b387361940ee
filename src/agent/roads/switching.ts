/**
 * This node's part in a change of the cluster's road: it takes the ways of the phase, says in its advert how far it is, and
 * takes the cluster to the next phase once all say so. There is no coordinator: any agent may be killed at any moment, and
 * goes on from what the store says.
 */
import { Abilities } from './abilities.ts';
import type { Agent } from '../agent.ts';
import type { Cluster } from './cluster.ts';
import { armCrash, type Place } from '../crash.ts';
import type { Host } from '../host/host.ts';
import type { Events } from '#lib/log.ts';
import type { AgentParts } from '../parts.ts';
import { backendFor } from '#backends/index.ts';
import { advance, type Hold, holdsOf, isSettled, turnBack, waysDuring } from '#backends/switch.ts';
import { wayFor } from '#backends/ways.ts';
import { Fault } from '#model/fault.ts';
import type { Way } from '#model/road.ts';
import {
  readSwitch,
  type RoadSpec,
  type RoadSwitch,
  sameSpec,
  specText,
  SWITCH_NAME,
  type SwitchProgress,
} from '#model/road-switch.ts';
import type { RoadName, Settings } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import type { Prefix } from '#net/prefix.ts';
import type { Store, Stored } from '#stores/store.ts';

export type SwitchingOptions = {
  readonly settings: Settings;
  readonly store: Pick<Store, 'put' | 'remove'>;
  readonly events: Events;
  readonly host: Pick<Host, 'failures' | 'openKeys' | 'paused'>;
  readonly cluster: Pick<Cluster, 'adverts' | 'peers' | 'self'>;
  /** Adverts of all nodes as the store has them, our own among them. */
  readonly nodes: () => readonly NodeAdvert[];
  /** Whether BIRD has written a route to the prefix. */
  readonly isLearned: (prefix: Prefix) => boolean;
  /** Roads that this kernel has. */
  readonly able: () => readonly RoadName[] | undefined;
  readonly tunnel?: AgentParts['tunnel'];
  /** The node's place has to be looked at again. */
  readonly nudge: () => void;
  readonly crash: (place: Place) => void;
};

/** With the store's object followed. `nudge`: the node's place has to be looked at again. */
export function startSwitching(agent: Agent, parts: AgentParts, nudge: () => void): Switching {
  const { host, cluster, addresses } = agent;
  const { wireguardKey } = parts;
  const { list } = new Abilities({ ...parts, subnets: () => addresses.place.held, wireguardKey });
  const crash = armCrash(process.env['TARTAN_KILL_AT']);
  const nodes = (): NodeAdvert[] => agent.adverts();
  const isLearned = (prefix: Prefix): boolean => agent.routing.learned.has(prefix);
  const switching = new Switching({ ...parts, host, cluster, nodes, isLearned, able: list, nudge, crash });
  const feed = parts.feeds.follow('Switch', {
    onChange: (name, object) => name === SWITCH_NAME && switching.setObject(object),
    onSynced: () => feed.objects.has(SWITCH_NAME) || switching.setObject(undefined),
  });
  return switching;
}

export class Switching {
  readonly #options: SwitchingOptions;
  #object: Stored | undefined;
  change: RoadSwitch | undefined;
  /** The store has said whether there is a change. */
  synced = false;
  /** What was said last, so that only changes are told. */
  #said = '';
  /** Progress as it was last put into the advert. */
  #told = '';

  constructor(options: SwitchingOptions) {
    this.#options = options;
  }

  get isUnderWay(): boolean {
    return this.change !== undefined;
  }

  /** What this node's file says. */
  get configured(): RoadSpec {
    const { type, mode } = this.#options.settings.road;
    return { type, mode };
  }

  /** The store's object came, changed or went. */
  setObject(object: Stored | undefined): void {
    this.synced = true;
    const change = readSwitch(object?.value);
    if (object !== undefined && change === undefined) {
      this.#options.events.add('error', `${object.origin}: not the change of a road; it is left as it is`);
      return;
    }
    this.#object = object;
    if (change !== undefined && change.phase !== 'done' && change.phase !== this.change?.phase)
      this.#options.crash(`switch:${change.phase}`);
    this.change = change;
    this.#options.nudge();
  }

  /** By which this node is to go, for the plan that is made now. */
  ways(): readonly Way[] {
    const wayOf = this.wayOf;
    return this.change === undefined ? [wayOf(this.configured)] : waysDuring(this.change, wayOf);
  }

  readonly wayOf = (spec: RoadSpec): Way => wayFor(spec, this.#options.settings, this.#options.able);

  /** For the advert. */
  say(): Pick<NodeAdvert, 'configured' | 'progress'> {
    const progress = this.progress();
    this.#told = JSON.stringify(progress);
    return { configured: this.configured, ...(progress === undefined ? {} : { progress }) };
  }

  /** Whether the advert has to be written again, after a pass over the host. */
  hasNews(): boolean {
    return this.change !== undefined && JSON.stringify(this.progress()) !== this.#told;
  }

  /** This node may be further, without a pass over the host. */
  suspect(): void {
    if (this.hasNews()) this.#options.nudge();
  }

  /** How far this node is; undefined while nothing is under way. */
  progress(): SwitchProgress | undefined {
    const { change } = this;
    if (change === undefined) return undefined;
    const { generation, phase } = change;
    const hold = this.#hold(change);
    return hold === undefined
      ? { generation, phase, state: 'reached' }
      : { generation, phase, state: hold.failed ? 'failed' : 'waiting', why: hold.why };
  }

  #hold(change: RoadSwitch): Omit<Hold, 'node'> | undefined {
    const { host, cluster, tunnel } = this.#options;
    const waits = (why: string) => ({ why, failed: false });
    if (JSON.stringify(cluster.self?.ways) !== JSON.stringify(this.ways())) return waits('not planned yet');
    if (host.paused) return waits('paused by tartan pause');
    const missing = this.#missing(change) ?? this.#unlearned(change);
    if (missing !== undefined) return missing;
    const sources = ['node', ...[...cluster.adverts.keys()].map((name) => `peer/${name}`)];
    const open = sources.flatMap((source) => host.openKeys(source));
    const failure = open.map((key) => host.failures.get(key)).find((each) => each !== undefined);
    if (failure !== undefined) return { why: `${failure.code}: ${failure.message}`, failed: true };
    if (open.length > 0) return waits(`${open.length} parts are not in the kernel yet`);
    return tunnel?.isBehind === true ? waits('the userspace tunnel is not carried yet') : undefined;
  }

  /** A way of this phase is by routes that BGP tells, and of some it has not told yet. */
  #unlearned({ without }: RoadSwitch): Omit<Hold, 'node'> | undefined {
    const { cluster, isLearned } = this.#options;
    const roads = this.ways().flatMap((way) => way.roads);
    if (!roads.some((road) => backendFor(road).isLearned === true)) return undefined;
    for (const [name, { legs }] of cluster.peers) {
      const untold = legs.find(({ prefix }) => !isLearned(prefix));
      if (untold !== undefined && !without.includes(name))
        return { why: `${name}: BGP has not told of ${untold.prefix} yet`, failed: false };
    }
    return undefined;
  }

  /** A peer that is reached, but not by every way of this phase. */
  #missing({ generation, without }: RoadSwitch): Omit<Hold, 'node'> | undefined {
    const { cluster } = this.#options;
    for (const [name, { legs, missing }] of cluster.peers) {
      const [first] = missing;
      if (first === undefined || legs.length === 0 || without.includes(name)) continue;
      const knows = cluster.adverts.get(name)?.progress?.generation === generation;
      return { why: `${name}: ${first}`, failed: knows };
    }
    return undefined;
  }

  /** Takes the cluster on, when all nodes are as far as that. Somebody else may have been first. */
  async goOn(): Promise<void> {
    const [change, nodes] = [this.change, this.#options.nodes()];
    if (change === undefined) return;
    this.#tell(change, nodes);
    const next = advance(change, nodes);
    if (next !== undefined) await this.#write(next);
    else if (isSettled(change, nodes)) await this.#forget();
  }

  #tell(change: RoadSwitch, nodes: readonly NodeAdvert[]): void {
    const { from, to, phase } = change;
    const failed = holdsOf(change, nodes).filter((hold) => hold.failed);
    const what = `road ${specText(from)} → ${specText(to)}: ${phase}`;
    const text = [what, ...failed.map(({ node, why }) => `${node} cannot: ${why}`)].join('; ');
    if (text === this.#said) return;
    this.#said = text;
    this.#options.events.add(failed.length > 0 ? 'error' : 'info', text);
  }

  async #write(change: RoadSwitch): Promise<void> {
    const expect = this.#object?.version ?? 'absent';
    try {
      this.setObject(await this.#options.store.put('Switch', SWITCH_NAME, change, { expect }));
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== 'store-conflict') throw error;
    }
  }

  async #forget(): Promise<void> {
    const object = this.#object;
    if (object === undefined) return;
    try {
      await this.#options.store.remove('Switch', SWITCH_NAME, { expect: object.version });
      this.#options.events.add('info', 'the settings of all nodes say the road: they rule again');
    } catch (error) {
      if (!(error instanceof Fault) || error.code !== 'store-conflict') throw error;
    }
  }

  /** What the cluster is on now, or changes to. */
  get present(): RoadSpec {
    return this.change?.to ?? this.configured;
  }

  /** Throws Fault `switch-refused` when another change is under way, or there is nothing to change. */
  async begin(to: RoadSpec, without: readonly string[]): Promise<void> {
    const { change } = this;
    if (change !== undefined && change.phase !== 'done') {
      if (!sameSpec(change.to, to)) throw underWay(change);
      return this.#write({ ...change, without });
    }
    if (sameSpec(this.present, to)) throw new Fault('switch-refused', `the road is ${specText(to)} already`);
    const generations = this.#options.nodes().map(({ progress }) => progress?.generation ?? 0);
    const generation = Math.max(0, change?.generation ?? 0, ...generations) + 1;
    await this.#write({ generation, from: this.present, to, phase: 'accept', without });
  }

  /** Goes on without these nodes. Throws Fault `switch-refused` when there is no change. */
  async leaveOut(without: readonly string[]): Promise<void> {
    if (this.change === undefined) throw new Fault('switch-refused', 'no change of the road is under way');
    await this.#write({ ...this.change, without });
  }

  /** Throws Fault `switch-refused` when there was no change. */
  async back(without: readonly string[]): Promise<void> {
    if (this.change === undefined) throw new Fault('switch-refused', 'no change of the road is under way');
    await this.#write({ ...turnBack(this.change), without });
  }
}

function underWay({ from, to, phase }: RoadSwitch): Fault {
  const what = `the road changes from ${specText(from)} to ${specText(to)} (${phase})`;
  return new Fault('switch-refused', `${what}: let it end, or turn it round with tartan switch --back`);
}
