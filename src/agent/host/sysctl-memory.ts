/**
 * What sysctls were before the agent first wrote them, for `purge`. Kept in the state directory: the first value is the
 * host's own, and it must not be forgotten when agent or host start again. Pods' links are left out: they go with their
 * sysctls.
 */
import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { isPodLink } from '../pods/attachments.ts';
import { readStateFile, writeFileDurably } from '../node-file.ts';
import type { Failure, Kernel } from '#kernel/kernel.ts';
import type { Step } from '#model/diff.ts';
import { keyOf, type SysctlItem } from '#model/host.ts';

const FORMAT = 1;

export class SysctlMemory {
  readonly #file: string;
  readonly #read: (key: string) => string | undefined;
  readonly #values: Map<string, string>;

  /** `read`: the present value of a sysctl, undefined when the kernel has none. */
  constructor(stateDirectory: string, read: (key: string) => string | undefined) {
    this.#file = join(stateDirectory, 'sysctls.json');
    this.#read = read;
    this.#values = load(this.#file);
  }

  list(): ReadonlyMap<string, string> {
    return this.#values;
  }

  /** The same kernel; a sysctl's value is on disk before it is written for the first time. */
  watch(kernel: Kernel): Kernel {
    return {
      apply: (steps) => {
        this.#note(steps);
        const failures = kernel.apply(steps);
        this.#giveBack(kernel, steps);
        return failures;
      },
      observe: (interest) => kernel.observe(interest),
      changes: (signal) => kernel.changes(signal),
      underlay: () => kernel.underlay(),
      learnedRoutes: () => kernel.learnedRoutes(),
      removeLearnedRoutes: () => kernel.removeLearnedRoutes(),
      filterChains: () => kernel.filterChains(),
      createPair: (pair) => kernel.createPair(pair),
      reapLinks: (names) => kernel.reapLinks(names),
      openPolicy: (options) => kernel.openPolicy(options),
      hasPolicy: () => kernel.hasPolicy(),
      cutConnections: (isDenied) => kernel.cutConnections(isDenied),
      liveDestinations: (among) => kernel.liveDestinations(among),
      flushConntrack: (filters) => kernel.flushConntrack(filters),
      within: (netns) => kernel.within(netns),
    };
  }

  #note(steps: readonly Step[]): void {
    const before = this.#values.size;
    for (const step of steps) {
      if (step.op === 'remove' || step.item.kind !== 'sysctl') continue;
      const { key } = step.item;
      const value = this.#values.has(key) || isOfPodLink(key) ? undefined : this.#read(key);
      if (value !== undefined) this.#values.set(key, value);
    }
    if (this.#values.size > before) this.#save();
  }

  /** What nobody wants any more gets its first value back. */
  #giveBack(kernel: Kernel, steps: readonly Step[]): void {
    const before = this.#values.size;
    for (const step of steps) {
      if (step.op !== 'remove' || step.was.kind !== 'sysctl') continue;
      const value = this.#values.get(step.was.key);
      if (value === undefined) continue;
      kernel.apply([{ op: 'add', key: step.key, item: { ...step.was, value } }]);
      this.#values.delete(step.was.key);
    }
    if (this.#values.size < before) this.#save();
  }

  /** Writes every first value back. What the kernel no longer has is done with; what failed stays remembered. */
  restore(kernel: Kernel): Failure[] {
    const items = [...this.#values].map(([key, value]): SysctlItem => ({ kind: 'sysctl', key, value }));
    const steps = items.map((item): Step => ({ op: 'add', key: keyOf(item), item }));
    const failures = kernel.apply(steps).filter(({ code }) => code !== 'ENOENT');
    const failed = new Set(failures.map(({ step }) => step.key));
    for (const item of items) if (!failed.has(keyOf(item))) this.#values.delete(item.key);
    if (this.#values.size === 0) rmSync(this.#file, { force: true });
    else this.#save();
    return failures;
  }

  #save(): void {
    const content = { format: FORMAT, values: Object.fromEntries(this.#values) };
    writeFileDurably(this.#file, `${JSON.stringify(content)}\n`);
  }
}

/** `net/ipv4/conf/LINK/…`. */
function isOfPodLink(key: string): boolean {
  return isPodLink(key.split('/')[3] ?? '');
}

/** A file that is missing or unreadable remembers nothing. Throws as readStateFile. */
function load(file: string): Map<string, string> {
  const values = readStateFile(file, FORMAT)?.['values'] ?? {};
  return new Map(Object.entries(values as Record<string, string>));
}
