/**
 * Which roads this host's kernel has, found out by making a device of each and taking it away again: modules load on
 * demand, and no file tells the truth everywhere. Looked for once, and only where the road is `auto`.
 */
import type { Events } from '#lib/log.ts';
import type { Self } from '#backends/backend.ts';
import { backendFor } from '#backends/index.ts';
import { selectInterface } from '#backends/interface.ts';
import type { Kernel } from '#kernel/kernel.ts';
import { type Item, keyOf } from '#model/host.ts';
import { ROAD_NAMES, type RoadName, type Settings } from '#model/settings.ts';
import { families, type PerFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';

export type AbilitiesOptions = {
  readonly settings: Settings;
  readonly kernel: Pick<Kernel, 'apply' | 'underlay'>;
  readonly events: Events;
  readonly subnets: () => PerFamily<Prefix>;
  readonly wireguardKey: (() => string) | undefined;
};

/** What the kernel refuses with when it has no such device; anything else is no answer. */
const LACKS: ReadonlySet<string> = new Set(['EOPNOTSUPP', 'ENODEV', 'EAFNOSUPPORT']);

export class Abilities {
  readonly #options: AbilitiesOptions;
  #found: readonly RoadName[] | undefined;

  constructor(options: AbilitiesOptions) {
    this.#options = options;
  }

  /** Undefined until the node has subnets. */
  readonly list = (): readonly RoadName[] | undefined => {
    if (this.#found === undefined && families(this.#options.subnets()).length > 0) this.#look();
    return this.#found;
  };

  #look(): void {
    const { settings, kernel, events, subnets, wireguardKey } = this.#options;
    const self: Self = {
      name: settings.node.name,
      subnets: subnets(),
      settings,
      underlay: selectInterface(settings.underlay, kernel.underlay(), []),
      ...(wireguardKey === undefined ? {} : { wireguardKey: wireguardKey() }),
    };
    const lacking: string[] = [];
    this.#found = ROAD_NAMES.filter((road) => {
      const why = this.#why(backendFor(road).trial?.(self) ?? []);
      if (why !== undefined) lacking.push(`${road} (${why})`);
      return why === undefined;
    });
    if (lacking.length > 0) events.add('info', `this kernel lacks roads: ${lacking.join(', ')}`);
  }

  /** Why one of the devices cannot be made. */
  #why(items: readonly Item[]): string | undefined {
    const { kernel } = this.#options;
    for (const item of items) {
      const key = keyOf(item);
      const [failure] = kernel.apply([{ op: 'add', key, item }]);
      kernel.apply([{ op: 'remove', key, was: item }]);
      if (failure !== undefined && LACKS.has(failure.code)) return failure.message;
    }
    return undefined;
  }
}
