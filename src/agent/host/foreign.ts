/** Keeps accepts for pods and the tunnel in other programs' chains that would drop them, as long as those drop. */
import type { Cluster } from '../roads/cluster.ts';
import type { Host } from './host.ts';
import type { Events } from '#lib/log.ts';
import { dropsTheRest, planForeignAccepts } from '#backends/foreign.ts';
import type { Kernel } from '#kernel/kernel.ts';
import type { ForeignChain } from '#model/facts.ts';
import { toFault } from '#model/fault.ts';
import type { Settings } from '#model/settings.ts';

export type ForeignOptions = {
  readonly settings: Settings;
  readonly host: Host;
  readonly kernel: Pick<Kernel, 'filterChains'>;
  readonly events: Events;
  readonly cluster: Pick<Cluster, 'self'>;
};

export class Foreign {
  readonly #options: ForeignOptions;
  #said = '';

  constructor(options: ForeignOptions) {
    this.#options = options;
  }

  /** Other programs' chains at the hooks input and forward now; without an answer of the kernel those are unknown, not gone. */
  chains(): readonly ForeignChain[] | undefined {
    try {
      return this.#options.kernel.filterChains();
    } catch (error) {
      this.#say('warning', `other programs' chains cannot be read: ${toFault(error).message}`);
      return undefined;
    }
  }

  refresh(): void {
    const { settings, host, cluster } = this.#options;
    const chains = this.chains();
    if (chains === undefined) return;
    const { ways } = cluster.self ?? {};
    const items = planForeignAccepts({ settings, ...(ways === undefined ? {} : { ways }) }, chains);
    host.set('foreign', items.length === 0 ? undefined : items);
    const names = chains
      .filter(dropsTheRest)
      .map(({ family, table, chain }) => `${family} ${table} ${chain}`);
    const done = settings.forward.accept ? 'what is ours is accepted there' : 'forward.accept leaves it so';
    if (names.length > 0)
      this.#say('info', `${names.join(', ')} would drop pods’ or tunnel packets: ${done}`);
    else this.#said = '';
  }

  #say(severity: 'info' | 'warning', text: string): void {
    if (text === this.#said) return;
    this.#said = text;
    this.#options.events.add(severity, text);
  }
}
