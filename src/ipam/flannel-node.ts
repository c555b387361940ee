/**
 * What flannel keeps at Kubernetes nodes, as ours, both ways, so that a cluster moves from flannel to Tartan node by node
 * (flannel pkg/subnet/kube/annotations.go and kube.go; pkg/backend/vxlan and wireguard for the data):
 *
 *     flannel.alpha.coreos.com/kube-subnet-manager: "true"
 *     flannel.alpha.coreos.com/backend-type: vxlan
 *     flannel.alpha.coreos.com/backend-data: '{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}'
 *     flannel.alpha.coreos.com/public-ip: 192.168.64.3
 *
 * Roads that both have and that look the same on the wire: vxlan, host-gw, ipip and wireguard. Of VXLAN it has a device for
 * each family over that family alone, and we have one for both: of a node with both families, IPv4's pods are reached
 * until it is moved, and IPv6's say why they are not (docs/decisions/0001-one-vxlan-device.md).
 */
import type { Problem } from '#model/fault.ts';
import type { RoadName } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import { type Address, addressFamily, FAMILIES, type Family, parseAddress } from '#net/address.ts';
import { families, type PerFamily, perFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';
import { readFields, readVtep } from './flannel-lease.ts';

/** Unless flanneld was told another by --kube-annotation-prefix. */
export const FLANNEL_ANNOTATIONS = 'flannel.alpha.coreos.com';

const DATA = { 4: 'backend-data', 6: 'backend-v6-data' } as const;
const PUBLIC = { 4: 'public-ip', 6: 'public-ipv6' } as const;
const MANAGED = 'kube-subnet-manager';
const TYPE = 'backend-type';

/** With the families of pods that flannel carries by it. */
const SHARED: Readonly<Partial<Record<RoadName, readonly Family[]>>> = {
  vxlan: FAMILIES,
  'host-gw': FAMILIES,
  ipip: [4],
  wireguard: FAMILIES,
};

export type Annotations = Readonly<Record<string, string>>;

export type FlannelNodeOptions = {
  /** As flanneld's --kube-annotation-prefix. */
  readonly prefix?: string;
  /** What annotations do not tell: all nodes have the same. */
  readonly vxlanPort: number;
  /** Of the outer packets of tunnels from here. */
  readonly outer: Family;
};

export type AnnotatedNode = {
  readonly name: string;
  readonly annotations: Annotations;
  /** Of spec.podCIDRs. */
  readonly subnets: PerFamily<Prefix>;
};

/**
 * What flannel's nodes must know of this one; empty where its road is none of flannel's. In the words of flannel:
 * a family that cannot be reached has the data `null`.
 */
export function flannelAnnotations(advert: NodeAdvert, prefix?: string): Annotations {
  const { road, addresses, subnets } = advert;
  const carried = (SHARED[road] ?? []).filter((family) => subnets[family] !== undefined);
  const told = carried.filter((family) => addresses[family] !== undefined);
  if (told.length === 0) return {};
  const entries = told.flatMap((family): [string, string][] => [
    [DATA[family], JSON.stringify(dataOf(advert, family))],
    [PUBLIC[family], addresses[family] as string],
  ]);
  const full = Object.fromEntries([[MANAGED, 'true'], [TYPE, road], ...entries]);
  return prefixed(full, prefix);
}

/** Which of a node's annotations are of the kind that `flannelAnnotations` makes. */
export function isFlannelAnnotation(key: string, prefix?: string): boolean {
  const known = [MANAGED, TYPE, ...FAMILIES.flatMap((family) => [DATA[family], PUBLIC[family]])];
  return known.some((suffix) => key === `${keyPrefix(prefix)}${suffix}`);
}

/** What an operator has flannel announce in place of the node's own addresses (public-ip-overwrite). */
export function overwrittenAddresses(annotations: Annotations, prefix?: string): PerFamily<Address> {
  return perFamily((family) => {
    const address = parseAddress(annotations[`${keyPrefix(prefix)}${PUBLIC[family]}-overwrite`] ?? '');
    return address !== undefined && addressFamily(address) === family ? address : undefined;
  });
}

/** A node of flannel's as a peer, or all that is wrong with it; undefined where flannel does not run on it. */
export function readFlannelNode(
  node: AnnotatedNode,
  options: FlannelNodeOptions,
): NodeAdvert | Problem[] | undefined {
  const annotation = (suffix: string): string | undefined =>
    node.annotations[`${keyPrefix(options.prefix)}${suffix}`];
  if (annotation(MANAGED) !== 'true') return undefined;
  const problems: Problem[] = [];
  const say = (suffix: string, message: string): void => {
    problems.push({ path: `Node ${node.name} ${keyPrefix(options.prefix)}${suffix}`, message });
  };
  const road = annotation(TYPE) ?? '';
  if (!isShared(road)) say(TYPE, `is ${JSON.stringify(road)}; ${Object.keys(SHARED).join(', ')} are shared`);
  const addresses = readAddresses(annotation, say);
  const spoken = isShared(road) ? readData(road, { annotation, say, options }) : {};
  if (!isShared(road) || problems.length > 0) return problems;
  const subnets = perFamily((family) => (SHARED[road]?.includes(family) ? node.subnets[family] : undefined));
  // Its MTU is not told: this node's own counts then. It says of no road that it accepts it: it changes none.
  return { name: node.name, addresses, subnets, road, ...spoken, mtu: 65_535, ready: true };
}

type Say = (suffix: string, message: string) => void;
type Annotation = (suffix: string) => string | undefined;

/** At least one. */
function readAddresses(annotation: Annotation, say: Say): PerFamily<Address> {
  const given = perFamily((family) => annotation(PUBLIC[family]));
  if (families(given).length === 0) say(PUBLIC[4], 'is missing');
  return perFamily((family) => {
    const text = given[family];
    const address = parseAddress(text ?? '');
    if (address !== undefined && addressFamily(address) === family) return address;
    if (text !== undefined)
      say(PUBLIC[family], `must be an IPv${family} address, not ${JSON.stringify(text)}`);
    return undefined;
  });
}

type Reading = {
  readonly annotation: Annotation;
  readonly say: Say;
  readonly options: FlannelNodeOptions;
};

/** What the road needs to know of the peer. Its devices carry the family that is outside too. */
function readData(road: RoadName, reading: Reading): Partial<NodeAdvert> {
  if (road === 'vxlan') return readVxlan(reading);
  return road === 'wireguard' ? readWireguard(reading) : {};
}

function readVxlan({ annotation, say, options: { outer, vxlanPort } }: Reading): Partial<NodeAdvert> {
  const { vni, mac } = readVtep(readFields(annotation(DATA[outer]) ?? '')) ?? {};
  if (vni === undefined || mac === undefined) {
    say(DATA[outer], 'must be {"VNI": number, "VtepMAC": "MAC address"}');
    return {};
  }
  return { vxlan: { vni, port: vxlanPort, mac: outer === 4 ? { 4: mac } : { 6: mac } } };
}

function readWireguard({ annotation, say, options: { outer } }: Reading): Partial<NodeAdvert> {
  const { publickey, port } = readFields(annotation(DATA[outer]) ?? '') ?? {};
  if (typeof publickey === 'string' && typeof port === 'number')
    return { wireguard: { publicKey: publickey, port } };
  say(DATA[outer], 'must be {"PublicKey": "key in base64", "Port": number}');
  return {};
}

function isShared(road: string): road is RoadName {
  return Object.hasOwn(SHARED, road);
}

/** In Go's spelling. */
function dataOf({ vxlan, wireguard, addresses, road }: NodeAdvert, family: Family): unknown {
  if (road === 'wireguard' && wireguard !== undefined)
    return { PublicKey: wireguard.publicKey, Port: wireguard.port };
  const outer = addresses[4] === undefined ? 6 : 4;
  const mac = vxlan?.mac[family];
  if (road !== 'vxlan' || vxlan === undefined || mac === undefined || family !== outer) return null;
  return { VNI: vxlan.vni, VtepMAC: mac };
}

function prefixed(values: Annotations, prefix: string | undefined): Annotations {
  return Object.fromEntries(
    Object.entries(values).map(([key, value]) => [`${keyPrefix(prefix)}${key}`, value]),
  );
}

/** As flannel joins it: a domain gets a slash, a path below one a dash. */
function keyPrefix(prefix: string = FLANNEL_ANNOTATIONS): string {
  const rooted = prefix.includes('/') ? prefix : `${prefix}/`;
  return /[/-]$/.test(rooted) ? rooted : `${rooted}-`;
}
