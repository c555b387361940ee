/**
 * Follows the DNS answers that this node's pods get, for rules that name names. What always holds:
 * - a pod's DNS does not depend on this: answers pass when nobody hears them, and then nothing new is allowed;
 * - answers are believed of servers that are trusted, and only where a pod has asked them;
 * - addresses are in the rules before a held answer goes on; what fails is logged, and the answer goes on;
 * - an address whose time is over stays while connections to it live, so no connection is ever cut because of that.
 */
import { join } from 'node:path';
import { Gauge, type Registry } from 'prom-client';
import type { NamesAsked } from '../policy/options.ts';
import { Listener, type ListenerOptions } from './listener.ts';
import { NamesFile } from './names-file.ts';
import { readResolvers } from './resolvers.ts';
import type { NameStatus } from '#api/status.ts';
import type { Kernel } from '#kernel/kernel.ts';
import type { AnswerWay } from '#kernel/nftables/policy/answers.ts';
import type { PolicyTable } from '#kernel/nftables/policy/policy.ts';
import type { Clock } from '#lib/clock.ts';
import type { Logger } from '#lib/log.ts';
import type { Settings } from '#model/settings.ts';
import type { PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { readAnswer } from '#policy/dns/answer.ts';
import { AskerFinder, type Askers } from '#policy/dns/askers.ts';
import { LearnedNames } from '#policy/dns/names.ts';

/** Addresses go within so long after their time; the node's own resolvers are read again as often. */
const SWEEP_MS = 10_000;

export type NamesOptions = {
  readonly settings: Settings;
  readonly kernel: Pick<Kernel, 'liveDestinations'>;
  readonly table: () => Pick<PolicyTable, 'showAnswers' | 'answerWay'>;
  readonly readAnswers: ListenerOptions['readAnswers'];
  /** Brings what is known into the kernel's rules. Throws NetlinkError. */
  readonly onLearned: () => void;
  readonly registry: Registry;
  readonly clock: Clock;
  readonly log: Logger;
  readonly signal: AbortSignal;
};

type Shown = {
  readonly askers: Askers;
  readonly servers: readonly Address[];
  readonly way: AnswerWay;
};

export class PolicyNames {
  readonly #options: NamesOptions;
  readonly #finder: AskerFinder;
  readonly #names: LearnedNames;
  readonly #file: NamesFile;
  readonly #listener: Listener;
  #resolvers: readonly Address[];
  #clusterServers: readonly Address[] = [];
  #askers: Askers = { names: new Set(), addresses: new Set() };
  #isRestored = false;
  /** As the kernel has it, or undefined: nothing, or it is not known. */
  #shown: Shown | undefined;
  /** What a predecessor left may still be there. */
  #mayBeThere = true;
  #problem: string | undefined;

  constructor(options: NamesOptions) {
    this.#options = options;
    const { settings, clock, log, signal, table, readAnswers } = options;
    this.#finder = new AskerFinder(settings.node.name);
    this.#names = new LearnedNames({ minimumMs: settings.policy.dns.minimumSeconds * 1000 });
    this.#file = new NamesFile({
      path: join(settings.paths.run, 'policy-names.json'),
      list: () => this.#names.list(),
      onError: (error) => log.warn({ error: String(error) }, 'what was learned of names could not be kept'),
    });
    this.#resolvers = readResolvers(settings.paths.etc);
    this.#listener = new Listener({
      readAnswers,
      answerWay: () => table().answerWay(),
      onMessage: (message) => this.#hear(message),
      onWay: () => this.#show(),
      clock,
      signal,
    });
    this.#count();
    signal.addEventListener('abort', () => this.#isRestored && this.#file.save());
    void this.#sweepAlways();
  }

  /** What is known of the names of these rules; from here on answers for whom they select are followed. */
  follow({ naming, world, servers }: NamesAsked): PolicyWorld['names'] {
    this.#askers = this.#finder.find(naming, world);
    this.#clusterServers = servers;
    this.#names.want(this.#askers.names);
    if (!this.#isRestored) this.#names.restore(this.#file.read());
    this.#isRestored = true;
    this.#show();
    return this.#names.view();
  }

  /** Somebody else has changed the table. */
  suspect(): void {
    this.#shown = undefined;
  }

  /** Undefined: no rule names any. */
  status(): NameStatus | undefined {
    if (this.#askers.names.size === 0) return undefined;
    const { way, problem = this.#problem } = this.#listener;
    return {
      ...this.#names.count(),
      displaced: this.#names.displaced,
      servers: [...this.#servers()],
      ...(way === undefined ? {} : { way }),
      ...(problem === undefined ? {} : { problem }),
    };
  }

  #servers(): readonly Address[] {
    const { servers } = this.#options.settings.policy.dns;
    return servers.length > 0 ? servers : [...new Set([...this.#clusterServers, ...this.#resolvers])].sort();
  }

  /** The table of answers as it has to be; what fails is tried again with the next change, or the next sweep. */
  #show(): void {
    const { addresses } = this.#askers;
    if (addresses.size > 0) this.#listener.begin();
    const { way } = this.#listener;
    const isWanted = addresses.size > 0 && way !== undefined;
    const servers = this.#servers();
    if (isWanted ? this.#isShown(servers) : !this.#mayBeThere) return;
    try {
      this.#options.table().showAnswers(isWanted ? { way, pods: addresses, servers } : undefined);
      this.#shown = isWanted ? { askers: this.#askers, servers, way } : undefined;
      this.#mayBeThere = isWanted;
      this.#problem = undefined;
    } catch (error) {
      this.#problem = `DNS answers cannot be followed: ${String(error)}`;
      this.#options.log.warn({ error: String(error) }, 'DNS answers cannot be followed; trying again');
    }
  }

  #isShown(servers: readonly Address[]): boolean {
    const { askers, way } = this.#shown ?? {};
    return (
      askers === this.#askers && way === this.#listener.way && isEqual(this.#shown?.servers ?? [], servers)
    );
  }

  #hear(message: Buffer): void {
    const { clock, log, onLearned } = this.#options;
    try {
      const answer = readAnswer(message);
      if (answer === undefined || !this.#names.learn(answer, clock.nowMs())) return;
      this.#file.saveSoon();
      onLearned();
    } catch (error) {
      log.warn({ error: String(error) }, 'what an answer told is not in the rules yet');
    }
  }

  async #sweepAlways(): Promise<void> {
    const { clock, signal, log, settings } = this.#options;
    while (!signal.aborted) {
      await clock.sleep(SWEEP_MS, signal);
      if (signal.aborted) return;
      this.#resolvers = readResolvers(settings.paths.etc);
      this.#show();
      await this.#sweep().catch((error: unknown) =>
        log.warn({ error: String(error) }, 'names are kept longer than their time'),
      );
    }
  }

  /**
   * A connection that begins between the walk and the load is allowed by it and outlives the address; the next change of
   * policies cuts it. It is a moment after the address's time.
   */
  async #sweep(): Promise<void> {
    const { clock, kernel, onLearned } = this.#options;
    const due = this.#names.due(clock.nowMs());
    if (due.size === 0) return;
    const inUse = await kernel.liveDestinations(due);
    if (!this.#names.expire(clock.nowMs(), inUse)) return;
    this.#file.saveSoon();
    onLearned();
  }

  #count(): void {
    const names = this.#names;
    const known = new Gauge({
      name: 'tartan_policy_names',
      help: 'DNS names, and their addresses, that rules know',
      labelNames: ['what'],
      registers: [this.#options.registry],
      collect: () => {
        const { names: count, addresses } = names.count();
        known.set({ what: 'names' }, count);
        known.set({ what: 'addresses' }, addresses);
        known.set({ what: 'displaced' }, names.displaced);
      },
    });
  }
}

function isEqual(a: readonly Address[], b: readonly Address[]): boolean {
  return a.length === b.length && a.every((each, index) => each === b[index]);
}
