/** Who has an address, and which sets hold it: a world looked up by address. */
import type { PeerSet } from '#model/policy.ts';
import type { HostEndpoint, Pod, PolicyWorld } from '#model/workload.ts';
import { type Address, addressFamily, addressValue, type Family } from '#net/address.ts';
import { type Atom, OWN_NODE, type SetKey, setKey } from '../compile/condition.ts';
import { Members } from '../compile/members.ts';
import { intervalAt, intervalsOf } from '../compile/nets.ts';
import type { Library } from './library.ts';

/** The sets that hold an address, but for its asker's node. The same number: the same sets. */
export type PeerClass = { readonly id: number; readonly atoms: readonly Atom[] };

export const OWN_NODE_ATOM: Atom = { id: 0, set: setKey(OWN_NODE) };

export class Atlas {
  readonly world: PolicyWorld;
  readonly #library: Library;
  readonly #pods = new Map<Address, Pod[]>();
  readonly #nodes = new Map<Address, string[]>();
  readonly #hosts = new Map<string, HostEndpoint[]>();
  readonly #members = new Members('');
  readonly #classes = new Map<Address, PeerClass>();
  #nets: Record<Family, ReturnType<typeof netsOf>> = { 4: [], 6: [] };

  constructor(world: PolicyWorld, library: Library) {
    this.world = world;
    this.#library = library;
    for (const each of world.endpoints) {
      if (each.kind === 'host') append(this.#hosts, each.node, each);
      if (each.kind !== 'pod' || each.hostNetwork) continue;
      for (const address of each.addresses) append(this.#pods, address, each);
    }
    for (const [name, { addresses }] of world.nodes)
      for (const address of addresses) append(this.#nodes, address, name);
  }

  /** The sets that classes tell apart. */
  ask(sets: ReadonlyMap<SetKey, PeerSet | undefined>): void {
    this.#members.update(this.world, sets);
    this.#nets = { 4: netsOf(this.#members, 4), 6: netsOf(this.#members, 6) };
    this.#classes.clear();
  }

  podsAt(address: Address): readonly Pod[] {
    return this.#pods.get(address) ?? NOBODY;
  }

  nodesAt(address: Address): readonly string[] {
    return this.#nodes.get(address) ?? NOBODY;
  }

  hostsOf(node: string): readonly HostEndpoint[] {
    return this.#hosts.get(node) ?? NOBODY;
  }

  /** A node that has host endpoints has the address. */
  isGuarded(address: Address): boolean {
    return this.nodesAt(address).some((node) => this.#hosts.has(node));
  }

  classOf(address: Address): PeerClass {
    const known = this.#classes.get(address);
    if (known !== undefined) return known;
    const net = intervalAt(this.#nets[addressFamily(address)], addressValue(address));
    const atoms = [...new Set([...this.#members.atomsOf(address), ...(net?.interval.atoms ?? [])])];
    const found = { id: this.#library.id(`class ${this.atomKey(atoms)}`), atoms };
    this.#classes.set(address, found);
    return found;
  }

  /** The same for the same atoms of any atlas. */
  atomKey(atoms: readonly Atom[]): string {
    const ids = atoms.map(({ set, port }) => this.#library.id(`${set} ${port?.protocol} ${port?.port}`));
    return ids.sort((a, b) => a - b).join();
  }
}

function netsOf(members: Members, family: Family) {
  return intervalsOf(members.prefixes(), family).map((interval) => ({ interval }));
}

const NOBODY: readonly never[] = [];

/** Each value once. */
function append<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key);
  if (values === undefined) map.set(key, [value]);
  else if (!values.includes(value)) values.push(value);
}
