import { type HostState, type Item, type ItemKey, type ItemKind, type LinkItem, satisfies } from './host.ts';

/**
 * One change to the kernel. `replace` changes what is there in place; it is `recreate` when the kernel cannot change
 * the difference on a living object (a VXLAN device's VNI) and the object has to go first.
 */
export type Step =
  | { readonly op: 'add'; readonly key: ItemKey; readonly item: Item }
  | { readonly op: 'replace' | 'recreate'; readonly key: ItemKey; readonly item: Item; readonly was: Item }
  | { readonly op: 'remove'; readonly key: ItemKey; readonly was: Item };

/**
 * The only place that knows the order of things: what an item needs stands before it. A route comes after the
 * neighbour and the FDB entry that its next hop needs, or the kernel would ask for the address on the wire; rules that
 * protect come before the links that they protect. Removal goes the other way.
 */
const ORDER: readonly ItemKind[] = [
  'sysctl',
  'nft-table',
  'nft-element',
  'foreign-rule',
  'fou-port',
  'link',
  'shaper',
  'redirect',
  'address',
  'neighbor',
  'proxy',
  'fdb',
  'station',
  'wireguard-peer',
  'esp-port',
  'xfrm-state',
  'xfrm-policy',
  'tunnel',
  'tunnel-peer',
  'route',
  'rule',
];
const RANK = new Map(ORDER.map((kind, rank) => [kind, rank]));
/** Within links: a bridge before its ports, an ifb before what is redirected to it. */
const LINK_RANK = {
  bridge: 0,
  ifb: 1,
  vxlan: 2,
  ipip: 2,
  sit: 2,
  ip6tnl: 2,
  gre: 2,
  ip6gre: 2,
  wireguard: 2,
  tun: 2,
  xfrm: 2,
  veth: 3,
  foreign: 4,
} as const satisfies Record<LinkItem['type'], number>;

/** `net/ipv4/conf/eth0/…`: the file comes and goes with the link. */
const SYSCTL_OF_LINK = /^net\/ipv[46]\/(?:conf|neigh)\/(?!(?:all|default)\/)/;

function rank(item: Item): number {
  if (item.kind === 'sysctl' && SYSCTL_OF_LINK.test(item.key)) return (RANK.get('shaper') ?? 0) * 10 - 1;
  const base = (RANK.get(item.kind) ?? 0) * 10;
  return item.kind === 'link' ? base + LINK_RANK[item.type] : base;
}

/** Steps that make `seen` satisfy `wanted`: removals first (leaves first), then additions and changes (roots first). */
export function diff(wanted: HostState, seen: HostState): Step[] {
  return diffKeys(new Set([...seen.keys(), ...wanted.keys()]), wanted, seen);
}

/** The same over some keys only; the result for all keys is `diff`. */
export function diffKeys(keys: Iterable<ItemKey>, wanted: HostState, seen: HostState): Step[] {
  // By rank: there are few ranks, and may be thousands of steps.
  const removals: Step[][] = [];
  const changes: Step[][] = [];
  for (const key of keys) {
    const step = stepFor(key, wanted.get(key), seen.get(key));
    if (step?.op === 'remove') (removals[rank(step.was)] ??= []).push(step);
    else if (step !== undefined) (changes[rank(step.item)] ??= []).push(step);
  }
  return [...removals.reverse().flat(), ...changes.flat()];
}

function stepFor(key: ItemKey, item: Item | undefined, was: Item | undefined): Step | undefined {
  if (item === undefined) return was === undefined ? undefined : { op: 'remove', key, was };
  if (was === undefined) return { op: 'add', key, item };
  if (satisfies(was, item)) return undefined;
  return { op: needsRecreation(item, was) ? 'recreate' : 'replace', key, item, was };
}

/**
 * Attributes that rtnetlink refuses to change on a living link (drivers/net/vxlan: vxlan_changelink), and those of tunnels,
 * which have no others: each kind of tunnel has its own rules for them.
 */
const FIXED = ['vni', 'port', 'gbp', 'local', 'parent', 'remote', 'ttl', 'tos', 'ifId', 'guePort'] as const;

function needsRecreation(item: Item, was: Item): boolean {
  if (item.kind === 'xfrm-state') return true;
  if (item.kind !== 'link' || was.kind !== 'link') return false;
  if (item.type !== was.type) return true;
  // A key and a port are changed on the living device.
  if (item.type === 'wireguard') return false;
  const left = item as Readonly<Record<string, unknown>>;
  const right = was as Readonly<Record<string, unknown>>;
  return FIXED.some((name) => left[name] !== right[name]);
}
