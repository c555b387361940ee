/**
 * Who is in the sets that matter here, kept from one world to the next: a pod that changes is looked at by itself, and
 * a set that is new asks everybody once. Pods that are addressed one by one are told by address, network sets by prefix.
 */
import type { PeerSet, Selector } from '#model/policy.ts';
import type { Endpoint, PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import type { Prefix } from '#net/prefix.ts';
import { matchesSelector } from '#model/selector-match.ts';
import { endpointLabels } from '../selector.ts';
import { type Atom, CLUSTER, namedPortKey, type SetKey, setKey, WITH_PORTS } from './condition.ts';
import { listAddresses } from './listed.ts';
import { addFew, type Few, listFew, removeFew } from './few.ts';
import { changedSpan } from './span.ts';
import { isOfNamespace, specialize } from './specialize.ts';

/** Endpoints of one kind and namespace, with what each set asks of them beyond that. */
type Group = {
  readonly members: Set<Endpoint>;
  readonly asks: Map<SetKey, Selector | true>;
};

export type Changes = { readonly addresses: ReadonlySet<Address>; readonly prefixes: boolean };

type WantedSets = ReadonlyMap<SetKey, PeerSet | undefined>;

export class Members {
  readonly #node: string;
  #world: PolicyWorld | undefined;
  #sets: WantedSets = new Map();
  readonly #groups = new Map<string, Group>();
  readonly #atoms = new Map<string, Atom>();
  /** What an endpoint gives its addresses, of those that give any. */
  readonly #given: Few<Endpoint, Atom> = new Map();
  /** By address: the endpoints that have it, and atoms of sets that list it. */
  readonly #owners: Few<Address, Endpoint> = new Map();
  readonly #listed = new Map<SetKey, readonly (readonly [Address, Atom])[]>();
  readonly #byAddress: Few<Address, Atom> = new Map();
  #dirty = new Set<Address>();
  #prefixesChanged = false;

  constructor(node: string) {
    this.#node = node;
  }

  /** What has changed: addresses whose atoms may be others now, and whether any prefix may. */
  update(world: PolicyWorld, sets: WantedSets): Changes {
    const before = this.#world;
    this.#world = world;
    const relabelled =
      before === undefined || before.namespaces !== world.namespaces || before.accounts !== world.accounts;
    if (relabelled) this.#forgetAll();
    this.#updateEndpoints(relabelled ? [] : before.endpoints, world.endpoints);
    if (sets !== this.#sets) this.#updateSets(sets);
    this.#updateListed(before, world);
    const changes = { addresses: this.#dirty, prefixes: this.#prefixesChanged };
    this.#dirty = new Set();
    this.#prefixesChanged = false;
    return changes;
  }

  atomsOf(address: Address): Atom[] {
    const found = new Set<Atom>(listFew(this.#byAddress, address));
    for (const endpoint of listFew(this.#owners, address))
      for (const atom of listFew(this.#given, endpoint)) found.add(atom);
    return [...found].sort((a, b) => a.id - b.id);
  }

  /** Of every set, and those that network sets give. */
  *prefixes(): Generator<{
    readonly atom: Atom;
    readonly prefixes: readonly Prefix[];
    readonly except: readonly Prefix[];
  }> {
    for (const [key, set] of this.#sets) {
      if (set?.kind === 'prefixes')
        yield { atom: this.#atom(key), prefixes: set.prefixes, except: set.except };
    }
    for (const endpoint of this.#given.keys()) {
      if (endpoint.kind !== 'network-set') continue;
      for (const atom of listFew(this.#given, endpoint))
        yield { atom, prefixes: endpoint.prefixes, except: [] };
    }
  }

  #forgetAll(): void {
    for (const address of this.#owners.keys()) this.#dirty.add(address);
    this.#groups.clear();
    this.#given.clear();
    this.#owners.clear();
    this.#sets = new Map([...this.#sets].filter(([, set]) => set !== undefined && isListed(set)));
    this.#prefixesChanged = true;
  }

  #updateEndpoints(before: readonly Endpoint[], now: readonly Endpoint[]): void {
    const same = new Set<Endpoint>();
    const { gone, come } = changedSpan(before, now);
    const coming = new Set(come);
    for (const endpoint of gone) {
      if (coming.has(endpoint)) same.add(endpoint);
      else this.#removeEndpoint(endpoint);
    }
    for (const endpoint of come) if (!same.has(endpoint)) this.#addEndpoint(endpoint);
  }

  #addEndpoint(endpoint: Endpoint): void {
    const group = this.#group(endpoint);
    group.members.add(endpoint);
    const lookup = endpointLabels(this.#now(), endpoint);
    for (const [key, ask] of group.asks)
      if (ask === true || matchesSelector(ask, lookup)) addFew(this.#given, endpoint, this.#atom(key));
    this.#addPlainAtoms(endpoint);
    for (const address of addressesOf(endpoint)) addFew(this.#owners, address, endpoint);
    this.#touch(endpoint);
  }

  #removeEndpoint(endpoint: Endpoint): void {
    this.#touch(endpoint);
    this.#group(endpoint).members.delete(endpoint);
    this.#given.delete(endpoint);
    for (const address of addressesOf(endpoint)) removeFew(this.#owners, address, endpoint);
  }

  #touch(endpoint: Endpoint): void {
    if (endpoint.kind === 'network-set') this.#prefixesChanged = true;
    else for (const address of addressesOf(endpoint)) this.#dirty.add(address);
  }

  /** Atoms that no selector gives: being in the cluster, and ports by name. */
  *#plainAtoms(endpoint: Endpoint): Generator<Atom> {
    if (endpoint.kind === 'network-set') return;
    const cluster = setKey(CLUSTER);
    if (endpoint.kind === 'pod' && this.#sets.has(cluster)) yield this.#atom(cluster);
    for (const { name, protocol, port } of endpoint.ports) {
      const key = namedPortKey(name);
      if (this.#sets.has(key) && WITH_PORTS.includes(protocol)) yield this.#atom(key, { protocol, port });
    }
  }

  #updateSets(sets: WantedSets): void {
    const before = this.#sets;
    this.#sets = sets;
    for (const [key, set] of before) if (!sets.has(key)) this.#removeSet(key, set);
    const added = [...sets].filter(([key]) => !before.has(key));
    for (const [key, set] of added) this.#addSet(key, set);
    if (added.some(([key, set]) => set === undefined || key === setKey(CLUSTER))) this.#addAllPlainAtoms();
  }

  #addSet(key: SetKey, set: PeerSet | undefined): void {
    if (set?.kind === 'prefixes') this.#prefixesChanged = true;
    if (set?.kind !== 'endpoints') return;
    for (const group of this.#groups.values()) this.#askGroup(key, set.selector, group);
  }

  #addAllPlainAtoms(): void {
    for (const { members } of this.#groups.values())
      for (const endpoint of members) if (this.#addPlainAtoms(endpoint)) this.#touch(endpoint);
  }
  /** Answers whether any is new. */
  #addPlainAtoms(endpoint: Endpoint): boolean {
    let isNew = false;
    for (const atom of this.#plainAtoms(endpoint)) if (addFew(this.#given, endpoint, atom)) isNew = true;
    return isNew;
  }

  #askGroup(key: SetKey, selector: Selector, group: Group): void {
    const [sample] = group.members;
    if (sample === undefined) return;
    const ask = specialize(selector, isOfNamespace, endpointLabels(this.#now(), sample));
    if (ask === false) return;
    group.asks.set(key, ask);
    const atom = this.#atom(key);
    for (const endpoint of group.members) {
      if (ask !== true && !matchesSelector(ask, endpointLabels(this.#now(), endpoint))) continue;
      addFew(this.#given, endpoint, atom);
      this.#touch(endpoint);
    }
  }

  #removeSet(key: SetKey, set: PeerSet | undefined): void {
    if (set?.kind === 'prefixes') this.#prefixesChanged = true;
    for (const { asks } of this.#groups.values()) asks.delete(key);
    for (const [name, atom] of this.#atoms) {
      if (atom.set !== key) continue;
      this.#atoms.delete(name);
      for (const endpoint of this.#given.keys())
        if (removeFew(this.#given, endpoint, atom)) this.#touch(endpoint);
    }
  }

  /** A group whose last member went may have asks of sets that came meanwhile missing: it begins anew. */
  #group(endpoint: Endpoint): Group {
    const name = `${endpoint.kind} ${endpoint.kind === 'host' ? '' : (endpoint.namespace ?? '-')}`;
    const known = this.#groups.get(name);
    if (known !== undefined && known.members.size > 0) return known;
    const group: Group = { members: new Set(), asks: new Map() };
    this.#groups.set(name, group);
    const lookup = endpointLabels(this.#now(), endpoint);
    for (const [key, set] of this.#sets) {
      if (set?.kind !== 'endpoints') continue;
      const ask = specialize(set.selector, isOfNamespace, lookup);
      if (ask !== false) group.asks.set(key, ask);
    }
    return group;
  }

  #updateListed(before: PolicyWorld | undefined, world: PolicyWorld): void {
    for (const key of this.#listed.keys()) if (!this.#sets.has(key)) this.#list(key, []);
    for (const [key, set] of this.#sets) {
      if (set === undefined || !isListed(set)) continue;
      if (before !== undefined && isSameSource(set, before, world) && this.#listed.has(key)) continue;
      const members = listAddresses(set, world, this.#node);
      this.#list(
        key,
        members.map(([address, port]) => [address, this.#atom(key, port)] as const),
      );
    }
  }

  /** Addresses that stay are not touched: of a name there may be thousands, of which one is new. */
  #list(key: SetKey, now: readonly (readonly [Address, Atom])[]): void {
    const before = this.#listed.get(key) ?? [];
    const [was, is] = [before, now].map((list) => new Set(list.map(memberKey))) as [Set<string>, Set<string>];
    for (const member of before) {
      if (is.has(memberKey(member))) continue;
      this.#dirty.add(member[0]);
      removeFew(this.#byAddress, ...member);
    }
    for (const member of now) {
      if (was.has(memberKey(member))) continue;
      this.#dirty.add(member[0]);
      addFew(this.#byAddress, ...member);
    }
    if (this.#sets.has(key)) this.#listed.set(key, now);
    else this.#listed.delete(key);
  }

  #nextAtom = 1;

  #atom(set: SetKey, port?: Atom['port']): Atom {
    const name = port === undefined ? set : `${set} ${port.protocol} ${port.port}`;
    const known = this.#atoms.get(name);
    if (known !== undefined) return known;
    const atom: Atom =
      port === undefined ? { id: this.#nextAtom++, set } : { id: this.#nextAtom++, set, port };
    this.#atoms.set(name, atom);
    return atom;
  }

  #now(): PolicyWorld {
    if (this.#world === undefined) throw new Error('no world yet');
    return this.#world;
  }
}

type Listed = Exclude<PeerSet, { kind: 'endpoints' | 'prefixes' }>;

/** What lists of addresses are made from. */
const SOURCES: Readonly<Record<Exclude<Listed['kind'], 'names'>, readonly (keyof PolicyWorld)[]>> = {
  nodes: ['nodes'],
  entity: ['nodes'],
  service: ['services'],
};

const memberKey = ([address, { id }]: readonly [Address, Atom]): string => `${address} ${id}`;

/** Whether its list can be no other. */
function isSameSource(set: Listed, before: PolicyWorld, world: PolicyWorld): boolean {
  if (set.kind === 'names')
    return set.names.every((name) => before.names.get(name) === world.names.get(name));
  return SOURCES[set.kind].every((source) => before[source] === world[source]);
}

function isListed(set: PeerSet): set is Listed {
  return set.kind !== 'endpoints' && set.kind !== 'prefixes';
}

/** As selectors see it: host-network pods have no address, network sets no single ones. */
function addressesOf(endpoint: Endpoint): readonly Address[] {
  if (endpoint.kind === 'network-set') return [];
  return endpoint.kind === 'pod' && endpoint.hostNetwork ? [] : endpoint.addresses;
}
