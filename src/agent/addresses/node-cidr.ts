/**
 * The node's subnets where Kubernetes gives them: `spec.podCIDRs` of its Node object, whatever store has that. They are
 * never exchanged while pods live in them: others are an event then, and new pods are refused until the last of
 * the old ones is gone.
 */
import { readNodeFile, writeNodeFile } from '../node-file.ts';
import type { Events } from '#lib/log.ts';
import { podCidrProblems, readPodCidrs } from '#ipam/pod-cidr.ts';
import type { Settings } from '#model/settings.ts';
import type { Family } from '#net/address.ts';
import { families, type PerFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';

export type NodeCidrOptions = {
  readonly settings: Settings;
  readonly events: Events;
  /** The Node object of this node; undefined: there is none. */
  readonly node: () => unknown;
  /** These are the node's now, or still. */
  readonly onHeld: (held: PerFamily<Prefix>) => void;
  /** Pods live in the subnet: it must not be exchanged for another. */
  readonly inUse: (subnet: Prefix) => boolean;
};

export class NodeCidrs {
  readonly #options: NodeCidrOptions;
  /** Of the last pass, or of the agent before this one. */
  #last: PerFamily<Prefix>;
  #problems: readonly string[] = [];
  readonly #refused = new Map<Family, Prefix>();
  held: PerFamily<Prefix> = {};
  /** The object says whose they are. */
  readonly claimed: PerFamily<Prefix> = {};

  constructor(options: NodeCidrOptions) {
    this.#options = options;
    this.#last = readNodeFile(options.settings.paths.state);
  }

  problems(): string[] {
    return [...this.#problems];
  }

  maintain(): Promise<boolean> {
    const { settings, onHeld } = this.#options;
    const { name } = settings.node;
    const node = this.#options.node();
    const read = readPodCidrs(node);
    const wrongs = podCidrProblems(read, settings.network.subnets);
    this.#problems =
      node === undefined
        ? [`there is no Node ${name} in the store: node.name must be what Kubernetes calls this node`]
        : wrongs.map((why) => `Node ${name}: ${why}`);
    const held: { 4?: Prefix; 6?: Prefix } = {};
    for (const family of families(settings.network.subnets)) {
      const subnet = this.#take(family, wrongs.length === 0 ? read.subnets[family] : undefined);
      if (subnet !== undefined) held[family] = subnet;
    }
    const isChanged = !isSame(held, this.held);
    if (isChanged && !isSame(held, this.#last)) writeNodeFile(settings.paths.state, held);
    [this.held, this.#last] = [held, { ...this.#last, ...held }];
    onHeld(held);
    return Promise.resolve(isChanged);
  }

  #take(family: Family, given: Prefix | undefined): Prefix | undefined {
    const before = this.#last[family];
    const isBound = before !== undefined && before !== given && this.#options.inUse(before);
    if (given !== undefined && isBound) this.#refuse(family, before, given);
    else this.#refused.delete(family);
    return isBound ? before : given;
  }

  #refuse(family: Family, held: Prefix, given: Prefix): void {
    const { events, settings } = this.#options;
    const text = `Node ${settings.node.name} has the podCIDR ${given} now, but pods live in ${held}`;
    this.#problems = [...this.#problems, `${text}: it is taken once they are gone`];
    if (this.#refused.get(family) === given) return;
    this.#refused.set(family, given);
    events.add('error', `${text}; new pods are refused`);
  }
}

function isSame(one: PerFamily<Prefix>, other: PerFamily<Prefix>): boolean {
  return one[4] === other[4] && one[6] === other[6];
}
