/**
 * What a node of flannel's has, as ours. It keeps all that others know it by: its subnet, the MAC of its tunnel, its pods'
 * links and addresses. Names and marks change, and nothing that packets go by. What is ours by now is not due again, so a
 * take-over that was cut short goes on where it was.
 */
import { given } from '#lib/given.ts';
import type { Problem } from '#model/fault.ts';
import type { AdoptedPod, HandOver, ProviderLink, ProviderRoute } from '#model/provider.ts';
import type { Settings } from '#model/settings.ts';
import { type Family, FAMILIES } from '#net/address.ts';
import type { Mac } from '#net/mac.ts';
import { families, type PerFamily, perFamily } from '#net/per-family.ts';
import {
  contains,
  parseInterfaceAddress,
  parsePrefix,
  type Prefix,
  prefixAddress,
  prefixLength,
  prefixOf,
} from '#net/prefix.ts';
import { backendProblems, leadsToNode } from './flannel-backend.ts';
import type { PodsPlan } from './pods.ts';

/** flannel pkg/subnet/subnet.go WriteSubnetFile. */
export type SubnetFile = {
  readonly networks: PerFamily<Prefix>;
  readonly subnets: PerFamily<Prefix>;
  readonly mtu: number | undefined;
  readonly masquerade: boolean;
};

export type FlannelScene = {
  readonly settings: Settings;
  /** What our VXLAN device is called. */
  readonly deviceName: string;
  readonly subnetFile: SubnetFile | undefined;
  readonly links: readonly ProviderLink[];
  /** That are not ours. */
  readonly routes: readonly ProviderRoute[];
  /** Process id of a flanneld in this network namespace. */
  readonly daemon: number | undefined;
  readonly pods: PodsPlan;
};

/** A link that keeps the MAC by which others know it. */
export type LinkPlan = HandOver & { readonly mac: Mac };

export type FlannelPlan = {
  /** Absent: flannel never was here. */
  readonly subnets: PerFamily<Prefix>;
  readonly device?: LinkPlan;
  readonly bridge?: LinkPlan;
  readonly pods: readonly AdoptedPod[];
  readonly problems: readonly Problem[];
  readonly notes: readonly Problem[];
};

/** Undefined for what is no such file. */
export function readSubnetFile(text: string): SubnetFile | undefined {
  const values = new Map(
    text.split('\n').flatMap((line): [string, string][] => {
      const at = line.indexOf('=');
      return at < 0 ? [] : [[line.slice(0, at).trim(), line.slice(at + 1).trim()]];
    }),
  );
  const subnets = perFamily((family) => {
    const own = parseInterfaceAddress(
      values.get(family === 4 ? 'FLANNEL_SUBNET' : 'FLANNEL_IPV6_SUBNET') ?? '',
    );
    return own === undefined ? undefined : prefixOf(prefixAddress(own), prefixLength(own));
  });
  if (families(subnets).length === 0) return undefined;
  const networks = perFamily((family) =>
    parsePrefix(values.get(family === 4 ? 'FLANNEL_NETWORK' : 'FLANNEL_IPV6_NETWORK') ?? ''),
  );
  const mtu = Number(values.get('FLANNEL_MTU'));
  return {
    networks,
    subnets,
    mtu: mtu > 0 ? mtu : undefined,
    masquerade: values.get('FLANNEL_IPMASQ') === 'true',
  };
}

export function planFlannel(scene: FlannelScene): FlannelPlan {
  const { subnetFile, pods } = scene;
  const found = findDevice(scene);
  const bridge = findBridge(scene);
  return {
    subnets: subnetFile?.subnets ?? {},
    ...given('device', handOver(found, scene.deviceName)),
    ...given('bridge', handOver(bridge, bridge?.name)),
    pods: pods.adopted,
    problems: [...problemsOf(scene, found), ...pods.problems],
    notes: pods.notes,
  };
}

/** Something of flannel's is here that is not ours yet. */
export function isDue({ device, bridge, pods }: FlannelPlan): boolean {
  return device !== undefined || bridge !== undefined || pods.length > 0;
}

/** In the order in which it is done. */
export function describeFlannel({ subnets, device, bridge, pods }: FlannelPlan): string[] {
  return [
    ...families(subnets).map((family) => `keep the subnet ${subnets[family]}, and claim it in the store`),
    ...pods.map(
      ({ attachment, link }) =>
        `adopt ${attachment.addresses.join(' ')} of ${attachment.containerId}: ${link.from} becomes ${link.to}`,
    ),
    ...(bridge === undefined ? [] : [`adopt the bridge ${bridge.to}`]),
    ...(device === undefined ? [] : [`adopt ${device.from} with its MAC ${device.mac} as ${device.to}`]),
  ];
}

/** Undefined: there is none, or it is ours by now. */
function handOver(link: ProviderLink | undefined, to: string | undefined): LinkPlan | undefined {
  if (link === undefined || to === undefined || link.ours || link.mac === undefined) return undefined;
  return { from: link.name, to, ours: true, mac: link.mac };
}

/** flannel's device, also once it is ours. */
function findDevice({ settings, links, deviceName }: FlannelScene): ProviderLink | undefined {
  if (settings.road.type !== 'vxlan') return undefined;
  const before = `flannel.${settings.road.vxlan.vni}`;
  return links.find(({ name, type }) => type === 'vxlan' && (name === deviceName || name === before));
}

/** A bridge of this name is taken over with pods on it, or with the node's own address: the CNI plugin made it. */
function findBridge({ settings, links }: FlannelScene): ProviderLink | undefined {
  return links.find(({ name, type }) => type === 'bridge' && name === settings.wiring.bridge.name);
}

function problemsOf(scene: FlannelScene, device: ProviderLink | undefined): Problem[] {
  return [
    ...daemonProblems(scene),
    ...backendProblems(scene),
    ...deviceProblems(scene, device),
    ...subnetProblems(scene),
    ...bridgeProblems(scene),
  ];
}

function daemonProblems({ daemon }: FlannelScene): Problem[] {
  if (daemon === undefined) return [];
  const message = 'runs on this node: stop it for good first; pods go on without it';
  return [{ path: `flanneld (process ${daemon})`, message }];
}

function deviceProblems({ settings, links }: FlannelScene, device: ProviderLink | undefined): Problem[] {
  const problems: Problem[] = [];
  const { type, vxlan } = settings.road;
  for (const { name } of links.filter((link) => link.name.startsWith('flannel-v6.')))
    problems.push({
      path: name,
      message:
        'flannel carries IPv6 by a device of its own over IPv6, and one device carries both here: take the node out and in again',
    });
  const others = links.filter(
    (link) => !link.ours && link.type === 'vxlan' && link.name.startsWith('flannel.') && link !== device,
  );
  for (const { name } of type === 'vxlan' ? others : [])
    problems.push({ path: name, message: 'has another VNI than the settings say (road.vxlan.vni)' });
  const port = device?.vxlan?.port;
  if (port !== undefined && port !== vxlan.port)
    problems.push({ path: 'road.vxlan.port', message: `is ${vxlan.port}, and ${device?.name} has ${port}` });
  return problems;
}

function subnetProblems({ settings, subnetFile, links }: FlannelScene): Problem[] {
  if (subnetFile === undefined) {
    const left = links.filter(({ name, ours }) => !ours && name.startsWith('flannel.'));
    const message = 'is not there or says nothing, and tells which subnet this node has';
    return left.length === 0 ? [] : [{ path: 'migration.flannel.subnetFile', message }];
  }
  return FAMILIES.flatMap((family) => familyProblems(settings, subnetFile, family));
}

function familyProblems({ network }: Settings, { subnets, networks }: SubnetFile, family: Family): Problem[] {
  const path = `network.ipv${family}.range`;
  const range = network.subnets[family]?.range;
  const subnet = subnets[family];
  if (range === undefined)
    return subnet === undefined ? [] : [{ path, message: `is not set, and this node has ${subnet}` }];
  if (networks[family] !== undefined && networks[family] !== range)
    return [{ path, message: `is ${range}, and flannel’s is ${networks[family]}` }];
  if (subnet === undefined || contains(range, subnet)) return [];
  return [{ path, message: `is ${range}, which does not hold this node’s ${subnet}` }];
}

/** Pods of another bridge would be on none of ours. */
function bridgeProblems({ settings, links, pods }: FlannelScene): Problem[] {
  const { name } = settings.wiring.bridge;
  const masters = pods.adopted.map(({ link }) => links.find((one) => one.name === link.from)?.master);
  return [...new Set(masters)]
    .filter((master) => master !== name)
    .map((master) => ({
      path: 'wiring.bridge.name',
      message: `is ${name}, and pods are on ${master ?? 'no bridge'}`,
    }));
}

/** Routes by which flannel reached the other nodes, where another one leads there that is ours. */
export function findLeftRoutes(
  routes: readonly ProviderRoute[],
  { ranges, covered }: { ranges: readonly Prefix[]; covered: (prefix: Prefix) => boolean },
): ProviderRoute[] {
  return routes.filter((route) => leadsToNode(route, ranges) && covered(route.prefix));
}
