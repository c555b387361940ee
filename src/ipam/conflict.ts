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
  if (isUncontested(nodes, claims)) return { nodes, conflicts: [] };
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

/** The usual case, told in one pass: all subnets of a family are of one length and none has two nodes. */
function isUncontested(nodes: ReadonlyMap<string, NodeAdvert>, claims: readonly SubnetClaim[]): boolean {
  const holders = new Map<Prefix, string>();
  const lengths: { 4?: string; 6?: string } = {};
  const isAlone = (node: string, subnet: Prefix): boolean => {
    const length = subnet.slice(subnet.lastIndexOf('/'));
    const family = prefixFamily(subnet);
    lengths[family] ??= length;
    const holder = holders.get(subnet);
    holders.set(subnet, node);
    return lengths[family] === length && (holder === undefined || holder === node);
  };
  if (!claims.every(({ node, subnet }) => isAlone(node, subnet))) return false;
  for (const [name, { subnets }] of nodes) {
    if (!familyValues(subnets).every((subnet) => isAlone(name, subnet))) return false;
  }
  return true;
}

/** One entry for each node and subnet, strongest first. */
function listHoldings(nodes: ReadonlyMap<string, NodeAdvert>, claims: readonly SubnetClaim[]): Holding[] {
  const found = new Map<string, Holding>();
  const add = (holding: Holding): void => {
    const key = `${holding.node} ${holding.subnet}`;
    const present = found.get(key);
    if (present === undefined || RANK[holding.standing] < RANK[present.standing]) found.set(key, holding);
  };
  for (const { node, subnet, reserved } of claims) {
    add({ node, subnet, standing: reserved ? 'reserved' : 'claimed' });
  }
  for (const [node, advert] of nodes) {
    for (const subnet of familyValues(advert.subnets)) add({ node, subnet, standing: 'announced' });
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
