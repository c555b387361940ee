/**
 * Network policy on this node: objects of the store in, the kernel's table out. What always holds:
 * - nothing is loaded before every source has told all it has, and until then no pod is added;
 * - an object that becomes wrong stays in force as it was, also over a restart;
 * - a pod's rules are in the kernel before it has a network (`admit`), or it gets none;
 * - when too many objects vanish at once, they stay in force until `tartan resume`.
 */
import { settleHeap } from '../heap.ts';
import type { Braked } from '../host/host.ts';
import { bridgeOf, denialOf } from '../policy-flows/start.ts';
import { describePolicies } from './describe.ts';
import { failsafeOf } from './failsafe.ts';
import { type Holders, Tellers } from './holders.ts';
import { Lingering } from './lingering.ts';
import { Loader } from './loader.ts';
import type { PoliciesOptions } from './options.ts';
import { workloadsOf } from './workloads.ts';
import type { PolicyStatus } from '#api/status.ts';
import { type Reconciler, startReconciler } from '#lib/reconciler.ts';
import type { PolicyTable } from '#kernel/nftables/policy/policy.ts';
import type { Way } from '#model/road.ts';
import { Fault, toFault } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import { POLICY_TABLE, type PolicyProgram } from '#model/policy-program.ts';
import type { NodeWorkloads } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import type { Prefix } from '#net/prefix.ts';
import { createInputs, isRetainedTier, type PolicyInputs, type PolicyView } from '#policy/inputs/inputs.ts';

const RESYNC_MS = 600_000;
/** One event is loaded at once; in a storm of them so long is waited for more between two loads. */
const GATHER_MS = 20;

export class Policies {
  readonly #options: PoliciesOptions;
  readonly #inputs: PolicyInputs;
  readonly table: PolicyTable;
  readonly loader: Loader;
  #loop: Reconciler | undefined;
  /** Objects in force, by name. */
  readonly #present = new Set<string>();
  readonly #vanished = new Set<string>();
  readonly #tellers: Tellers;
  /** The own addresses, as text; undefined: not yet known. */
  #place: string | undefined;
  readonly #lingering: Lingering;
  /** Names of tiers that are kept though they are gone. */
  #retained = new Set<string>();
  /** What the next load brings may deny what was allowed. */
  #mayDeny = true;
  /** A pod that was added took along what had come in before: what follows a load is still to be done. */
  #hasUntold = false;
  #isReleased = false;
  #failure: string | undefined;
  #loadedAtMs = -Infinity;
  #isLoaded = false;
  braked: Braked | undefined;
  paused = false;

  constructor(options: PoliciesOptions) {
    this.#options = options;
    const { settings, kernel, log } = options;
    const { established, audit } = settings.policy;
    const node = settings.node.name;
    this.#inputs = createInputs({
      node,
      linkOf: options.linkOf,
      failsafe: failsafeOf(settings),
    });
    this.table = kernel.openPolicy({
      denial: denialOf(settings.policy),
      ...bridgeOf(settings),
    });
    this.loader = new Loader({
      node,
      kernel,
      table: this.table,
      log,
      cuts: established === 'cut' && !audit,
    });
    this.#tellers = new Tellers({
      routedTo: options.routedTo,
      onBelieved: (name, pods) => this.#inputs.setWorkloads(name, pods),
    });
    this.#lingering = new Lingering(options.ledger, options.keep);
    this.#inputs.setOwn(workloadsOf(options.ledger.list()));
    for (const [name, manifest] of options.keep.entries()) {
      if (!isRetainedTier(name)) continue;
      this.#retained.add(name);
      this.#inputs.setManifest(name, manifest);
    }
  }

  /** From here on there may be passes: whoever is asked whether all is known can answer. */
  begin(): void {
    const { clock, signal, log } = this.#options;
    this.#loop = startReconciler({
      clock,
      signal,
      resyncMs: RESYNC_MS,
      pass: () => this.#pass(),
      onError: (error) => log.error({ err: error }, 'a pass over the policies failed'),
    });
  }

  get stopped(): Promise<void> | undefined {
    return this.#loop?.stopped;
  }

  nudge(): void {
    this.#loop?.nudge();
  }

  /** The store has told all its objects: what else was kept of them was removed while no agent ran. */
  forgetOthers(told: { has(name: string): boolean }): void {
    for (const name of this.#retained) this.#inputs.setManifest(name, undefined);
    for (const [name, manifest] of this.#options.keep.entries()) {
      if (told.has(name) || this.#retained.has(name)) continue;
      if (this.#lingering.take(name)) this.#inputs.setManifest(name, manifest);
      else this.#options.keep.remove(name);
    }
    this.#keepRetained();
    this.nudge();
  }

  setManifest(name: string, manifest: Manifest | undefined): void {
    if (manifest === undefined) {
      if (!this.#lingering.take(name)) this.#vanished.add(name);
    } else {
      this.#lingering.drop(name);
      this.#vanished.delete(name);
      this.#present.add(name);
      this.#accept(name, manifest);
    }
    this.#onInput();
  }

  setWorkloads(node: string, workloads: NodeWorkloads | undefined): void {
    this.#tellers.tell(node, workloads);
    this.#onInput();
  }

  /** This node's own addresses, and whose the subnets are. Until they are known nothing is loaded. */
  setPlace(addresses: readonly Address[], holders: Holders): void {
    const place = addresses.join(' ');
    const isNew = this.#place !== place;
    this.#place = place;
    if (isNew) this.#inputs.setNode(this.#options.settings.node.name, addresses);
    if (this.#tellers.setHolders(holders) || isNew) this.#onInput();
  }

  /** The block leads elsewhere now, as a whole or with some addresses. */
  setBlock(block: Prefix): void {
    if (this.#tellers.setBlock(block)) this.#onInput();
  }

  /** Roads by which other nodes may send: their ports stay open whatever policies say. */
  setWays(ways: readonly Way[]): void {
    if (this.#inputs.setFailsafe(failsafeOf(this.#options.settings, ways))) this.#onInput();
  }

  /** Another node. */
  setNode(name: string, addresses: readonly Address[] | undefined): void {
    this.#inputs.setNode(name, addresses);
    this.#onInput();
  }

  /** Somebody else changed the table. */
  suspect(): void {
    this.loader.suspect();
    if (!this.table.isOwned()) this.#options.names?.suspect();
    this.#loop?.nudge();
  }

  /** The operator agrees to what the brake holds back. */
  release(): void {
    this.#isReleased = true;
    this.paused = false;
    this.#loop?.nudge();
  }

  /** The object as it is in force. */
  manifest(name: string): Manifest | undefined {
    return this.#options.keep.get(name);
  }

  /** The ledger has another pod: its rules are in the kernel when this returns. Throws Fault `policy-load`. */
  admit(): void {
    this.#setOwn();
    try {
      if (this.loader.load(this.#followed())) this.#hasUntold = true;
    } catch (error) {
      throw new Fault('policy-load', `the pod’s policies cannot be loaded: ${toFault(error).message}`);
    } finally {
      this.#loop?.nudge();
    }
  }

  /** Other addresses of names are known: rules know them when this returns. Throws NetlinkError. */
  relearn(): void {
    if (!this.#isLoaded || this.paused) return;
    if (!this.loader.load(this.#followed())) return;
    this.#hasUntold = true;
    this.#loop?.nudge();
  }

  /** A pod of the ledger is gone: soon its address is nobody's. */
  dismiss(): void {
    for (const name of this.#lingering.release()) this.#forget(name);
    this.#setOwn();
    this.#loop?.nudge();
  }

  /** Takes the table out of the kernel, and puts it there no more. Answers what is gone. */
  leave(): string[] {
    this.paused = true;
    this.table.removePolicy();
    this.#options.onLeave();
    return [`table inet ${POLICY_TABLE}`];
  }

  view(): PolicyView {
    return this.#inputs.view();
  }

  get inputs(): PolicyInputs {
    return this.#inputs;
  }

  program(): PolicyProgram {
    return this.loader.program;
  }

  /** Why no pod can be added, one sentence each. */
  notReady(): string[] {
    if (!this.#isSynced()) return ['the policies have not been read yet'];
    if (this.#failure !== undefined) return [`the policies cannot be loaded: ${this.#failure}`];
    return this.#isLoaded ? [] : ['the policies are not loaded yet'];
  }

  describe(): PolicyStatus {
    return describePolicies(this, this.#options);
  }

  /** With what is known of the names that rules have come to ask for. */
  #followed(): PolicyView {
    const { names } = this.#options;
    const inputs = this.#inputs;
    const { world } = this.view();
    const asked = { naming: inputs.naming(), world, servers: inputs.dnsServers() };
    if (names !== undefined) inputs.setNames(names.follow(asked));
    return this.view();
  }

  #setOwn(): void {
    this.#inputs.setOwn(workloadsOf(this.#options.ledger.list()));
    this.#tellOwn();
  }

  /** Not before their objects are known: what the agent before this one told is better than less. */
  #tellOwn(): void {
    const { onOwnPods, settings } = this.#options;
    if (this.#isSynced()) onOwnPods({ node: settings.node.name, pods: this.#inputs.told() });
  }

  #onInput(): void {
    this.#mayDeny = true;
    this.#loop?.nudge();
  }

  /** A wrong object that was right when it was seen last is that again, even if another agent saw it. */
  #accept(name: string, manifest: Manifest): void {
    const { keep, complaints } = this.#options;
    const problems = this.#inputs.setManifest(name, manifest);
    if (problems.length === 0) return keep.put(name, manifest);
    const before = keep.get(name);
    if (before !== undefined) {
      this.#inputs.setManifest(name, before);
      this.#inputs.refuseManifest(name, problems);
    }
    const fate = before === undefined ? 'it is not in force' : 'it stays in force as it was';
    for (const { path, message } of problems) complaints.add(`${path}: ${message}; ${fate}`);
  }

  /** Tiers that stay because policies are in them: over a restart too, until the store has told whether they still do. */
  #keepRetained(): void {
    const { keep } = this.#options;
    const retained = new Map(this.#inputs.retained().map(({ name, manifest }) => [name, manifest]));
    for (const [name, manifest] of retained) keep.put(name, manifest);
    for (const name of this.#retained) if (!retained.has(name)) keep.remove(name);
    this.#retained = new Set(retained.keys());
  }

  async #pass(): Promise<'ok' | 'retry'> {
    if (!this.#isSynced() || this.paused) return 'ok';
    await this.#gather();
    this.#settle();
    const mayDeny = this.#mayDeny;
    this.#mayDeny = false;
    try {
      const view = this.#followed();
      const changed = this.loader.load(view) || this.#hasUntold;
      this.#hasUntold = false;
      this.#noteLoaded();
      if (changed) this.#options.onLoaded(view);
      if (changed && mayDeny) void this.loader.cut();
      return 'ok';
    } catch (error) {
      this.#mayDeny = true;
      this.#noteFailure(toFault(error).message);
      return 'retry';
    } finally {
      this.#tellOwn();
    }
  }

  #isSynced(): boolean {
    return this.#place !== undefined && this.#options.isSynced();
  }

  async #gather(): Promise<void> {
    const { clock, signal } = this.#options;
    const sinceMs = clock.monotonicMs() - this.#loadedAtMs;
    if (sinceMs < GATHER_MS) await clock.sleep(GATHER_MS - sinceMs, signal);
  }

  #noteLoaded(): void {
    this.#loadedAtMs = this.#options.clock.monotonicMs();
    const { events } = this.#options;
    if (!this.#isLoaded) {
      events.add('info', `policies are loaded: ${this.program().entries.size} entries`);
      settleHeap();
    } else if (this.#failure !== undefined) events.add('info', 'policies can be loaded again');
    this.#isLoaded = true;
    this.#failure = undefined;
  }

  #noteFailure(message: string): void {
    if (this.#failure !== message)
      this.#options.events.add('error', `policies cannot be loaded, what was in force stays: ${message}`);
    this.#failure = message;
  }

  /** Takes out of force what has vanished, unless that is too much to believe. */
  #settle(): void {
    const { share, minimum } = this.#options.settings.brake;
    const [gone, of] = [this.#vanished.size, this.#present.size];
    const isBelieved = this.#isReleased || gone < minimum || gone <= of * share;
    this.#isReleased = false;
    if (!isBelieved) {
      if (this.braked === undefined)
        this.#options.events.add(
          'error',
          `brake: ${gone} of ${of} objects of policy vanished at once; tartan resume agrees to it`,
        );
      this.braked = { removals: gone, of };
      return;
    }
    this.braked = undefined;
    for (const name of this.#vanished) this.#forget(name);
    this.#vanished.clear();
  }

  #forget(name: string): void {
    this.#present.delete(name);
    this.#inputs.setManifest(name, undefined);
    this.#options.keep.remove(name);
    this.#keepRetained();
  }
}
