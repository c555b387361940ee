/**
 * What every pair of addresses may send each other, for all traffic at once: exactly what `evaluate` says of each flow
 * (without DNAT, by the interfaces that it derives), but made of parts that many pairs share. Compiled scripts are painted
 * per class of peers; where there is no script (host endpoints, addresses that several pods claim), a Surveyor asks.
 */
import { type Direction, DIRECTIONS, type PeerSet, type RuleBook } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import { type Endpoint, endpointName, type NetworkSet, type Pod, type PolicyWorld } from '#model/workload.ts';
import { type Address, addressFamily } from '#net/address.ts';
import type { Atom, SetKey } from '../compile/condition.ts';
import { type Grid, isIcmp, paint } from '../compile/grid.ts';
import { type Script, type Selected, writeScript } from '../compile/lines.ts';
import { Selection } from '../compile/selection.ts';
import { Atlas, OWN_NODE_ATOM, type PeerClass } from './atlas.ts';
import { decisionAt } from './cuts.ts';
import type { Library } from './library.ts';
import { Surveyor } from './surveyor.ts';

export type Pair = readonly [source: Address, destination: Address];

/** The judgement of one endpoint on the way. Ends with the same key judge alike, in whatever book and world. */
export type End = {
  readonly key: string;
  /** As endpointName has it, of this very pair. */
  readonly endpoint: string;
  readonly direction: Direction;
  readonly grids: () => readonly Grid[];
};

type PodPolicies = Readonly<Record<Direction, readonly Selected[]>>;
type Written = { readonly id: number; readonly script: Script | undefined };
/** A class of peers as far as a script asks. */
type View = { readonly key: string; readonly atoms: readonly Atom[] };

export class Judge {
  readonly book: RuleBook;
  readonly atlas: Atlas;
  readonly #library: Library;
  readonly #surveyor: Surveyor;
  readonly #policies: ReadonlyMap<Pod, PodPolicies>;
  readonly #networks: readonly NetworkSet[];
  readonly #written = new Map<Pod, Map<string, Written>>();
  readonly #views = new Map<string, View>();
  readonly #unique: number;

  constructor(book: RuleBook, world: PolicyWorld, library: Library) {
    this.book = book;
    this.atlas = new Atlas(world, library);
    this.#library = library;
    this.#unique = library.unique();
    this.#surveyor = new Surveyor(book, this.atlas, library);
    this.#networks = world.endpoints.filter((each): each is NetworkSet => each.kind === 'network-set');
    this.#policies = selectAll(book, world);
    this.atlas.ask(this.#sets(world));
  }

  /** Of all endpoints that are asked, in the order of `evaluate`; those that nothing selects may be left out. */
  ends(pair: Pair): readonly End[] {
    const [source, destination] = pair;
    if (pair.some((at) => this.#isSurveyed(at))) return this.#surveyor.ends(pair);
    const [from] = this.atlas.podsAt(source);
    const [to] = this.atlas.podsAt(destination);
    return [
      ...(from === undefined ? [] : this.#end([from, source], destination, 'egress')),
      ...(to === undefined ? [] : this.#end([to, destination], source, 'ingress')),
    ];
  }

  /** Of a flow without DNAT: whether it may begin. */
  actionOf(flow: Flow): 'allow' | 'deny' {
    const { protocol, source, destination, icmp } = flow;
    const [x = 0, y = 0] = isIcmp(protocol)
      ? [icmp?.type, icmp?.code]
      : [flow.destinationPort, flow.sourcePort];
    const denies = this.ends([source, destination]).some(
      ({ grids }) => decisionAt(grids(), { protocol, x, y }).verdict === 'deny',
    );
    return denies ? 'deny' : 'allow';
  }

  /**
   * Addresses of one family and the same kind are judged alike by all peers, and judge all peers alike, but for who is
   * on whose node, and that a pod may reach itself.
   */
  kindOf(address: Address): string {
    if (this.#isSurveyed(address)) return `alone ${address}`;
    const ids = this.atlas
      .podsAt(address)
      .flatMap((pod) => DIRECTIONS.map((way) => this.#script(pod, address, way).id));
    return `${ids.join()} ${this.atlas.classOf(address).id} ${this.atlas.nodesAt(address).length > 0}`;
  }

  /** What matters of two addresses beside their kinds: `itself`, or which end is on whose node. */
  relationOf([source, destination]: Pair): string {
    const [from, to] = [this.atlas.podsAt(source), this.atlas.podsAt(destination)];
    if (from.some((pod) => to.includes(pod))) return 'itself';
    const isOn = (pods: readonly Pod[], node: string): boolean => pods.some((pod) => pod.node === node);
    const senders = this.atlas.nodesAt(source);
    const receivers = this.atlas.nodesAt(destination);
    if (senders.some((node) => isOn(to, node) || receivers.includes(node))) return 'from own node';
    return receivers.some((node) => isOn(from, node)) ? 'to own node' : '';
  }

  #isSurveyed(address: Address): boolean {
    return this.atlas.isGuarded(address) || this.atlas.podsAt(address).length > 1;
  }

  #end([pod, own]: readonly [Pod, Address], peer: Address, direction: Direction): End[] {
    if (pod.addresses.includes(peer)) return [];
    const { id, script } = this.#script(pod, own, direction);
    if (script === undefined) return [];
    const view = this.#view(
      id,
      script,
      this.atlas.classOf(peer),
      this.atlas.nodesAt(peer).includes(pod.node),
    );
    const key = `${id} ${view.key}`;
    const grids = (): readonly Grid[] =>
      this.#library.once(this.#library.grids, key, () => paint(script, view.atoms));
    return [{ key, endpoint: endpointName(pod), direction, grids }];
  }

  // eslint-disable-next-line max-params
  #view(id: number, { sets }: Script, peer: PeerClass, isOwnNode: boolean): View {
    return this.#library.once(this.#views, `${id} ${peer.id} ${isOwnNode}`, () => {
      const all = isOwnNode ? [...peer.atoms, OWN_NODE_ATOM] : peer.atoms;
      const atoms = all.filter(({ set }) => sets.has(set));
      return { key: this.atlas.atomKey(atoms), atoms };
    });
  }

  #script(pod: Pod, address: Address, direction: Direction): Written {
    const known = this.#written.get(pod) ?? new Map<string, Written>();
    this.#written.set(pod, known);
    return this.#library.once(known, `${direction} ${address}`, () => this.#write(pod, address, direction));
  }

  #write(pod: Pod, address: Address, direction: Direction): Written {
    const tiers = this.#policies.get(pod)?.[direction] ?? [];
    const content = this.#contentOf(pod, address, [direction, tiers]);
    const { scripts } = this.#library;
    const shared = scripts.get(content);
    if (shared !== undefined) return { id: this.#library.id(content), script: shared };
    const own = { pod, address, networks: this.#networks };
    const script = writeScript(this.book, this.atlas.world, own, { direction, tiers });
    // What such a script says hangs on sets that hold the address, in this world.
    if (script?.looksAtWorld === true) {
      return { id: this.#library.id(`${this.#unique} ${address} ${content}`), script };
    }
    if (script !== undefined) scripts.set(content, script);
    return { id: script === undefined ? 0 : this.#library.id(content), script };
  }

  #contentOf(
    { ports, profiles }: Pod,
    address: Address,
    [direction, tiers]: readonly [Direction, readonly Selected[]],
  ): string {
    const ids = tiers.map(({ tier, policies }) =>
      [tier, ...policies].map((each) => this.#library.contentId(each)).join(),
    );
    const named = profiles?.map((name) => {
      const profile = this.book.profiles.get(name);
      return profile === undefined ? name : this.#library.contentId(profile);
    });
    return JSON.stringify([direction, addressFamily(address), ids, ports, named]);
  }

  /** All that any end asks of its peers. */
  #sets(world: PolicyWorld): Map<SetKey, PeerSet | undefined> {
    const hosts = world.endpoints.filter((each) => each.kind === 'host');
    const found = new Map<SetKey, PeerSet | undefined>(this.#surveyor.setsFor(hosts));
    for (const pod of this.#policies.keys()) {
      for (const address of pod.addresses)
        for (const way of DIRECTIONS)
          for (const [key, set] of this.#script(pod, address, way).script?.sets ?? []) found.set(key, set);
    }
    return found;
  }
}

function selectAll(book: RuleBook, world: PolicyWorld): Map<Pod, PodPolicies> {
  const nodes = new Set(world.endpoints.flatMap((each) => (each.kind === 'pod' ? each.node : [])));
  const all: [Endpoint, PodPolicies][] = [...nodes].flatMap((node) => [
    ...new Selection(node).update(book, world),
  ]);
  return new Map(all.filter((each): each is [Pod, PodPolicies] => each[0].kind === 'pod'));
}
