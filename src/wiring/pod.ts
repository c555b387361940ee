/**
 * How a pod is connected: its veth pair, and what both ends need around it.
 *
 *   routed    pod  eth0 A/32 ─ default via 169.254.1.1 ─┐     host  ttX ─ A/32 dev ttX
 *             (no bridge; both sides hold permanent neighbours, so nothing is ever asked on the wire)
 *   bridge    pod  eth0 A/24 ─ default via the bridge ──┐     host  ttX ─ port of cbr0
 *   isolated  the same for the pod; the bridge answers for the other pods, and what comes in by it goes to ttX itself
 *   segment   the same with the cluster's range on the link: pods of all nodes are on one Ethernet
 *   chained   another plugin made the link: only host ports and bandwidth are ours
 *
 * Everything follows from the attachment, as the ledger keeps it, and a few settings: the plan of a living pod can be
 * made again at any time.
 */
import { fnv1a64 } from '#lib/hash.ts';
import type { Attachment, PodRoute } from '#model/attachment.ts';
import type { Item, NeighborItem, RouteItem, RuleItem } from '#model/host.ts';
import { MAIN_TABLE, METRIC, POD_GATEWAY, POD_GATEWAY_MAC, POD_RULE, PORT_RULE } from '#model/numbers.ts';
import type { HairpinMode } from '#model/settings.ts';
import { address, type Address, addressFamily, FAMILIES, type Family } from '#net/address.ts';
import { mac, type Mac } from '#net/mac.ts';
import type { PerFamily } from '#net/per-family.ts';
import {
  hostPrefix,
  type InterfaceAddress,
  interfaceAddress,
  nthAddress,
  prefix,
  type Prefix,
  prefixAddress,
  prefixFamily,
  prefixLength,
  prefixOf,
} from '#net/prefix.ts';
import { planBandwidth } from './bandwidth.ts';
import { planHostPorts } from './host-ports.ts';
import { hostMac } from './names.ts';

export type WiringContext = {
  readonly bridge: {
    readonly name: string;
    readonly hairpin: HairpinMode;
    /** Pods of the bridge reach each other by way of the host only, so that it can judge. */
    readonly isolated: boolean;
    /** The bridges of all nodes are one segment: nobody else has to be asked where a pod of this node is. */
    readonly segment?: boolean;
    /** There is a bridge, also when no new pods come to it: it answers for routed pods, which share its subnet. */
    readonly present: boolean;
  };
};

/** The two ends, for Kernel.createPair; the namespace's descriptor is added by who holds it. */
export type PairPlan = {
  readonly hostName: string;
  readonly hostMac: Mac;
  readonly podName: string;
  readonly podMac: Mac;
  readonly mtu: number;
};

/** `pair` is absent when the link is another plugin's. `host` and `container` are for the two namespaces. */
export type PodPlan = {
  readonly pair?: PairPlan;
  readonly host: readonly Item[];
  readonly container: readonly Item[];
};

const DEFAULT_ROUTE = { 4: prefix('0.0.0.0/0'), 6: prefix('::/0') } as const;
const GATEWAY_MAC = mac(POD_GATEWAY_MAC);
/** The metric that the kernel gives a route without one (IP6_RT_PRIO_USER for IPv6). */
const KERNEL_METRIC = { 4: 0, 6: 1024 } as const;

/** The interface by which a pod is known; every other is a second one, as Multus adds them. */
const FIRST = 'eth0';

/** A second interface of a pod has routes of its own, after those of the first: without that they would collide. */
function metricOf(ifname: string, family: Family): number {
  return ifname === FIRST ? KERNEL_METRIC[family] : 2000 + Number(fnv1a64(ifname) % 1000n);
}

/** Addresses with the length that the pod sees, and its next hops. On a bridge the node has the subnet's first address. */
export function shapeAddresses(
  wiring: 'routed' | 'bridge',
  addresses: readonly Address[],
  subnets: PerFamily<Prefix>,
): { addresses: InterfaceAddress[]; gateways: Address[] } {
  const families = FAMILIES.filter((family) => addresses.some((ip) => addressFamily(ip) === family));
  const bridgeSubnet = (family: Family): Prefix => {
    const subnet = subnets[family];
    if (subnet === undefined) throw new TypeError(`bridge wiring needs a subnet for IPv${family}`);
    return subnet;
  };
  const shaped = addresses.map((ip) =>
    wiring === 'routed'
      ? (hostPrefix(ip) as string as InterfaceAddress)
      : interfaceAddress(ip, prefixLength(bridgeSubnet(addressFamily(ip)))),
  );
  const gateways = families.map((family) =>
    wiring === 'routed' ? address(POD_GATEWAY[family]) : nthAddress(bridgeSubnet(family), 1n),
  );
  return { addresses: shaped, gateways };
}

export function planPod(attachment: Attachment, context: WiringContext): PodPlan {
  const { wiring } = attachment;
  const services = [...planHostPorts(attachment), ...planBandwidth(attachment)];
  if (wiring === 'loopback') return { host: [], container: planLoopback() };
  if (wiring === 'chained') return { host: services, container: [] };
  const pair = planPair(attachment, wiring);
  const ours = (wiring === 'routed' ? routedHost : bridgeHost)(attachment, pair, context);
  return {
    pair,
    host: [...ours, ...services],
    container: [...planLoopback(), ...planContainer(attachment, wiring)],
  };
}

/** A loopback interface that is up; the kernel then gives it 127.0.0.1/8 and ::1/128. */
export function planLoopback(): Item[] {
  return [{ kind: 'link', type: 'foreign', name: 'lo' }];
}

function planPair(attachment: Attachment, wiring: 'routed' | 'bridge'): PairPlan {
  return {
    hostName: attachment.hostLink,
    hostMac: hostMac(attachment, wiring),
    podName: attachment.ifname,
    podMac: attachment.mac,
    mtu: attachment.mtu,
  };
}

function routedHost(attachment: Attachment, pair: PairPlan, { bridge }: WiringContext): Item[] {
  const link = pair.hostName;
  return [
    { kind: 'link', type: 'veth', name: link, mac: pair.hostMac, mtu: pair.mtu },
    ...hostSysctls(attachment),
    ...attachment.addresses.map(prefixAddress).flatMap((ip): Item[] => [
      { kind: 'neighbor', link, address: ip, mac: pair.podMac },
      {
        kind: 'route',
        type: 'unicast',
        prefix: hostPrefix(ip),
        table: MAIN_TABLE,
        metric: METRIC.pod,
        link,
      },
      {
        kind: 'nft-element',
        set: addressFamily(ip) === 4 ? 'podsources4' : 'podsources6',
        key: [link, ip],
      },
      ...(bridge.present ? [{ kind: 'proxy', link: bridge.name, address: ip } as const] : []),
    ]),
  ];
}

/**
 * IPv6: a pod's router advertisements must not change the host, whatever the host's default. IPv4 host ports: a
 * connection to 127.0.0.1 leaves by this link with a loopback source until it is masqueraded.
 */
function hostSysctls(attachment: Attachment): Item[] {
  const link = attachment.hostLink;
  const six = attachment.addresses.some((ip) => prefixFamily(ip) === 6);
  const local = attachment.portMappings.some(
    ({ hostIp }) => hostIp === undefined || addressFamily(hostIp) === 4,
  );
  const sysctls: Item[] = [];
  if (six) sysctls.push({ kind: 'sysctl', key: `net/ipv6/conf/${link}/accept_ra`, value: '0' });
  if (local) sysctls.push({ kind: 'sysctl', key: `net/ipv4/conf/${link}/route_localnet`, value: '1' });
  return sysctls;
}

function bridgeHost(attachment: Attachment, pair: PairPlan, { bridge }: WiringContext): Item[] {
  const { hostName: name, hostMac, mtu } = pair;
  const { name: master, isolated, segment } = bridge;
  const hairpin = attachment.hairpin ?? bridge.hairpin === 'hairpin-veth';
  return [
    { kind: 'link', type: 'veth', name, mac: hostMac, mtu, master, hairpin, isolated },
    ...attachment.addresses.map((ip): Item => {
      const set = prefixFamily(ip) === 4 ? 'portsources4' : 'portsources6';
      return { kind: 'nft-element', set, key: [name, pair.podMac, prefixAddress(ip)] };
    }),
    ...(isolated ? attachment.addresses.flatMap((ip) => besideBridge(pair, prefixAddress(ip), master)) : []),
    ...(segment === true ? onSegment(attachment, pair, master) : []),
  ];
}

/** Questions for the pod are answered by the bridge, and frames to it never go around the nodes in search of it. */
function onSegment({ addresses }: Attachment, { hostName, podMac: mac }: PairPlan, bridge: string): Item[] {
  return [
    { kind: 'station', link: hostName, mac },
    ...addresses.map((ip): Item => ({
      kind: 'neighbor',
      link: bridge,
      address: prefixAddress(ip),
      mac,
    })),
  ];
}

/** The way from the bridge to the port for what is routed (PORT_RULE), and the bridge's answer to who asks for the address. */
function besideBridge({ hostName: link, podMac }: PairPlan, ip: Address, bridge: string): Item[] {
  const { table } = PORT_RULE;
  return [
    { kind: 'neighbor', link, address: ip, mac: podMac },
    { kind: 'proxy', link: bridge, address: ip },
    { kind: 'route', type: 'unicast', prefix: hostPrefix(ip), table, metric: METRIC.pod, link },
  ];
}

/** Docker-like runtimes make namespaces with IPv6 off; and an address must survive its link going down and up. */
function ipv6Sysctls(link: string): Item[] {
  const values = { disable_ipv6: '0', keep_addr_on_down: '1' };
  return Object.entries(values).map(([name, value]) => ({
    kind: 'sysctl',
    key: `net/ipv6/conf/${link}/${name}`,
    value,
  }));
}

function planContainer(attachment: Attachment, wiring: 'routed' | 'bridge'): Item[] {
  const { ifname: link, addresses, gateways } = attachment;
  const six = addresses.some((ip) => prefixFamily(ip) === 6);
  return [
    ...(six ? ipv6Sysctls(link) : []),
    { kind: 'link', type: 'foreign', name: link },
    ...addresses.map((ip): Item => {
      const item = { kind: 'address', link, address: ip } as const;
      return prefixFamily(ip) === 6 ? { ...item, nodad: true } : item;
    }),
    ...(wiring === 'routed' ? gateways.flatMap((gateway) => reachGateway(link, gateway)) : []),
    ...podRoutes(attachment).map((route) => containerRoute(route, attachment, wiring)),
    ...(link === FIRST ? [] : planOwnTable(attachment, wiring)),
  ];
}

/**
 * What comes from a second interface's addresses leaves by that interface, whatever the main table prefers: on any
 * other link it would be dropped as spoofed. The rules outlive the link; see `planRules`.
 */
function planOwnTable(attachment: Attachment, wiring: 'routed' | 'bridge'): Item[] {
  const { ifname: link, addresses } = attachment;
  const table = tableOf(link);
  const onLink =
    wiring === 'routed' ? [] : addresses.map((ip) => prefixOf(prefixAddress(ip), prefixLength(ip)));
  const routes = [
    ...onLink.map((each) => containerRoute({ prefix: each }, attachment, wiring)),
    ...podRoutes(attachment)
      .filter((route) => (route.table ?? MAIN_TABLE) === MAIN_TABLE)
      .map((route) => containerRoute(route, attachment, wiring)),
  ];
  return [...routes.map((route) => ({ ...route, table })), ...planRules(attachment)];
}

/** The rules of a second interface, in the pod's namespace: unlike all else there they have to be removed by DEL. */
export function planRules({ ifname, addresses, wiring }: Attachment): RuleItem[] {
  if (ifname === FIRST || (wiring !== 'routed' && wiring !== 'bridge')) return [];
  const table = tableOf(ifname);
  return addresses.map((ip) => ({
    kind: 'rule',
    from: hostPrefix(prefixAddress(ip)),
    table,
    priority: POD_RULE.priority,
  }));
}

function tableOf(ifname: string): number {
  return POD_RULE.table + Number(fnv1a64(ifname) & 0xffffn);
}

/** The next hop is on no prefix of the pod: a route makes it on-link and a neighbour answers for it. */
function reachGateway(link: string, gateway: Address): [NeighborItem, RouteItem] {
  const metric = metricOf(link, addressFamily(gateway));
  return [
    { kind: 'neighbor', link, address: gateway, mac: GATEWAY_MAC },
    { kind: 'route', type: 'unicast', prefix: hostPrefix(gateway), table: MAIN_TABLE, metric, link },
  ];
}

/** The attachment's routes, each with its next hop, and a default route for each family that has a gateway and none yet. */
export function podRoutes(attachment: Attachment): PodRoute[] {
  const { routes, gateways } = attachment;
  const gatewayOf = (family: Family): Address | undefined =>
    gateways.find((gateway) => addressFamily(gateway) === family);
  const defaults = FAMILIES.flatMap((family): PodRoute[] => {
    const via = gatewayOf(family);
    const whole = DEFAULT_ROUTE[family];
    const there = routes.some(
      (route) => route.prefix === whole && (route.table ?? MAIN_TABLE) === MAIN_TABLE,
    );
    return via === undefined || there ? [] : [{ prefix: whole, via }];
  });
  const filled = routes.map((route) => {
    const via = route.via ?? gatewayOf(prefixFamily(route.prefix));
    return via === undefined ? route : { ...route, via };
  });
  return [...defaults, ...filled];
}

function containerRoute(route: PodRoute, attachment: Attachment, wiring: 'routed' | 'bridge'): RouteItem {
  const { prefix, via, mtu, advmss, priority, table } = route;
  const foreignHop = wiring === 'routed' && via !== undefined && !attachment.gateways.includes(via);
  return {
    kind: 'route',
    type: 'unicast',
    prefix,
    table: table ?? MAIN_TABLE,
    metric: priority ?? metricOf(attachment.ifname, prefixFamily(prefix)),
    link: attachment.ifname,
    ...(via === undefined ? {} : { via }),
    ...(foreignHop ? { onlink: true } : {}),
    ...(mtu === undefined ? {} : { mtu }),
    ...(advmss === undefined ? {} : { advmss }),
  };
}
