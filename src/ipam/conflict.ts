import type { PerFamily } from '#net/per-family.ts';
import { familyValues, perFamily } from '#net/per-family.ts';
import { type Prefix, prefixAddress, prefixFamily, prefixLength, prefixOf } from '#net/prefix.ts';
import type { NodeAdvert, SubnetClaim } from '#model/world.ts';

/**
 * Who may use a subnet that two nodes want. Every node comes to the same answer from the same objects: a reservation
 * wins over a claim, a claim over a mere advert, among equals the node whose name sorts first. The loser's traffic is
 * not routed for that subnet; its other subnets stay.
 */
export type SubnetConflict = {
  readonly subnet: Prefix;
  readonly node: string;
  readonly holder: string;
  /** The holder's subnet that is in the way. */
  readonly heldSubnet: Prefix;
  /** One sentence, for status and logs. */
  readonly why: string;
};

export type ResolvedClaims = {
  /** Adverts without the subnets that were lost. */
  readonly nodes: ReadonlyMap<string, NodeAdvert>;
  readonly conflicts: readonly SubnetConflict[];
};

/**
 * Who uses which subnet, counted as adverts come and go: in the usual case, in which nobody is in another's way, a
 * change costs what it changes. Subnets of different lengths count as contested, as they may overlap.
 */
export class SubnetUse {
  readonly #byNode = new Map<string, readonly Prefix[]>();
  readonly #users = new Map<Prefix, number>();
  readonly #lengths: Record<4 | 6, Map<number, number>> = { 4: new Map(), 6: new Map() };
  #shared = 0;

  /** The node uses these subnets and no others. */
  set(node: string, subnets: readonly Prefix[]): void {
    for (const subnet of this.#byNode.get(node) ?? []) this.#count(subnet, -1);
    for (const subnet of subnets) this.#count(subnet, 1);
    if (subnets.length === 0) this.#byNode.delete(node);
    else this.#byNode.set(node, subnets);
  }

  /** Whether `resolveClaims` has to be asked. When it need not, all adverts stand as they are. */
  get contested(): boolean {
    return this.#shared > 0 || this.#lengths[4].size > 1 || this.#lengths[6].size > 1;
  }

  #count(subnet: Prefix, change: 1 | -1): void {
    const users = add(this.#users, subnet, change);
    if (users === (change === 1 ? 2 : 1)) this.#shared += change;
    add(this.#lengths[prefixFamily(subnet)], prefixLength(subnet), change);
  }
}

/** Counts; what is counted down to nothing is forgotten. */
function add<K>(counts: Map<K, number>, key: K, change: number): number {
  const count = (counts.get(key) ?? 0) + change;
  if (count === 0) counts.delete(key);
  else counts.set(key, count);
  return count;
}

type Standing = 'reserved' | 'claimed' | 'announced';
type Holding = { readonly node: string; readonly subnet: Prefix; readonly standing: Standing };

const RANK: Record<Standing, number> = { reserved: 0, claimed: 1, announced: 2 };
const BECAUSE: Record<Standing, string> = {
  reserved: 'an operator reserved it',
  claimed: 'it has the claim',
  announced: 'neither has a claim and its name sorts first',
};

export function resolveClaims(
  nodes: ReadonlyMap<string, NodeAdvert>,
  claims: readonly SubnetClaim[],
): ResolvedClaims {
  const holdings = listHoldings(nodes, claims);
  const index = createIndex(holdings);
  const conflicts: SubnetConflict[] = [];
  for (const holding of holdings) {
    const winner = index.findOther(holding);
    if (winner === undefined) index.add(holding);
    else conflicts.push(describe(holding, winner));
  }
  if (conflicts.length === 0) return { nodes, conflicts };
  const lost = new Set(conflicts.map(({ node, subnet }) => `${node} ${subnet}`));
  return { nodes: new Map([...nodes].map(([name, advert]) => [name, strip(advert, lost)])), conflicts };
}

/** One entry for each node and subnet, strongest first. */
function listHoldings(nodes: ReadonlyMap<string, NodeAdvert>, claims: readonly SubnetClaim[]): Holding[] {
  const found = new Map<string, Holding>();
  const hold = (holding: Holding): void => {
    const key = `${holding.node} ${holding.subnet}`;
    const present = found.get(key);
    if (present === undefined || RANK[holding.standing] < RANK[present.standing]) found.set(key, holding);
  };
  for (const { node, subnet, reserved } of claims) {
    hold({ node, subnet, standing: reserved ? 'reserved' : 'claimed' });
  }
  for (const [node, advert] of nodes) {
    for (const subnet of familyValues(advert.subnets)) hold({ node, subnet, standing: 'announced' });
  }
  return [...found.values()].sort(
    (a, b) => RANK[a.standing] - RANK[b.standing] || order(a.node, b.node) || order(a.subnet, b.subnet),
  );
}

/**
 * Accepted holdings by subnet and by every wider prefix of a length in use: two prefixes overlap exactly when one is
 * among the other's wider ones, so a lookup costs one step per length, and one step where all have the same.
 */
function createIndex(all: readonly Holding[]): {
  add(holding: Holding): void;
  findOther(holding: Holding): Holding | undefined;
} {
  const lengths: PerFamily<Set<number>> = { 4: new Set(), 6: new Set() };
  for (const { subnet } of all) lengths[prefixFamily(subnet)]?.add(prefixLength(subnet));
  const exact = new Map<Prefix, Holding[]>();
  const inside = new Map<Prefix, Holding[]>();

  const wider = (subnet: Prefix): Prefix[] =>
    [...(lengths[prefixFamily(subnet)] ?? [])]
      .filter((length) => length < prefixLength(subnet))
      .map((length) => prefixOf(prefixAddress(subnet), length));
  const push = (map: Map<Prefix, Holding[]>, key: Prefix, holding: Holding): void => {
    const list = map.get(key);
    if (list === undefined) map.set(key, [holding]);
    else list.push(holding);
  };
  return {
    add(holding) {
      push(exact, holding.subnet, holding);
      for (const outer of wider(holding.subnet)) push(inside, outer, holding);
    },
    findOther({ node, subnet }) {
      const isOther = (holding: Holding): boolean => holding.node !== node;
      for (const key of [subnet, ...wider(subnet)]) {
        const found = exact.get(key)?.find(isOther);
        if (found !== undefined) return found;
      }
      return inside.get(subnet)?.find(isOther);
    },
  };
}

function describe({ node, subnet }: Holding, holder: Holding): SubnetConflict {
  const same = holder.subnet === subnet ? '' : ` (as ${holder.subnet})`;
  const why = `node ${node} may not use ${subnet}: node ${holder.node} holds it${same}, because ${BECAUSE[holder.standing]}`;
  return { subnet, node, holder: holder.node, heldSubnet: holder.subnet, why };
}

function strip(advert: NodeAdvert, lost: ReadonlySet<string>): NodeAdvert {
  const subnets = perFamily((family) => {
    const subnet = advert.subnets[family];
    return subnet !== undefined && lost.has(`${advert.name} ${subnet}`) ? undefined : subnet;
  });
  // Plans are cached by identity: a node that lost nothing stays the same object.
  return familyValues(subnets).length === familyValues(advert.subnets).length
    ? advert
    : { ...advert, subnets };
}

function order(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
