/**
 * Pods that another provider attached, as attachments of ours. A pod is known by three things that must agree: what its IPAM
 * plugin noted (address and container), the namespace in which that address is, and the host's end of the link from there. What
 * agrees is taken over as it is; a note without a pod is told of, an address without a note is a problem, because it would be
 * given out again.
 */
import { given } from '#lib/given.ts';
import type { Attachment, AttachmentKey, PodRoute } from '#model/attachment.ts';
import type { Problem } from '#model/fault.ts';
import type {
  AdoptedPod,
  ProviderLink,
  ProviderNamespace,
  ProviderRoute,
  Reservation,
} from '#model/provider.ts';
import type { Address } from '#net/address.ts';
import { prefixAddress, prefixLength } from '#net/prefix.ts';

export type PodsScene = {
  /** Links of the host. */
  readonly links: readonly ProviderLink[];
  readonly namespaces: readonly ProviderNamespace[];
  readonly reservations: readonly Reservation[];
  /** What the ledger has. */
  readonly attachments: readonly Attachment[];
  /** Name of the CNI network that the runtime will name from now on. */
  readonly network: string;
  readonly bootId: string;
  readonly wiring: 'bridge' | 'routed';
  /** Of the other provider's pods: an address that somebody else gave is none of them. */
  readonly isPods: (address: Address) => boolean;
  /** What our host end of a pod's link is called. */
  readonly nameOf: (key: AttachmentKey) => string;
};

export type PodsPlan = {
  readonly adopted: readonly AdoptedPod[];
  /** Nothing may be taken over while these stand. */
  readonly problems: readonly Problem[];
  /** What is left behind, and why. */
  readonly notes: readonly Problem[];
};

/** A pod's end of a veth pair, and the host's. */
type Pair = {
  readonly pod: ProviderLink;
  readonly host: ProviderLink;
  readonly namespace: ProviderNamespace;
};

export function planPods(scene: PodsScene): PodsPlan {
  const pairs = findPairs(scene);
  const held = new Map(
    scene.attachments.flatMap((one) => one.addresses.map((ip) => [prefixAddress(ip), one] as const)),
  );
  const adopted: AdoptedPod[] = [];
  const notes: Problem[] = [];
  const noted = new Set(held.keys());
  for (const [owner, reservations] of byOwner(scene.reservations)) {
    for (const { address } of reservations) noted.add(address);
    const found = adoptOne(scene, reservations, { pairs, held });
    if (typeof found === 'string') notes.push({ path: owner, message: found });
    else if (found !== undefined) adopted.push(found);
  }
  const strangers = [...pairs].filter(
    ([address, { host }]) => !host.ours && !noted.has(address) && scene.isPods(address),
  );
  const problems = strangers.map(([address, { namespace, host }]) => ({
    path: address,
    message: `is a pod’s (${namespace.path}, link ${host.name}), but no IPAM plugin has noted whose: it would be given out again`,
  }));
  return { adopted, problems, notes };
}

function byOwner(reservations: readonly Reservation[]): Map<string, Reservation[]> {
  return Map.groupBy(reservations, ({ containerId, ifname }) => `${containerId}/${ifname}`);
}

/** By address, pairs of which one end is on the host and the other in a namespace, where indices are counted anew. */
function findPairs({ links, namespaces }: PodsScene): Map<Address, Pair> {
  const hosts = new Map(
    links.filter(({ type }) => type === 'veth').map((link) => [`${link.peerNetns} ${link.peer}`, link]),
  );
  const pairs = new Map<Address, Pair>();
  for (const namespace of namespaces)
    for (const pod of namespace.id === undefined ? [] : namespace.links) {
      const host = hosts.get(`${namespace.id} ${pod.index}`);
      if (host === undefined || host.index !== pod.peer) continue;
      for (const ip of pod.addresses) pairs.set(prefixAddress(ip), { pod, host, namespace });
    }
  return pairs;
}

type Known = {
  readonly pairs: ReadonlyMap<Address, Pair>;
  readonly held: ReadonlyMap<Address, Attachment>;
};

/** Undefined: it is ours by now. A text says why it cannot be. */
function adoptOne(
  scene: PodsScene,
  own: readonly Reservation[],
  known: Known,
): AdoptedPod | string | undefined {
  const [{ containerId, ifname }] = own as [Reservation];
  const key = { network: scene.network, containerId, ifname };
  const to = scene.nameOf(key);
  const holder = own.map(({ address }) => known.held.get(address)).find((one) => one !== undefined);
  if (holder !== undefined && holder.containerId !== containerId)
    return `${own.map(({ address }) => address).join(' ')} is another pod’s by now`;
  const pair = own.map(({ address }) => known.pairs.get(address)).find((one) => one !== undefined);
  if (pair === undefined)
    return holder === undefined ? 'no pod has its address: the note is left behind' : undefined;
  // The ledger has it before its link has our name.
  if (pair.host.ours) return undefined;
  const pod = own[0]?.pod;
  const attachment = holder ?? { ...attachmentOf(scene, key, { ...pair, to }), ...given('pod', pod) };
  return { attachment, link: { from: pair.host.name, to, ours: true } };
}

function attachmentOf(
  { bootId, wiring, isPods }: PodsScene,
  key: AttachmentKey,
  { pod, namespace, to }: Pair & { readonly to: string },
): Attachment {
  const addresses = pod.addresses.filter((ip) => isPods(prefixAddress(ip)));
  const routes = namespace.routes.filter(({ link }) => link === pod.name);
  return {
    ...key,
    phase: 'ready',
    netns: namespace.path,
    netnsInode: namespace.inode,
    bootId,
    // No request has this one: an ADD for a living container is refused, as it is for our own.
    configHash: 'adopted',
    adopted: true,
    wiring,
    hostLink: to,
    mac: pod.mac as NonNullable<ProviderLink['mac']>,
    mtu: pod.mtu,
    addresses,
    gateways: gatewaysOf(routes),
    routes: routes.flatMap(routeOf),
    portMappings: [],
  };
}

function gatewaysOf(routes: readonly ProviderRoute[]): Address[] {
  return routes.filter(isDefault).flatMap(({ via }) => via ?? []);
}

function isDefault({ prefix }: ProviderRoute): boolean {
  return prefixLength(prefix) === 0;
}

/** Those that the kernel makes of addresses, and the way to the next hop, follow from the wiring. */
function routeOf(route: ProviderRoute): PodRoute[] {
  const { prefix, via, mtu } = route;
  if (isDefault(route) || via === undefined) return [];
  return [{ prefix, via, ...(mtu === undefined ? {} : { mtu }) }];
}
