/** From a request to an attachment, and from an attachment to what both namespaces must hold. */
import type { Bench } from './attachments.ts';
import { hasSegment } from '#backends/ways.ts';
import { type AddRequest, configHash } from '#cni/request.ts';
import type { Attachment, AttachmentKey, PodRoute } from '#model/attachment.ts';
import type { CniResult, CniRoute } from '#model/cni-result.ts';
import { Fault } from '#model/fault.ts';
import type { Item } from '#model/host.ts';
import { MIN_IPV6_MTU } from '#model/numbers.ts';
import type { Settings } from '#model/settings.ts';
import { type Address, addressFamily } from '#net/address.ts';
import { type Mac, parseMac } from '#net/mac.ts';
import { mapFamilies } from '#net/per-family.ts';
import {
  type InterfaceAddress,
  interfaceAddress,
  type Prefix,
  prefixAddress,
  prefixFamily,
  prefixLength,
  prefixOf,
} from '#net/prefix.ts';
import { hostLinkName, podMac } from '#wiring/names.ts';
import { withRange } from '#wiring/segment.ts';
import { type PodPlan, planPod, shapeAddresses, type WiringContext } from '#wiring/pod.ts';

/** Addresses as they were allocated: with their subnet's length. */
export type Given = {
  readonly addresses: readonly InterfaceAddress[];
  readonly gateways: readonly Address[];
  /** The answer of another IPAM plugin. */
  readonly delegated?: CniResult;
};

/**
 * A chain may name us twice: to make the interface, and later for host ports or bandwidth. The second attachment has a
 * network name of its own, which no configuration can have.
 */
export function chainedKey(key: AttachmentKey): AttachmentKey {
  return { ...key, network: `${key.network}/chained` };
}

/** `legacyPods`: pods of the other wiring are here. */
export function contextOf(settings: Settings, legacyPods = false): WiringContext {
  const { wiring, policy } = settings;
  const present = wiring.type === 'bridge' || legacyPods;
  const segment = hasSegment({ settings, legacyPods });
  return { bridge: { ...wiring.bridge, isolated: policy.enforce, segment, present } };
}

export function newAttachment(
  bench: Bench,
  request: AddRequest,
  now: { given: Given; inode: number },
): Attachment {
  const { wish, key } = request;
  const wiring = wiringOf(bench.settings, request);
  refuseMasquerade(bench.settings, request);
  refusePromiscuous(bench.settings, request, wiring);
  const mtu = mtuOf(bench, request, now.given);
  return {
    ...(wiring === 'chained' ? chainedKey(key) : key),
    phase: 'planned',
    netns: request.netns,
    netnsInode: now.inode,
    bootId: bench.bootId,
    configHash: configHash(request.raw),
    wiring,
    ...linksOf(request, wiring),
    mtu,
    ...shape(bench, wiring, now.given),
    routes: [...routesOf(request), ...(now.given.delegated?.routes ?? []).map(podRoute)],
    portMappings: wish.portMappings,
    ...(wish.bandwidth === undefined ? {} : { bandwidth: wish.bandwidth }),
    ...hairpinOf(bench.settings, request, wiring),
    ...(request.pod === undefined ? {} : { pod: request.pod }),
    ...(wish.aliases.length === 0 ? {} : { aliases: wish.aliases }),
    ...(Object.keys(wish.labels).length === 0 ? {} : { labels: wish.labels }),
    ...(wish.ipam.type === 'delegate' ? { delegatedIpam: wish.ipam.plugin } : {}),
  };
}

function wiringOf(
  settings: Settings,
  request: AddRequest,
): Attachment['wiring'] & ('routed' | 'bridge' | 'chained') {
  if (request.prevResult !== undefined) return 'chained';
  const wiring = request.wish.wiring ?? settings.wiring.type;
  if (wiring === 'bridge' && settings.wiring.type !== 'bridge') {
    throw new Fault('cni-field', 'tartan.wiring: bridge is refused: this node has no bridge', {
      problems: [{ path: 'tartan.wiring', message: 'the node’s settings say wiring.type: routed' }],
    });
  }
  return wiring;
}

/**
 * Masquerading is the node's, one for all networks. A configuration that asks for it where the node does not do it is
 * refused; `ipMasq: false` only says that the plugin shall add none of its own, which it never does.
 */
function refuseMasquerade(settings: Settings, { wish }: AddRequest): void {
  if (wish.ipMasq !== true || settings.masquerade.enabled) return;
  throw new Fault('cni-field', 'ipMasq: true is refused: this node does not masquerade', {
    problems: [{ path: 'ipMasq', message: 'the node’s settings say masquerade.enabled: false' }],
  });
}

/** Whether the bridge is promiscuous is the node's to say, as it concerns all its pods. */
function refusePromiscuous(settings: Settings, { wish }: AddRequest, wiring: string): void {
  const promiscuous = wiring === 'bridge' && settings.wiring.bridge.hairpin === 'promiscuous-bridge';
  if (wish.promiscMode !== true || promiscuous) return;
  throw new Fault('cni-field', 'promiscMode: true is refused: this node has no promiscuous bridge', {
    problems: [{ path: 'promiscMode', message: 'wiring.bridge.hairpin: promiscuous-bridge makes it one' }],
  });
}

/** A routed pod reaches itself through the host in any case: only a bridge's port has the switch. */
function hairpinOf(settings: Settings, { wish }: AddRequest, wiring: string): Pick<Attachment, 'hairpin'> {
  if (wiring !== 'bridge' || wish.hairpinMode === undefined) return {};
  if (wish.hairpinMode && settings.wiring.bridge.hairpin === 'promiscuous-bridge') {
    throw new Fault('cni-field', 'hairpinMode: true is refused: the bridge is promiscuous', {
      problems: [{ path: 'hairpinMode', message: 'with both, every packet of a pod to itself comes twice' }],
    });
  }
  return { hairpin: wish.hairpinMode };
}

/** A chained plugin works on the host end that a predecessor made; the container end gives the MAC. */
function linksOf(request: AddRequest, wiring: string): { hostLink: string; mac: Mac } {
  const { prevResult, wish, key } = request;
  if (wiring !== 'chained' || prevResult === undefined) {
    return { hostLink: hostLinkName(key), mac: wish.mac ?? podMac(key) };
  }
  const inside = prevResult.interfaces.find((one) => (one.sandbox ?? '') !== '' && one.name === key.ifname);
  const outside = prevResult.interfaces.filter((one) => (one.sandbox ?? '') === '');
  const hostLink = outside.find((one) => one.name.startsWith('veth')) ?? outside.at(-1);
  return { hostLink: hostLink?.name ?? '', mac: parseMac(inside?.mac ?? '') ?? podMac(key) };
}

function mtuOf(bench: Bench, request: AddRequest, given: Given): number {
  const asked = request.wish.mtu ?? 0;
  const mtu = asked > 0 ? asked : (bench.cluster.podMtu() ?? 1500);
  if (mtu < MIN_IPV6_MTU && given.addresses.some((ip) => prefixFamily(ip) === 6)) {
    throw new Fault('cni-config', `an MTU of ${mtu} is too small for IPv6`, {
      problems: [{ path: 'mtu', message: `must be at least ${MIN_IPV6_MTU}` }],
    });
  }
  return mtu;
}

function shape(bench: Bench, wiring: string, given: Given): Pick<Attachment, 'addresses' | 'gateways'> {
  if (wiring === 'chained' || (wiring === 'bridge' && given.delegated !== undefined)) return given;
  if (wiring === 'bridge') return hasSegment(bench) ? onSegment(bench.settings, given) : given;
  return shapeAddresses('routed', given.addresses.map(prefixAddress), bench.cluster.self?.subnets ?? {});
}

function onSegment(
  { network }: Settings,
  { addresses, gateways }: Given,
): Pick<Attachment, 'addresses' | 'gateways'> {
  const ranges = mapFamilies(network.subnets, ({ range }) => range);
  return { addresses: addresses.map((ip) => withRange(ip, ranges)), gateways };
}

function ipPrefix(ip: InterfaceAddress): Prefix {
  return prefixOf(prefixAddress(ip), prefixLength(ip));
}

function routesOf(request: AddRequest): readonly PodRoute[] {
  return request.wish.ipam.type === 'own' ? request.wish.ipam.routes : [];
}

function podRoute({ dst, gw, ...rest }: CniRoute): PodRoute {
  const known = Object.entries({
    via: gw,
    mtu: rest.mtu,
    advmss: rest.advmss,
    priority: rest.priority,
    table: rest.table,
  });
  return { prefix: dst, ...Object.fromEntries(known.filter(([, value]) => value !== undefined)) };
}

/**
 * Bridge wiring: the bridge is the gateway of every subnet that its pods are in, also where the subnet is not the node's
 * own (ipRanges, another IPAM plugin). Where it is, node and pod claim the same item; of a segment's pods the node's own
 * claim is enough.
 */
export function planAttachment(attachment: Attachment, settings: Settings, legacyPods = false): PodPlan {
  const plan = planPod(attachment, contextOf(settings, legacyPods));
  if (attachment.wiring !== 'bridge') return plan;
  const link = settings.wiring.bridge.name;
  const gateways = attachment.gateways.flatMap((gateway): Item[] => {
    const family = addressFamily(gateway);
    const ip = attachment.addresses.find((one) => prefixFamily(one) === family);
    if (ip === undefined || ipPrefix(ip) === settings.network.subnets[family]?.range) return [];
    const address = interfaceAddress(gateway, prefixLength(ip));
    return [{ kind: 'address', link, address, ...(family === 6 ? { nodad: true } : {}) }];
  });
  return { ...plan, host: [...plan.host, ...gateways] };
}
