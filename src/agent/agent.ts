/**
 * The agent of one node: opens what it needs, feeds the host from the stores, and serves the CNI and the admin API.
 * Start order matters: what a killed predecessor left is taken over from the ledger before anything is served, nothing
 * is removed before every source has said what it wants, and readiness comes after the first full pass.
 */
import { isDeepStrictEqual } from 'node:util';
import { type Addresses, openAddresses } from './addresses/addresses.ts';
import type { Attachments, Ledger } from './pods/attachments.ts';
import { openAttachments } from './pods/open.ts';
import { Cluster } from './roads/cluster.ts';
import { type Chores, startChores } from './chores.ts';
import { type Freezing, openFreezing } from './freezing.ts';
import { settleHeap } from './heap.ts';
import { Host } from './host/host.ts';
import { HostPasses } from './host/passes.ts';
import { OnKubernetes } from './kubernetes/on-kubernetes.ts';
import { type FlannelPeers, openFlannelPeers } from './migration/flannel-peers.ts';
import type { Events, LogTail } from '#lib/log.ts';
import { LastPlace, type Place } from './last-place.ts';
import type { Metrics } from './metrics.ts';
import { advertAddresses, hostAddresses } from './policy/addresses.ts';
import { holdersOf } from './policy/holders.ts';
import type { Policies } from './policy/policies.ts';
import { type Policing, startPolicies } from './policy/start.ts';
import type { Routing } from './routing/routing.ts';
import { startRouting } from './routing/start.ts';
import { serveAgent } from './serve/serve.ts';
import { type AgentParts, keysOf } from './parts.ts';
import { podsHere } from './pods/pods-here.ts';
import { countPeers, Readiness } from './readiness.ts';
import { Reaper } from './pods/reaper.ts';
import { restOf, settleOrphans } from './addresses/rest.ts';
import { startSwitching, type Switching } from './roads/switching.ts';
import { SysctlMemory } from './host/sysctl-memory.ts';
import { type Reconciler, startReconciler } from '#lib/reconciler.ts';
import type { Change, Kernel } from '#kernel/kernel.ts';
import { readSysctl } from '#kernel/sysctl.ts';
import type { Settings } from '#model/settings.ts';
import type { NodeAdvert, SubnetClaim } from '#model/world.ts';
import { familyValues } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';
import type { Feed } from '#stores/feed.ts';

const HOST_RESYNC_MS = 60_000;
const PLACE_RESYNC_MS = 15_000;
export class Agent {
  readonly #parts: AgentParts;
  readonly host: Host;
  readonly cluster: Cluster;
  readonly addresses: Addresses;
  readonly attachments: Attachments;
  readonly sysctls: SysctlMemory;
  readonly chores: Chores;
  readonly policing: Policing;
  readonly routing: Routing;
  readonly startedAt = new Date().toISOString();
  readonly #hostLoop: Reconciler;
  readonly #placeLoop: Reconciler;
  readonly #nodes: Feed;
  readonly #claims: Feed;
  readonly kubernetes: OnKubernetes;
  readonly #flannel: FlannelPeers;
  readonly switching: Switching;
  readonly #readiness: Readiness;
  readonly #last: LastPlace;
  readonly #freezing: Freezing;
  readonly #passes: HostPasses;

  constructor(parts: AgentParts) {
    this.#parts = parts;
    const { settings, clock, signal, log, kernel, ledger } = parts;
    const reaper = new Reaper(kernel, log);
    this.sysctls = new SysctlMemory(settings.paths.state, (key) => readSysctl(key)?.value);
    this.host = new Host({
      kernel: this.sysctls.watch(kernel),
      brake: settings.brake,
      log,
      nudge: () => this.#hostLoop?.nudge(),
      reap: (names) => void reaper.reap(names),
    });
    this.#passes = new HostPasses(this.host, parts);
    this.addresses = openAddresses({
      parts,
      claims: () => this.#claims,
      nodes: () => this.#nodes,
      node: () => this.kubernetes.nodes.own,
      foreign: () => this.#flannel.claims(),
      onNode: (name, block) => this.#onBlock(name, block),
      nudge: () => this.#placeLoop?.nudge(),
    });
    this.cluster = this.#openCluster();
    this.#readiness = new Readiness(this);
    const nudge = (): void => this.#placeLoop?.nudge();
    this.switching = startSwitching(this, parts, nudge);
    this.#last = new LastPlace({ parts, resume: this.addresses.resume, nudge });
    this.attachments = openAttachments(this, parts, reaper);
    const loop = { clock, signal, onError: (error: unknown) => log.error({ err: error }, 'a pass failed') };
    void settleOrphans(this.addresses.pools, restOf(parts));
    const { host, cluster } = this;
    this.chores = startChores({ ...parts, host, cluster, attachments: this.attachments, loop });
    this.policing = startPolicies({
      parts,
      areNodesKnown: () => this.#isStoreKnown(),
      routedTo: (address) => this.addresses.blocks.routedTo(address),
    });
    this.routing = this.#openRouting();
    this.#nodes = parts.feeds.follow('Node', { onChange: (name) => this.#onNode(name), onSynced: nudge });
    this.#claims = parts.feeds.follow('SubnetClaim', { onChange: () => this.#onClaim(), onSynced: nudge });
    this.#flannel = openFlannelPeers(this, parts, nudge);
    this.kubernetes = this.#openKubernetes();
    this.addresses.blocks.begin();
    this.#freezing = openFreezing(ledger, [this.host, this.routing, this.policies]);
    this.policies?.begin();
    this.routing.begin();
    this.#hostLoop = startReconciler({ ...loop, resyncMs: HOST_RESYNC_MS, pass: () => this.#hostPass() });
    this.#placeLoop = startReconciler({ ...loop, resyncMs: PLACE_RESYNC_MS, pass: () => this.#placePass() });
  }

  #openKubernetes(): OnKubernetes {
    return new OnKubernetes({
      parts: this.#parts,
      nodes: this.#nodes,
      isReady: () => this.notReadyReasons().length === 0,
      onChange: () => this.#onClaim(),
      onPeer: (name) => this.#onNode(name),
    });
  }

  #openCluster(): Cluster {
    const { settings, events, kernel } = this.#parts;
    return new Cluster({
      settings,
      host: this.host,
      events,
      underlay: () => kernel.underlay(),
      claims: () => this.#allClaims(),
      ...this.addresses.blocks.forPlans,
      ...podsHere(this.ledger, settings, () => this.#placeLoop?.nudge()),
      ...keysOf(this.#parts),
      nudge: () => this.#hostLoop?.nudge(),
      publish: (advert) => this.#publish(advert),
    });
  }

  #openRouting(): Routing {
    return startRouting({
      parts: this.#parts,
      place: this,
      areNodesKnown: () => this.#nodes.synced && this.#claims.synced,
      isReady: () => this.#readiness.reached,
    });
  }

  get settings(): Settings {
    return this.#parts.settings;
  }
  get version(): string {
    return this.#parts.version;
  }
  get events(): Events {
    return this.#parts.events;
  }
  get ledger(): Ledger {
    return this.#parts.ledger;
  }
  get logTail(): LogTail {
    return this.#parts.logTail;
  }
  /** Undefined: policy is off. */
  get policies(): Policies | undefined {
    return this.policing.policies;
  }
  get tunnel(): AgentParts['tunnel'] {
    return this.#parts.tunnel;
  }
  get metrics(): Metrics {
    return this.#parts.metrics;
  }

  /** Serves until the signal aborts. The kernel is left as it is: traffic goes on without an agent. */
  async run(): Promise<void> {
    const events = this.#followKernel(this.kernel);
    await serveAgent(this, this.#parts);
    await Promise.all([events, this.stopped]);
  }

  /** Resolves when the signal has aborted and nothing is under way any more. */
  get stopped(): Promise<unknown> {
    const loops = [this.#hostLoop, this.#placeLoop, this.chores, this.routing, this.kubernetes];
    return Promise.all([this.policies?.stopped, ...loops.map(({ stopped }) => stopped)]);
  }

  /** What is missing until pods can be added, one sentence each. */
  notReadyReasons(): string[] {
    const paused = this.host.paused ? ['paused by tartan pause'] : [];
    return [
      ...this.#readiness.placeProblems(this, this.#isStoreKnown(), this.#last.isUsed),
      ...(this.policies?.notReady() ?? []),
      ...this.routing.notReady(),
      ...this.kubernetes.notReady(),
      ...paused,
    ];
  }

  /** Of all nodes as the store has them, this one among them. */
  adverts(): NodeAdvert[] {
    return [...this.#nodes.objects.values()].map((object) => object.value as NodeAdvert);
  }

  /** Freezes the node, also over a restart of the agent, until `release`. */
  pause(): void {
    this.#freezing.pause();
  }

  /** The operator agrees to what is held back, by a pause or by the brake. */
  release(): void {
    this.#freezing.release();
    this.resync();
  }

  get kernel(): Kernel {
    return this.#parts.kernel;
  }
  resync(): void {
    this.host.requestResync();
    this.#placeLoop.nudge();
  }

  #isStoreKnown(): boolean {
    return [
      this.#nodes,
      this.#claims,
      this.kubernetes.nodes,
      this.#flannel,
      this.switching,
      this.addresses.blocks,
    ].every(({ synced }) => synced);
  }

  /** What we hold counts as claimed also before the store has told us of our own claim. */
  #allClaims(): SubnetClaim[] {
    const node = this.settings.node.name;
    const { claimed } = this.addresses.place;
    const own = familyValues(claimed).map((subnet) => ({ node, subnet, reserved: false }));
    const claims = [...this.#claims.objects.values()].map((object) => object.value as SubnetClaim);
    return [...own, ...this.kubernetes.nodes.claims(), ...claims, ...this.#flannel.claims()];
  }

  async #followKernel(kernel: Kernel): Promise<void> {
    for await (const change of kernel.changes(this.#parts.signal)) this.#onKernel(change);
  }

  #onKernel(change: Change): void {
    if (change.type === 'policy') return this.policies?.suspect();
    if (change.type === 'learned') return this.routing.suspect();
    if (change.type !== 'item') this.chores.nudge();
    if (change.type === 'resync') this.policies?.suspect();
    // The kernel drops routes without a word when their link goes.
    if (change.type !== 'item') this.routing.suspect();
    if (change.type === 'underlay') this.#placeLoop.nudge();
    else this.host.onChange(change);
  }

  #onBlock(node: string, block: Prefix): void {
    this.policies?.setBlock(block);
    // It says it to the peers while the host is seen to.
    this.routing?.nudge();
    this.cluster.setBlocks(node);
  }

  #onClaim(): void {
    this.cluster.unsettle();
    this.#placeLoop?.nudge();
  }

  #onNode(name: string): void {
    if (this.#nodes.synced) this.#passes.note();
    if (name === this.settings.node.name || this.switching.isUnderWay) this.#placeLoop?.nudge();
    if (name === this.settings.node.name) return this.kubernetes.nudge();
    const advert = this.kubernetes.advertOf(name);
    this.#flannel.isStale = true;
    this.cluster.setAdvert(name, advert);
    this.routing.nudge();
    this.policies?.setNode(name, advert && advertAddresses(advert));
  }

  /** The node's own place: subnets, underlay, advert. */
  async #placePass(): Promise<'ok' | 'retry'> {
    if (!this.#isStoreKnown()) return this.#take(this.#last.recall());
    this.policies?.setPlace(hostAddresses(this.kernel.underlay()), holdersOf(this.#allClaims()));
    await this.addresses.place.maintain();
    this.policies?.setWays(this.switching.ways());
    const place = { subnets: this.addresses.place.held, ways: this.switching.ways() };
    this.#take(place);
    this.routing.nudge();
    // Before the advert is written, which takes a while: the pass that is due then does everything at once.
    if (this.cluster.self !== undefined) this.host.allowRemovals();
    const said = {
      version: this.version,
      ...this.switching.say(),
      ...this.kubernetes.say(this.cluster.self),
    };
    await this.cluster.advertise(this.#readiness.reached, said);
    await this.switching.goOn();
    if (this.#readiness.reached) {
      this.#flannel.tidy();
      this.#last.keep(place);
    }
    return this.cluster.self === undefined ? 'retry' : 'ok';
  }

  #take(place: Place | undefined): 'ok' {
    if (place === undefined || !this.cluster.refresh(place.subnets, place.ways)) return 'ok';
    this.attachments.claim();
    this.chores.nudge();
    return 'ok';
  }

  async #hostPass(): Promise<'ok' | 'retry'> {
    const complete = this.cluster.self !== undefined && this.host.removalsAllowed;
    if (this.#flannel.isStale) this.#flannel.consider();
    this.cluster.settle();
    const outcome = await this.#passes.pass();
    if (this.switching.hasNews()) this.#placeLoop.nudge();
    if (complete && this.#readiness.judge(this.#parts.clock.monotonicMs())) {
      const { programmed, known } = countPeers(this);
      this.events.add('info', `ready: ${programmed} of ${known} peers in the store are programmed`);
      this.#placeLoop.nudge();
      this.kubernetes.nudge();
      settleHeap();
    }
    return outcome;
  }

  /** Writes the advert when the store holds another one (or none): also after somebody changed it. */
  async #publish(advert: NodeAdvert): Promise<void> {
    await this.#flannel.keep(advert);
    const present = this.#nodes.objects.get(advert.name);
    if (isDeepStrictEqual(present?.value, JSON.parse(JSON.stringify(advert)))) return;
    await this.#parts.store.put('Node', advert.name, advert);
  }
}
