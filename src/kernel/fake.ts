/**
 * A Kernel in memory, with the real one's contract: what a step names has to be there, a name that a stranger holds
 * stays his, and what stands on a link goes with it. Namespaces are numbers. For tests of what uses a Kernel.
 */
import type { Address } from '#net/address.ts';
import type { Step } from '#model/diff.ts';
import type { ForeignChain } from '#model/facts.ts';
import { Fault } from '#model/fault.ts';
import { changedItem, type Item, type ItemKey, keyOf, type LinkItem, type RouteItem } from '#model/host.ts';
import type { Underlay, UnderlayLink } from '#model/underlay.ts';
import { FakePolicyTable } from './fake-policy.ts';
import type { Change, Cut, Failure, Interest, Kernel, VethPair } from './kernel.ts';

type Refusal = { readonly code: string; readonly message: string };
type Pod = { readonly namespace: FakeKernel; readonly name: string };

const NO_UNDERLAY: Underlay = { links: [], routes: [] };

export class FakeKernel implements Kernel, Disposable {
  readonly #items = new Map<ItemKey, Item>();
  readonly #foreign = new Set<string>();
  readonly #peers = new Map<string, Pod>();
  readonly #listeners = new Set<(change: Change) => void>();
  readonly #namespaces: Map<number, FakeKernel>;
  #underlay: Underlay = NO_UNDERLAY;
  #filterChains: readonly ForeignChain[] = [];
  readonly #learned: RouteItem[] = [];
  #lastIndex = 1;

  constructor(namespaces = new Map<number, FakeKernel>()) {
    this.#namespaces = namespaces;
  }
  [Symbol.dispose](): void {}

  /** What somebody else does: the underlay and its links are as told from here on. */
  setUnderlay(underlay: Underlay): void {
    this.#underlay = underlay;
    for (const { name, mtu } of underlay.links.filter((link) => !link.ours)) this.addForeign(name, mtu);
    this.#tell({ type: 'underlay' });
  }
  /** What BIRD does. */
  setLearned(routes: readonly RouteItem[]): void {
    this.#learned.splice(0, Infinity, ...routes);
    this.#tell({ type: 'learned' });
  }
  setFilterChains(chains: readonly ForeignChain[]): void {
    this.#filterChains = chains;
    this.#tell({ type: 'underlay' });
  }
  addForeign(name: string, mtu = 1500): void {
    this.#foreign.add(name);
    this.#set({ kind: 'link', type: 'foreign', name, mtu });
  }
  /** What somebody else does to the item: it is gone, with everything that stands on it. */
  lose(key: ItemKey): void {
    this.#drop(key);
  }
  loseEvents(): void {
    this.#tell({ type: 'resync' });
  }

  observe(interest: Interest): Map<ItemKey, Item> {
    const shown = [...this.#items].filter(([, item]) => {
      if (item.kind === 'sysctl') return interest.sysctls.includes(item.key);
      return (
        item.kind !== 'link' || !this.#foreign.has(item.name) || interest.foreignLinks.includes(item.name)
      );
    });
    return new Map(shown);
  }

  apply(steps: readonly Step[]): Failure[] {
    return steps.flatMap((step) => {
      const refusal = step.op === 'remove' ? this.#remove(step.was) : this.#put(step, step.item);
      return refusal === undefined ? [] : [{ step, ...refusal }];
    });
  }

  #remove(was: Item): Refusal | undefined {
    if (was.kind === 'sysctl' || (was.kind === 'link' && was.type === 'foreign')) return undefined;
    if (was.kind === 'link' && this.#foreign.has(was.name)) return refuse('EPERM', `${was.name} is not ours`);
    this.#drop(keyOf(was));
    return undefined;
  }

  #put(step: Exclude<Step, { op: 'remove' }>, item: Item): Refusal | undefined {
    const missing = needs(item).find((name) => !this.#items.has(`link ${name}`));
    if (missing !== undefined) return refuse('ENODEV', `no link ${missing}`);
    if (item.kind === 'link') return this.#putLink(step, item);
    this.#set(item);
    return undefined;
  }

  #putLink(step: Exclude<Step, { op: 'remove' }>, item: LinkItem): Refusal | undefined {
    const key = keyOf(item);
    const before = this.#items.get(key);
    const made = item.type !== 'veth' && item.type !== 'foreign';
    if (before === undefined && (!made || step.op === 'replace')) return refuse('ENODEV', `no ${item.name}`);
    if (made && this.#foreign.has(item.name)) return refuse('EEXIST', `${item.name} is not ours`);
    const anew = made && step.op === 'recreate';
    if (anew) this.#drop(key);
    this.#set(anew ? item : changedItem(before, item));
    return undefined;
  }

  async *changes(signal: AbortSignal): AsyncGenerator<Change> {
    const pending: Change[] = [];
    let wake = Promise.withResolvers<void>();
    const listen = (change: Change): void => {
      pending.push(change);
      wake.resolve();
    };
    this.#listeners.add(listen);
    signal.addEventListener('abort', () => wake.resolve(), { once: true });
    try {
      while (!signal.aborted) {
        for (let next = pending.shift(); next !== undefined; next = pending.shift()) yield next;
        await wake.promise;
        wake = Promise.withResolvers();
      }
    } finally {
      this.#listeners.delete(listen);
    }
  }

  underlay(): Underlay {
    const ours = [...this.#items.values()].filter(
      (item) => item.kind === 'link' && !this.#foreign.has(item.name),
    );
    const links = ours.map((item, index) => ourLink(item as LinkItem, 1000 + index));
    return { ...this.#underlay, links: [...this.#underlay.links, ...links] };
  }

  learnedRoutes(): RouteItem[] {
    return [...this.#learned];
  }

  removeLearnedRoutes(): RouteItem[] {
    return this.#learned.splice(0);
  }

  filterChains(): ForeignChain[] {
    return [...this.#filterChains];
  }

  createPair(pair: VethPair): { hostIndex: number; podIndex: number } {
    const pod = this.#namespace(pair.netns);
    const taken = this.#items.has(`link ${pair.hostName}`) || pod.#items.has(`link ${pair.podName}`);
    if (taken) throw new Fault('kernel', `veth pair ${pair.hostName} and ${pair.podName}: EEXIST`);
    const mac = pair.hostMac === undefined ? {} : { mac: pair.hostMac };
    this.#set({ kind: 'link', type: 'veth', name: pair.hostName, mtu: pair.mtu, ...mac });
    pod.#foreign.add(pair.podName);
    const { podName: name, podMac, mtu } = pair;
    pod.#set({ kind: 'link', type: 'foreign', name, mtu, mac: podMac, down: true });
    this.#peers.set(pair.hostName, { namespace: pod, name });
    return { hostIndex: (this.#lastIndex += 1), podIndex: (pod.#lastIndex += 1) };
  }

  async reapLinks(names: readonly string[]): Promise<void> {
    await Promise.resolve();
    for (const name of names) if (!this.#foreign.has(name)) this.#drop(`link ${name}`);
  }

  /** No connection is ever tracked here. */
  async flushConntrack(): Promise<void> {}
  readonly policy = new FakePolicyTable();
  readonly stagedPolicy = new FakePolicyTable();
  openPolicy({ table }: Parameters<Kernel['openPolicy']>[0] = {}): FakePolicyTable {
    return table === 'staged' ? this.stagedPolicy : this.policy;
  }
  hasPolicy(): boolean {
    return this.policy.entries !== undefined;
  }
  /** How often connections were looked at: there are none. */
  walks = 0;
  async cutConnections(): Promise<Cut> {
    this.walks += 1;
    return { cut: 0, restored: 0 };
  }

  async liveDestinations(): Promise<Set<Address>> {
    return new Set();
  }

  within(netns: number): FakeKernel {
    return this.#namespace(netns);
  }

  #namespace(netns: number): FakeKernel {
    let found = this.#namespaces.get(netns);
    if (found === undefined) {
      found = new FakeKernel(this.#namespaces);
      found.addForeign('lo', 65_536);
      this.#namespaces.set(netns, found);
    }
    return found;
  }

  #set(item: Item): void {
    const { down: _, ...up } = item as LinkItem;
    const stored = item.kind === 'link' && this.#items.has(keyOf(item)) ? (up as LinkItem) : item;
    this.#items.set(keyOf(item), stored);
    this.#tell({ type: 'item', key: keyOf(item), seen: stored });
  }

  /** With all that stands on it, and the other end of a pair. */
  #drop(key: ItemKey): void {
    const item = this.#items.get(key);
    if (!this.#items.delete(key)) return;
    this.#tell({ type: 'item', key, seen: undefined });
    if (item?.kind !== 'link') return;
    const orphans = [...this.#items].filter(([, other]) => dependsOn(other, item.name));
    for (const [orphan] of orphans) this.#drop(orphan);
    const peer = this.#peers.get(item.name);
    this.#peers.delete(item.name);
    this.#foreign.delete(item.name);
    if (peer !== undefined) peer.namespace.#drop(`link ${peer.name}`);
  }

  #tell(change: Change): void {
    for (const listener of this.#listeners) listener(change);
  }
}

function refuse(code: string, message: string): Refusal {
  return { code, message: `${code}: ${message}` };
}

/** Links that must be there before the item can be. */
function needs(item: Item): string[] {
  if (item.kind === 'link') {
    const names = [item.master, item.type === 'vxlan' ? item.parent : undefined];
    return names.filter((name) => name !== undefined);
  }
  if (item.kind === 'redirect') return [item.link, item.to];
  return 'link' in item && item.link !== undefined ? [item.link] : [];
}

/** A port outlives its bridge; a VXLAN device does not outlive its parent. */
function dependsOn(item: Item, link: string): boolean {
  if (item.kind === 'link') return item.type === 'vxlan' && item.parent === link;
  return 'link' in item && item.link === link;
}

function ourLink(item: LinkItem, index: number): UnderlayLink {
  const { name, type, mtu = 1500, mac } = item;
  const base = { name, index, type, mtu, up: true, loopback: false, pointToPoint: false, ours: true };
  return { ...base, addresses: [], ...(mac === undefined ? {} : { mac }) };
}
