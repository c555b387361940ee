/**
 * By which of flannel's backends a node reaches the others, by what that backend leaves on it: each has a device of its own name
 * (flannel pkg/backend), and host-gw has routes alone. vxlan and host-gw look the same on our side of the wire; pods of
 * the others would be cut off between the first and the last node, so they are refused.
 */
import type { Problem } from '#model/fault.ts';
import type { ProviderLink, ProviderRoute } from '#model/provider.ts';
import type { RoadName, Settings } from '#model/settings.ts';
import { contains, type Prefix } from '#net/prefix.ts';
import { familyValues } from '#net/per-family.ts';

const RTPROT_BOOT = 3;

/** As flannel's net-conf.json calls it, and where it shows. */
export type FlannelBackend = { readonly name: string; readonly evidence: string };

type Scene = {
  readonly settings: Settings;
  readonly links: readonly ProviderLink[];
  readonly routes: readonly ProviderRoute[];
  /** Our VXLAN device, which may have been flannel's. */
  readonly deviceName: string;
};

const DEVICES: readonly (readonly [RegExp, string])[] = [
  [/^flannel(?:-v6)?\.\d+$/, 'vxlan'],
  [/^flannel\.ipip$/, 'ipip'],
  [/^flannel-wg(?:-v6)?$/, 'wireguard'],
  [/^flannel\d+$/, 'udp'],
];

/** Undefined: nothing tells, as on the only node of a cluster. */
export function findBackend({ settings, links, routes, deviceName }: Scene): FlannelBackend | undefined {
  const told = links.map(({ name }) => {
    const [, backend] =
      name === deviceName ? [undefined, 'vxlan'] : (DEVICES.find(([known]) => known.test(name)) ?? []);
    return backend === undefined ? undefined : { name: backend, evidence: name };
  });
  const device = told.find((each) => each !== undefined);
  if (device !== undefined) return device;
  const ranges = familyValues(settings.network.subnets).map(({ range }) => range);
  const route = routes.find((each) => leadsToNode(each, ranges));
  if (route === undefined) return undefined;
  return { name: 'host-gw', evidence: `the route ${route.prefix} via ${route.via} dev ${route.link}` };
}

/** flannel's routes do not say whose they are: RTPROT_BOOT, by way of another node. */
export function leadsToNode({ prefix, protocol, via }: ProviderRoute, ranges: readonly Prefix[]): boolean {
  return protocol === RTPROT_BOOT && via !== undefined && ranges.some((range) => contains(range, prefix));
}

const SHARED: ReadonlySet<string> = new Set<RoadName>(['vxlan', 'host-gw']);

/** Why nodes of both would not reach each other. */
export function backendProblems(scene: Scene): Problem[] {
  const { type } = scene.settings.road;
  const found = findBackend(scene);
  if (found !== undefined && !SHARED.has(found.name)) {
    const message = `is of flannel’s backend ${found.name}, and vxlan and host-gw are taken over: have flannel change to one of them first (Backend.Type in net-conf.json, then restart all flannelds)`;
    return [{ path: found.evidence, message }];
  }
  if (!SHARED.has(type))
    return [
      {
        path: 'road.type',
        message: `is ${type}: nodes of flannel are reached by vxlan and host-gw; change the road when all nodes are ours`,
      },
    ];
  if (found === undefined || found.name === type) return [];
  const message = `is ${type}, and flannel reaches the other nodes by ${found.name} (${found.evidence})`;
  return [{ path: 'road.type', message }];
}
