/**
 * Routing protocols of this node: what settings, nodes and objects come to is BIRD's configuration; what BIRD learns is in the
 * kernel. What always holds:
 * - BIRD is configured only once every source has told all it has, and not while the node is paused;
 * - the routes that BIRD writes are its alone: they are looked at here;
 * - when too many sessions would go at once, they stay until `tartan resume`;
 * - when the agent ends, BIRD goes on; it ends only when routing is given up.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Braked } from '../host/host.ts';
import type { Events, Logger } from '#lib/log.ts';
import { describeRoutes, lookAt, SILENT } from './describe.ts';
import { HeldRoutes } from './held.ts';
import { gatherInput, type Situation, tunnelsTo } from './input.ts';
import { Learned } from './learned.ts';
import { BIRD_TIMEOUT_MS, birdDirectory, hasRouting, leaveRouting } from './leave.ts';
import { HeldObjects } from './objects.ts';
import { Secrets } from './secrets.ts';
import { SessionWatch } from './session-watch.ts';
import type { Routes } from '#api/routes.ts';
import type { Self } from '#backends/backend.ts';
import { backendFor } from '#backends/index.ts';
import { roadsOf } from '#backends/ways.ts';
import { type Bird, openBird } from '#bird/bird.ts';
import type { Kernel } from '#kernel/kernel.ts';
import type { Clock } from '#lib/clock.ts';
import { type Reconciler, startReconciler } from '#lib/reconciler.ts';
import { type Problem, toFault } from '#model/fault.ts';
import type { Item, RouteItem } from '#model/host.ts';
import type { Leg } from '#model/leg.ts';
import type { Manifest } from '#model/manifest.ts';
import { MAIN_TABLE, METRIC } from '#model/numbers.ts';
import type { Settings } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import type { Prefix } from '#net/prefix.ts';
import { planRouting, type RoutingPlan, secretsOf } from '#routing/plan.ts';
import { passwordSymbol, renderBird } from '#routing/render.ts';

/** Secrets are read, and sessions looked at, so often. */
const RESYNC_MS = 10_000;
const LEARNED_RESYNC_MS = 60_000;
/** In a storm of routes the kernel is asked no more often. */
const GATHER_MS = 20;

export type Place = {
  readonly self: Self;
  readonly adverts: ReadonlyMap<string, NodeAdvert>;
  /** Subnets of this node that no other node holds. */
  readonly prefixes: readonly Prefix[];
  /** Pools of which peers are not told. */
  readonly silent: readonly Prefix[];
  /** To all other nodes. */
  readonly legs: readonly Leg[];
};

export type RoutingOptions = {
  readonly settings: Settings;
  readonly kernel: Kernel;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly events: Events;
  /** Undefined: the node's place is not known yet. */
  readonly self: () => Self | undefined;
  /** Undefined: not everything is known yet. */
  readonly place: () => Place | undefined;
  /** The link is there. */
  readonly isUp: (link: string) => boolean;
  /** Whether the kernel once had all that the node needs. */
  readonly isReady: () => boolean;
  /** Items that go with it, as a source of the host. */
  readonly claim: (items: readonly Item[] | undefined) => void;
  /** Routes of others in the kernel. */
  readonly others: () => readonly RouteItem[];
  /** Other prefixes are learned, or it was configured. */
  readonly onChange: () => void;
};

export class Routing {
  readonly #options: RoutingOptions;
  readonly #objects = new HeldObjects();
  readonly #sessions: SessionWatch;
  readonly #held = new HeldRoutes();
  readonly learned: Learned;
  #bird: Bird | undefined;
  #plan: RoutingPlan | undefined;
  #loop: Reconciler | undefined;
  #learnedLoop: Reconciler | undefined;
  #problems: readonly Problem[] = [];
  #warnings: readonly Problem[] = [];
  #isReleased = false;
  #wasConfigured = false;
  braked: Braked | undefined;
  paused = false;

  constructor(options: RoutingOptions) {
    this.#options = options;
    this.#sessions = new SessionWatch(options.events);
    this.learned = new Learned(options.kernel);
  }

  /** From here on there may be passes. */
  begin(): void {
    const { clock, signal, log } = this.#options;
    const onError = (error: unknown): void => log.error({ err: error }, 'a pass over routing failed');
    const loop = { clock, signal, onError };
    this.#loop = startReconciler({ ...loop, resyncMs: RESYNC_MS, pass: () => this.#pass() });
    this.#learnedLoop = startReconciler({
      ...loop,
      resyncMs: LEARNED_RESYNC_MS,
      pass: async () => {
        if (this.learned.refresh()) this.#options.onChange();
        await clock.sleep(GATHER_MS, signal);
        return 'ok';
      },
    });
  }

  /** The daemon goes on. */
  get stopped(): Promise<unknown> {
    const loops = [this.#loop, this.#learnedLoop].flatMap((loop) => loop?.stopped ?? []);
    return Promise.all(loops).then(() => this.#bird?.close('leave'));
  }

  /** The node's place, its peers or their objects changed. */
  nudge(): void {
    this.#loop?.nudge();
  }

  /** BIRD may have written routes. */
  suspect(): void {
    this.#learnedLoop?.nudge();
  }

  /** Objects of other kinds are passed over. */
  setManifest(name: string, manifest: Manifest | undefined): void {
    if (this.#objects.set(name, manifest)) this.nudge();
  }

  /** The operator agrees to what the brake holds back. */
  release(): void {
    this.#isReleased = true;
    this.paused = false;
    this.nudge();
  }

  get isEnabled(): boolean {
    return this.#options.settings.routing.enabled || this.#isRoad();
  }

  /** Other nodes' pods are reached by what BIRD learns, now or soon. */
  #isRoad(): boolean {
    const self = this.#options.self() ?? this.#options;
    return roadsOf(self).some((road) => backendFor(road).isLearned === true);
  }

  /** Why pods cannot be reached yet, one sentence each. */
  notReady(): string[] {
    if (!this.#isRoad() || this.#wasConfigured) return [];
    const [problem] = this.#problems;
    return [
      problem === undefined ? 'BIRD is not configured yet' : `BIRD: ${problem.path}: ${problem.message}`,
    ];
  }

  /** The daemon, its routes and its files go; answers what is gone. */
  async leave(): Promise<string[]> {
    this.paused = true;
    await this.#bird?.close('leave');
    this.#bird = undefined;
    return leaveRouting(this.#options.settings, this.#options.kernel);
  }

  /** For a support bundle: without passwords. */
  files(): Record<string, string> {
    const plan = this.#plan;
    return plan === undefined
      ? {}
      : { 'bird.conf': renderBird(plan), 'bird.log': readLog(this.#options.settings) };
  }

  async describe(): Promise<Routes> {
    if (!this.isEnabled) return SILENT;
    const bird = this.#bird;
    const isUp = bird?.isUp() === true;
    const seen = await lookAt(isUp ? bird : undefined);
    this.learned.refresh();
    const { braked, settings } = { braked: this.braked, settings: this.#options.settings };
    return describeRoutes({
      up: isUp,
      plan: this.#plan,
      as: this.#plan?.as ?? settings.routing.speaker.as,
      ...seen,
      installed: new Set(this.learned.routes.keys()),
      others: [...this.#options.kernel.underlay().routes, ...this.#options.others()],
      problems: this.#problems,
      warnings: this.#warnings,
      braked:
        braked === undefined
          ? undefined
          : `${braked.removals} of ${braked.of} sessions would be given up; tartan resume agrees to it`,
    });
  }

  async #pass(): Promise<'ok' | 'retry'> {
    const place = this.#options.place();
    if (place === undefined || this.paused) return 'ok';
    if (this.isEnabled) return this.#speak(place);
    await this.#beSilent();
    return 'ok';
  }

  async #speak(place: Place): Promise<'ok' | 'retry'> {
    const secrets = new Secrets(this.#options.settings.routing.secrets);
    const { input, problems, warnings } = gatherInput(this.#situation(place, secrets));
    const { plan, problems: unheld } = planRouting(input);
    if (plan === undefined) return 'ok';
    const found = [...problems, ...unheld, ...secrets.problems()];
    if (!this.#brake(plan)) {
      this.#note(found, warnings);
      return 'ok';
    }
    this.#claim(plan);
    const isNews = JSON.stringify(plan) !== JSON.stringify(this.#plan);
    const refused = await this.#configure(plan, secrets).catch((error: unknown) => [problemOf(error)]);
    this.#note([...refused, ...found], warnings);
    if (refused.length > 0) return 'retry';
    this.#plan = plan;
    this.#wasConfigured = true;
    if (!this.#options.isReady()) this.#options.onChange();
    // News are being told to the peers just now: questions would hold that up.
    if (isNews) return 'ok';
    await this.#watchSessions(plan);
    await this.#refeed(place.legs);
    return 'ok';
  }

  /** A device may be known here a moment before BIRD knows of it; then its routes were dropped. */
  async #refeed(legs: readonly Leg[]): Promise<void> {
    const isOpen = ({ link, prefix }: Leg): boolean => link !== undefined && !this.learned.has(prefix);
    if (legs.some(isOpen)) await this.#bird?.refeed().catch(() => undefined);
  }

  #situation({ self, adverts, prefixes, silent, legs }: Place, secrets: Secrets): Situation {
    return {
      self,
      prefixes,
      silent,
      adverts: adverts.values(),
      installs: this.#isRoad(),
      tunnels: tunnelsTo(legs, adverts, this.#options.isUp),
      objects: this.#objects,
      hasSecret: (ref) => secrets.get(ref) !== undefined,
    };
  }

  async #configure(plan: RoutingPlan, secrets: Secrets): Promise<readonly Problem[]> {
    const directory = birdDirectory(this.#options.settings);
    const bird = (this.#bird ??= await this.#open(directory));
    const passwords = new Map(
      secretsOf(plan).map((ref) => [passwordSymbol(ref), secrets.get(ref) ?? ''] as const),
    );
    const render = (plan: RoutingPlan): string => renderBird(plan, { logFile: join(directory, 'bird.log') });
    const learned = (): RouteItem[] => this.#options.kernel.learnedRoutes();
    const nowMs = this.#options.clock.monotonicMs();
    return this.#held.configure(bird, { plan, passwords, render }, learned, nowMs);
  }

  #open(directory: string): Promise<Bird> {
    const { clock, events } = this.#options;
    return openBird({
      directory,
      command: ['bird'],
      clock,
      timeoutMs: BIRD_TIMEOUT_MS,
      onChange: (up, why) => {
        events.add(up ? 'info' : 'warning', up ? `BIRD is there again: ${why}` : `BIRD is away: ${why}`);
        this.nudge();
      },
    });
  }

  async #watchSessions(plan: RoutingPlan): Promise<void> {
    const seen = await this.#bird?.sessions().catch(() => undefined);
    if (seen !== undefined) this.#sessions.note(seen, plan);
  }

  /** What lies in an announced aggregate, and is nobody's, comes here: it must not go back where it came from. */
  #claim({ announced, aggregates }: RoutingPlan): void {
    const told = this.#options.settings.blackhole ? announced.aggregates : [];
    const items = told
      .filter((prefix) => aggregates.includes(prefix))
      .map((prefix): Item => ({
        kind: 'route',
        type: 'blackhole',
        prefix,
        table: MAIN_TABLE,
        metric: METRIC.blackhole,
      }));
    this.#options.claim(items.length === 0 ? undefined : items);
  }

  /** Whether the plan may be taken. */
  #brake({ sessions }: RoutingPlan): boolean {
    const { share, minimum } = this.#options.settings.brake;
    const before = this.#plan?.sessions ?? [];
    const now = new Set(sessions.map(({ name }) => name));
    const removals = before.filter(({ name }) => !now.has(name)).length;
    const isFew = this.#isReleased || removals < minimum || removals <= before.length * share;
    this.#isReleased = false;
    if (!isFew && this.braked === undefined)
      this.#options.events.add(
        'error',
        `brake: ${removals} of ${before.length} sessions would be given up; tartan resume goes on`,
      );
    this.braked = isFew ? undefined : { removals, of: before.length };
    return isFew;
  }

  #note(problems: readonly Problem[], warnings: readonly Problem[]): void {
    const textOf = ({ path, message }: Problem): string => `${path}: ${message}`;
    const before = new Set([...this.#problems, ...this.#warnings].map(textOf));
    for (const [severity, list] of [
      ['error', problems],
      ['warning', warnings],
    ] as const)
      for (const text of list.map(textOf)) if (!before.has(text)) this.#options.events.add(severity, text);
    [this.#problems, this.#warnings] = [problems, warnings];
  }

  /** Another road leads to pods, and nobody outside is spoken with. */
  async #beSilent(): Promise<void> {
    const { settings, events, isReady } = this.#options;
    // Until then, what it learned may be all that leads to pods.
    if (!hasRouting(settings) || !isReady()) return;
    const wasOpen = this.#bird;
    this.#bird = undefined;
    await wasOpen?.close('leave');
    this.#options.claim(undefined);
    const gone = await leaveRouting(settings, this.#options.kernel);
    if (gone.length > 0) events.add('info', 'routing protocols are off: BIRD and its routes are removed');
    [this.#plan, this.#wasConfigured] = [undefined, false];
  }
}

/** Nothing of a daemon that is away, or about to go. */
function readLog(settings: Settings): string {
  try {
    return readFileSync(join(birdDirectory(settings), 'bird.log'), 'utf8');
  } catch {
    return '';
  }
}

function problemOf(error: unknown): Problem {
  const { code } = error as NodeJS.ErrnoException;
  if (code === 'ENOENT') return { path: 'bird', message: 'is not installed: apt-get install bird2' };
  return { path: 'bird', message: toFault(error).message };
}
