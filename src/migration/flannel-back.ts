/**
 * A node of ours given back to flannel while its pods go on: ./flannel.ts the other way round. Links lose our mark and the tunnel its
 * name; every pod is noted where flannel's plugins look when it goes, so that none of its addresses is given again or kept for
 * ever. What has no place with them stands against it. What is given back by now is not due again.
 */
import { given } from '#lib/given.ts';
import type { Attachment } from '#model/attachment.ts';
import type { Problem } from '#model/fault.ts';
import type { HandOver, ProviderLink, ProviderNamespace, Reservation } from '#model/provider.ts';
import { POD_LINK_PREFIX } from '#model/numbers.ts';
import type { Settings } from '#model/settings.ts';
import type { Address } from '#net/address.ts';
import { familyValues, type PerFamily } from '#net/per-family.ts';
import { contains, type Prefix, prefixAddress } from '#net/prefix.ts';

export type BackScene = {
  readonly settings: Settings;
  /** Of this node. */
  readonly subnets: PerFamily<Prefix>;
  /** What our VXLAN device is called. */
  readonly deviceName: string;
  readonly links: readonly ProviderLink[];
  readonly namespaces: readonly ProviderNamespace[];
  /** What the ledger has. */
  readonly attachments: readonly Attachment[];
  /** What host-local has noted for flannel's network. */
  readonly reservations: readonly Reservation[];
  readonly bootId: string;
  readonly daemon: number | undefined;
  /** Ours. */
  readonly isAgentAway: boolean;
};

export type GivenPod = { readonly attachment: Attachment; readonly link: HandOver };

export type BackPlan = {
  readonly device?: HandOver;
  readonly bridge?: HandOver;
  readonly pods: readonly GivenPod[];
  /** Noted addresses that no pod has any more: nobody would ever take the notes away. */
  readonly stale: readonly Address[];
  readonly problems: readonly Problem[];
  readonly notes: readonly Problem[];
};

export function planBack(scene: BackScene): BackPlan {
  const { settings, links, deviceName, attachments } = scene;
  const own = (name: string): ProviderLink | undefined =>
    links.find((link) => link.name === name && link.ours);
  const living = attachments.filter((one) => isAlive(scene, one));
  const handOver = (from: string, to: string): HandOver | undefined =>
    own(from) === undefined ? undefined : { from, to, ours: false };
  return {
    ...given('device', handOver(deviceName, `flannel.${settings.road.vxlan.vni}`)),
    ...given('bridge', handOver(settings.wiring.bridge.name, settings.wiring.bridge.name)),
    pods: living.map((attachment) => {
      const { hostLink } = attachment;
      return { attachment, link: { from: hostLink, to: strangeName(hostLink), ours: false } };
    }),
    stale: staleNotes(scene, living),
    problems: [...nodeProblems(scene), ...living.flatMap((one) => podProblems(scene, one))],
    notes: living.flatMap(podNotes),
  };
}

const NAME_LENGTH = 15;

/** What begins as ours do is ours. As the bridge plugin calls links. */
function strangeName(hostLink: string): string {
  return `veth${hostLink.slice(POD_LINK_PREFIX.length)}`.slice(0, NAME_LENGTH);
}

/** Something of ours is here that is not flannel's yet. */
export function isBackDue({ device, bridge, pods }: BackPlan): boolean {
  return device !== undefined || bridge !== undefined || pods.length > 0;
}

/** In the order in which it is done. */
export function describeBack({ device, bridge, pods, stale }: BackPlan): string[] {
  return [
    ...stale.map((address) => `forget ${address}, which no pod has`),
    ...pods.map(
      ({ attachment, link }) =>
        `note ${attachment.addresses.join(' ')} of ${attachment.containerId} for flannel’s plugins, and give back ${link.from}`,
    ),
    ...(bridge === undefined ? [] : [`give back the bridge ${bridge.to}`]),
    ...(device === undefined ? [] : [`give back ${device.from} as ${device.to}`]),
  ];
}

/** host-local's (plugins/ipam/host-local/backend/disk): the file is called by the address. */
export function noteText({ containerId, ifname }: Attachment): string {
  return `${containerId}\r\n${ifname}`;
}

/** What flannel's plugin keeps of an ADD for the DEL (flannel-io/cni-plugin saveScratchNetConf): for whom it stands in. */
export function delegateText(
  { settings, subnets }: Pick<BackScene, 'settings' | 'subnets'>,
  { network, dataDir }: { readonly network: string; readonly dataDir: string },
): string {
  const ranges = familyValues(subnets).map((subnet) => [{ subnet }]);
  const ipam = { type: 'host-local', dataDir, ranges };
  const { name: bridge } = settings.wiring.bridge;
  return JSON.stringify({ cniVersion: '0.3.1', name: network, type: 'bridge', bridge, ipMasq: false, ipam });
}

function isAlive({ bootId, namespaces }: BackScene, one: Attachment): boolean {
  const isHere = namespaces.some(({ inode }) => inode === one.netnsInode);
  return one.phase === 'ready' && one.bootId === bootId && isHere;
}

function staleNotes(
  { namespaces, reservations, subnets }: BackScene,
  living: readonly Attachment[],
): Address[] {
  const held = new Set([
    ...namespaces.flatMap(({ links }) => links.flatMap(({ addresses }) => addresses.map(prefixAddress))),
    ...living.flatMap(({ addresses }) => addresses.map(prefixAddress)),
  ]);
  const ours = familyValues(subnets);
  return reservations
    .map(({ address }) => address)
    .filter((address) => !held.has(address) && ours.some((subnet) => contains(subnet, address)));
}

function nodeProblems({ settings, daemon, isAgentAway }: BackScene): Problem[] {
  const problems: Problem[] = [];
  if (!isAgentAway)
    problems.push({
      path: 'tartan agent',
      message: 'runs on this node: stop it for good first; pods go on without it',
    });
  if (daemon !== undefined)
    problems.push({
      path: `flanneld (process ${daemon})`,
      message: 'runs on this node already: stop it until this is done',
    });
  const { type } = settings.road;
  if (type !== 'vxlan' && type !== 'host-gw')
    problems.push({
      path: 'road.type',
      message: `is ${type}: change it to flannel’s vxlan or host-gw first (tartan switch)`,
    });
  return problems;
}

function podProblems({ subnets }: BackScene, one: Attachment): Problem[] {
  const problem = (message: string): Problem[] => [{ path: `${one.containerId}/${one.ifname}`, message }];
  if (one.wiring !== 'bridge')
    return problem(`is wired ${one.wiring}, and flannel’s plugins know bridges only: delete the pod`);
  if (one.delegatedIpam !== undefined)
    return problem(`has its address from ${one.delegatedIpam}: delete the pod`);
  if (one.bandwidth !== undefined) return problem('is shaped by devices that go with Tartan: delete the pod');
  const own = familyValues(subnets);
  const strange = one.addresses.filter((ip) => !own.some((subnet) => contains(subnet, prefixAddress(ip))));
  return strange.length === 0
    ? []
    : problem(`has ${strange.join(' ')}, which is not of this node’s subnet: delete the pod`);
}

function podNotes({ containerId, portMappings }: Attachment): Problem[] {
  if (portMappings.length === 0) return [];
  const ports = portMappings.map(({ hostPort, protocol }) => `${hostPort}/${protocol}`).join(' ');
  return [
    {
      path: containerId,
      message: `its host ports (${ports}) end when Tartan is uninstalled: create the pod again`,
    },
  ];
}
