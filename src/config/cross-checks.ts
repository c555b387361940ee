/** What concerns several settings at once. Each check answers problems at the path of the setting to change. */
import { type RoadMode, type RoadType, type SubnetSettings } from '#model/settings.ts';
import { MIN_IPV6_MTU, OVERHEAD } from '#model/numbers.ts';
import { FAMILIES, type Family } from '#net/address.ts';
import { contains, overlaps, type Prefix, prefixLength } from '#net/prefix.ts';
import { subnetDefaults } from '#net/subnet-range.ts';
import { checkBlocks, checkNodeCidr } from './address-checks.ts';
import { checkController } from './controller-checks.ts';
import type { Path } from './document.ts';
import type { RawSettings } from './schema.ts';
import { checkStore } from './store-checks.ts';

export type Wrong = { readonly path: Path; readonly message: string };
export type Checked = { readonly errors: Wrong[]; readonly warnings: Wrong[] };

export function familyOf(
  raw: RawSettings,
  family: Family,
): NonNullable<RawSettings['network']['ipv4']> | undefined {
  return (family === 4 ? raw.network.ipv4 : raw.network.ipv6) ?? undefined;
}

const SUBNET_PATHS = { range: 'range', length: 'subnetLength', min: 'subnetMin', max: 'subnetMax' } as const;

/** The subnets of one family, or what is wrong with them. */
export function subnetsOf(raw: RawSettings, family: Family): SubnetSettings | Wrong[] | undefined {
  const given = familyOf(raw, family);
  if (given === undefined) return undefined;
  const found = subnetDefaults(given.range, given.subnetLength, given.subnetMin, given.subnetMax);
  if (!('problems' in found)) return found;
  return found.problems.map(({ path, message }) => ({
    path: ['network', `ipv${family}`, SUBNET_PATHS[path]],
    message,
  }));
}

/** Everything that the schema cannot see. */
export function crossCheck(raw: RawSettings): Checked {
  const errors = [
    ...checkFamilies(raw),
    ...FAMILIES.flatMap((family) => checkNodeSubnet(raw, family)),
    ...checkLease(raw),
    ...checkExcluded(raw),
    ...checkMode(raw),
    ...checkStrict(raw),
    ...checkSegment(raw),
    ...checkSealed(raw),
    ...checkPassword(raw),
    ...checkMtu(raw),
    ...checkPaths(raw),
    ...checkPolicy(raw),
    ...checkBlocks(raw),
    ...checkNodeCidr(raw),
    ...checkController(raw),
  ];
  const store = checkStore(raw);
  const warnings = [...warnUnused(raw), ...warnMode(raw), ...warnMasquerade(raw), ...store.warnings];
  return { errors: [...errors, ...store.errors], warnings };
}

function checkFamilies(raw: RawSettings): Wrong[] {
  if (FAMILIES.some((family) => familyOf(raw, family) !== undefined)) return [];
  return [{ path: ['network'], message: 'needs ipv4.range, ipv6.range or both' }];
}

function checkNodeSubnet(raw: RawSettings, family: Family): Wrong[] {
  const subnets = subnetsOf(raw, family);
  const own = familyOf(raw, family)?.nodeSubnet;
  if (Array.isArray(subnets)) return subnets;
  if (subnets === undefined || own === undefined) return [];
  const path = ['network', `ipv${family}`, 'nodeSubnet'];
  const errors: Wrong[] = [];
  if (!contains(subnets.range, own)) errors.push({ path, message: `${own} is outside ${subnets.range}` });
  if (prefixLength(own) !== subnets.length)
    errors.push({ path, message: `${own} must be a /${subnets.length} as all node subnets` });
  return errors;
}

function checkLease({ network: { lease } }: RawSettings): Wrong[] {
  if (lease.renewBeforeSeconds < lease.ttlSeconds) return [];
  const message = `must be less than ttlSeconds (${lease.ttlSeconds})`;
  return [{ path: ['network', 'lease', 'renewBeforeSeconds'], message }];
}

function ranges(raw: RawSettings): Prefix[] {
  return FAMILIES.map((family) => familyOf(raw, family)?.range).filter((range) => range !== undefined);
}

function checkExcluded(raw: RawSettings): Wrong[] {
  return raw.addresses.exclude.flatMap((excluded, index) => {
    const path = ['addresses', 'exclude', index];
    if (ranges(raw).some((range) => contains(excluded, range)))
      return [{ path, message: `${excluded} leaves no address of the cluster’s range` }];
    if (ranges(raw).some((range) => overlaps(range, excluded))) return [];
    return [{ path, message: `${excluded} is outside the cluster’s ranges, so it excludes nothing` }];
  });
}

const PLAIN: ReadonlySet<RoadType> = new Set(['host-gw', 'alloc']);

/** The road as the code knows it: without encapsulation every tunnel is host-gw, and directRouting is a mode. */
export function roadOf({ road }: RawSettings): { type: RoadType; mode: RoadMode } {
  const { type, mode } = road;
  if (type === 'bgp' || type === 'bgp-ipip') return bgpRoadOf(type, mode);
  if (mode === 'Never' && !PLAIN.has(type)) return { type: 'host-gw', mode: 'Always' };
  const direct =
    mode === 'CrossSubnet' || (mode === undefined && type === 'vxlan' && road.vxlan.directRouting);
  return { type, mode: direct ? 'CrossSubnet' : 'Always' };
}

/** With encapsulation bgp is bgp-ipip, and without it that is bgp. */
function bgpRoadOf(
  type: 'bgp' | 'bgp-ipip',
  mode: RawSettings['road']['mode'],
): { type: RoadType; mode: RoadMode } {
  const isPlain = mode === 'Never' || (mode === undefined && type === 'bgp');
  return isPlain ? { type: 'bgp', mode: 'Always' } : { type: 'bgp-ipip', mode: mode ?? 'Always' };
}

function warnMode({ road }: RawSettings): Wrong[] {
  const isFree = !PLAIN.has(road.type) && road.type !== 'auto';
  if (isFree || road.mode === undefined || road.mode === 'Never') return [];
  return [{ path: ['road', 'mode'], message: `has no effect with the road ${road.type}` }];
}

function checkStrict(raw: RawSettings): Wrong[] {
  const { udp } = raw.road;
  const isPlain = udp.strict && udp.cipher === 'plain';
  return [
    ...(['wireguard', 'udp'] as const).flatMap((name) => checkStrictOf(name, raw)),
    ...(isPlain ? [{ path: ['road', 'udp', 'strict'], message: 'needs a cipher: plain is not sealed' }] : []),
  ];
}

function checkStrictOf(name: 'wireguard' | 'udp', { road }: RawSettings): Wrong[] {
  const path = ['road', name, 'strict'];
  if (!road[name].strict) return [];
  if (road.type === 'auto' && road.auto.encrypt) return [];
  if (road.type !== name) return [{ path, message: `needs the road ${name}, not ${road.type}` }];
  if (road.mode === undefined || road.mode === 'Always') return [];
  return [{ path, message: `would drop what the mode ${road.mode} sends plain` }];
}

function checkPassword({ road }: RawSettings): Wrong[] {
  if (road.udp.passwordFile === undefined || road.udp.cipher !== 'plain') return [];
  return [{ path: ['road', 'udp', 'passwordFile'], message: 'is for a cipher, not for plain' }];
}

/** On by default: only where the road is taken does it contradict anything. */
function checkSealed({ road }: RawSettings): Wrong[] {
  const isPlain = road.type === 'ipsec' && road.ipsec.strict && road.mode === 'CrossSubnet';
  const message = 'would drop what the mode CrossSubnet sends plain';
  return isPlain ? [{ path: ['road', 'ipsec', 'strict'], message }] : [];
}

/** The segment is made of bridges, and its frames pass no host that could judge or route them. */
function checkSegment(raw: RawSettings): Wrong[] {
  const { road, wiring, policy } = raw;
  if (roadOf(raw).type !== 'layer2') return [];
  const wrongs: (Wrong | false)[] = [
    wiring.type !== 'bridge' && {
      path: ['wiring', 'type'],
      message: 'must be bridge with the road layer2, whose segment the bridges are',
    },
    policy.enforce && {
      path: ['policy', 'enforce'],
      message: 'is not possible with the road layer2: frames go from pod to pod past every host; take vxlan',
    },
    road.mode === 'CrossSubnet' && {
      path: ['road', 'mode'],
      message: 'CrossSubnet is not possible with the road layer2: all nodes are on its one segment',
    },
  ];
  return wrongs.filter((wrong) => wrong !== false);
}

function checkMode({ road }: RawSettings): Wrong[] {
  if (road.type !== 'vxlan' || !road.vxlan.directRouting) return [];
  if (road.mode === undefined || road.mode === 'CrossSubnet') return [];
  return [{ path: ['road', 'mode'], message: `${road.mode} contradicts road.vxlan.directRouting` }];
}

/** The outer family is not known before the link is, so the smaller overhead is taken: what fails here fails always. */
function checkMtu(raw: RawSettings): Wrong[] {
  const { underlay, wiring, network } = raw;
  const errors: Wrong[] = [];
  const overhead = overheadAtLeast(roadOf(raw).type);
  const room = underlay.mtu === undefined ? undefined : underlay.mtu - overhead;
  if (room !== undefined && wiring.mtu !== undefined && wiring.mtu > room) {
    const message = `${wiring.mtu} does not fit: the road leaves ${room} of underlay.mtu ${underlay.mtu}`;
    errors.push({ path: ['wiring', 'mtu'], message });
  }
  return network.ipv6 ? [...errors, ...checkIpv6Mtu(raw, room)] : errors;
}

function checkIpv6Mtu({ wiring }: RawSettings, room: number | undefined): Wrong[] {
  const errors: Wrong[] = [];
  if (wiring.mtu !== undefined && wiring.mtu < MIN_IPV6_MTU)
    errors.push({ path: ['wiring', 'mtu'], message: `IPv6 needs at least ${MIN_IPV6_MTU}` });
  if (room !== undefined && room < MIN_IPV6_MTU) {
    const message = `leaves ${room} bytes for pods, IPv6 needs ${MIN_IPV6_MTU}`;
    errors.push({ path: ['underlay', 'mtu'], message });
  }
  return errors;
}

function overheadAtLeast(road: RoadType): number {
  return road === 'auto' ? 0 : OVERHEAD[road][4];
}

/** run is emptied by a reboot; state, store and CNI files must not be. */
function checkPaths({ paths, store }: RawSettings): Wrong[] {
  const run = paths.run.replace(/\/+$/, '');
  const inside = (path: string): boolean => `${path}/`.startsWith(`${run}/`);
  const wrong = (path: Path): Wrong => ({ path, message: `must not be inside paths.run (${run})` });
  return [
    ...(inside(paths.state) ? [wrong(['paths', 'state'])] : []),
    ...(inside(store.path) ? [wrong(['store', 'path'])] : []),
  ];
}

function warnUnused(raw: RawSettings): Wrong[] {
  const { road, wiring, network } = raw;
  const warnings: Wrong[] = [];
  if (road.type !== 'vxlan' && road.vxlan.directRouting)
    warnings.push({
      path: ['road', 'vxlan', 'directRouting'],
      message: `has no effect with the road ${road.type}`,
    });
  if (wiring.type !== 'bridge' && wiring.bridge.hairpin === 'promiscuous-bridge')
    warnings.push({ path: ['wiring', 'bridge', 'hairpin'], message: 'has no effect without a bridge' });
  if (road.vxlan.learning)
    warnings.push({
      path: ['road', 'vxlan', 'learning'],
      message: 'lets peers overwrite each other’s addresses',
    });
  if (network.ipv4 === null && network.ipv6 === null)
    warnings.push({ path: ['network'], message: 'both families are switched off' });
  return warnings;
}

/** A pod that may use any address is another pod, or none, for every policy. */
function checkPolicy({ policy, wiring }: RawSettings): Wrong[] {
  if (!policy.enforce || wiring.dropSpoofed) return [];
  return [
    {
      path: ['wiring', 'dropSpoofed'],
      message: 'must be true where policy.enforce is: policies know pods by their addresses',
    },
  ];
}

function warnMasquerade({ masquerade }: RawSettings): Wrong[] {
  if (masquerade.enabled || masquerade.exclude.length === 0) return [];
  return [{ path: ['masquerade', 'exclude'], message: 'has no effect while masquerade is off' }];
}
