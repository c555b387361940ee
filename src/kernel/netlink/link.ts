/**
 * Links over rtnetlink (include/uapi/linux/if_link.h). A link of ours carries the alias, a pod's name pattern, or, for
 * the moment between its birth and its alias, a group of ours; nothing else is ever changed or deleted, except that
 * links named as `foreign` are configured.
 */
import { addressFamily } from '#net/address.ts';
import type {
  BridgeLink,
  IfbLink,
  LinkItem,
  TunLink,
  TunnelLink,
  VxlanLink,
  WireguardLink,
  XfrmLink,
} from '#model/host.ts';
import { LINK_ALIAS, REAPER_GROUP } from '#model/numbers.ts';
import type { VethPair } from '../kernel.ts';
import { type MessageWriter, NLM_F_CREATE, NLM_F_ECHO, NLM_F_EXCL } from './message.ts';
import type { LinkNames } from './names.ts';
import { putTunnel } from './tunnel.ts';

export const RTM_NEWLINK = 16;
export const RTM_DELLINK = 17;
export const RTM_GETLINK = 18;

export const IFLA = {
  address: 1,
  name: 3,
  mtu: 4,
  link: 5,
  master: 10,
  info: 18,
  alias: 20,
  spec: 26,
  group: 27,
  netnsFd: 28,
  extMask: 29,
  txQueues: 31,
  rxQueues: 32,
  linkNetns: 37,
} as const;
export const INFO = { kind: 1, data: 2, slaveKind: 4, slaveData: 5 } as const;
/** Flags of a bridge port: their names in the model, IFLA_BRPORT_ numbers. */
export const BRPORT = { hairpin: 4, notesSources: 8, answersNeighbors: 32, isolated: 33 } as const;
export const PORT_FLAGS = Object.keys(BRPORT) as (keyof typeof BRPORT)[];
export const VXLAN_ATTRIBUTE = {
  id: 1,
  link: 3,
  local: 4,
  learning: 7,
  port: 15,
  local6: 17,
  zeroChecksum6Receive: 20,
  gbp: 23,
} as const;
export const XFRM_IF_ID = 2;
export const IFF = { up: 0x1, loopback: 0x8, pointToPoint: 0x10, promiscuous: 0x100 } as const;
export const LINK_HEADER = 16;

const AF_INET6 = 10;
const IFLA_INET6_ADDR_GEN_MODE = 8;
const IN6_ADDR_GEN_MODE_NONE = 1;
const VETH_INFO_PEER = 1;
const RTEXT_FILTER_SKIP_STATS = 8;

/** Links that a step can create. */
export type MadeLink = VxlanLink | TunnelLink | WireguardLink | XfrmLink | TunLink | BridgeLink | IfbLink;

export function isMade(item: LinkItem): item is MadeLink {
  return item.type !== 'veth' && item.type !== 'foreign';
}

function header(writer: MessageWriter, flags = 0, change = 0): void {
  writer.put32(0);
  writer.put32(0);
  writer.put32(flags);
  writer.put32(change);
}

/** Creates the link, down, in the group of newborns. Refused (EEXIST) when the name is taken. */
export function createLink(writer: MessageWriter, item: MadeLink, names: LinkNames): void {
  writer.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL);
  header(writer);
  writer.str(IFLA.name, item.name);
  if (item.mtu !== undefined) writer.u32(IFLA.mtu, item.mtu);
  if (item.mac !== undefined) writer.mac(IFLA.address, item.mac);
  writer.u32(IFLA.group, REAPER_GROUP);
  writer.nest(IFLA.info, () => {
    writer.str(INFO.kind, item.type);
    putData(writer, item, names);
  });
  writer.end();
}

function putData(writer: MessageWriter, item: MadeLink, names: LinkNames): void {
  if (item.type === 'vxlan') putVxlan(writer, item, names.index(item.parent));
  else if (item.type === 'xfrm') writer.nest(INFO.data, () => writer.u32(XFRM_IF_ID, item.ifId));
  else if ('remote' in item) writer.nest(INFO.data, () => putTunnel(writer, item, names));
}

/** For IPv6 outer packets a zero UDP checksum is accepted (RFC 6935: a tunnel's peers may send it), never sent. */
function putVxlan(writer: MessageWriter, item: VxlanLink, parent: number): void {
  const ipv4 = addressFamily(item.local) === 4;
  writer.nest(INFO.data, () => {
    writer.u32(VXLAN_ATTRIBUTE.id, item.vni);
    writer.u32(VXLAN_ATTRIBUTE.link, parent);
    writer.address(ipv4 ? VXLAN_ATTRIBUTE.local : VXLAN_ATTRIBUTE.local6, item.local);
    writer.u16be(VXLAN_ATTRIBUTE.port, item.port);
    writer.u8(VXLAN_ATTRIBUTE.learning, item.learning ? 1 : 0);
    if (!ipv4) writer.u8(VXLAN_ATTRIBUTE.zeroChecksum6Receive, 1);
    if (item.gbp) writer.flag(VXLAN_ATTRIBUTE.gbp);
  });
}

/**
 * Brings an existing link into the wanted form and up, in several messages. What we made gets its alias and no IPv6
 * link-local address of the kernel's choosing, before it comes up. `was` spares changes that are none.
 */
export function setLink(writer: MessageWriter, item: LinkItem, names: LinkNames, was?: LinkItem): void {
  const master = item.master === undefined ? undefined : names.index(item.master);
  if (isMade(item)) markLink(writer, item);
  if (item.type === 'vxlan') setLearning(writer, item, was);
  writer.begin(RTM_NEWLINK, 0);
  bringUp(writer, item);
  writer.str(IFLA.name, item.name);
  putChanges(writer, item, was);
  if (master !== undefined) writer.u32(IFLA.master, master);
  else if (was?.master !== undefined && item.type !== 'foreign') writer.u32(IFLA.master, 0);
  writer.end();
  setPort(writer, item);
}

function putChanges(writer: MessageWriter, { mtu, mac }: LinkItem, was?: LinkItem): void {
  if (mtu !== undefined && mtu !== was?.mtu) writer.u32(IFLA.mtu, mtu);
  if (mac !== undefined && mac !== was?.mac) writer.mac(IFLA.address, mac);
}

function bringUp(writer: MessageWriter, { promiscuous, down }: LinkItem): void {
  if (down === true) header(writer, 0, IFF.up);
  else if (promiscuous === undefined) header(writer, IFF.up, IFF.up);
  else header(writer, IFF.up | (promiscuous ? IFF.promiscuous : 0), IFF.up | IFF.promiscuous);
}

function markLink(writer: MessageWriter, item: MadeLink): void {
  writer.begin(RTM_NEWLINK, 0);
  header(writer);
  writer.str(IFLA.name, item.name);
  writer.str(IFLA.alias, LINK_ALIAS);
  writer.u32(IFLA.group, 0);
  writer.end();
  // A bridge keeps its link-local address: neighbour solicitations of forwarded packets are sent from it (RFC 4861, 7.2.2).
  if (item.type === 'bridge') return;
  writer.begin(RTM_NEWLINK, 0);
  header(writer);
  writer.str(IFLA.name, item.name);
  writer.nest(IFLA.spec, () =>
    writer.nest(AF_INET6, () => writer.u8(IFLA_INET6_ADDR_GEN_MODE, IN6_ADDR_GEN_MODE_NONE)),
  );
  writer.end();
}

function setLearning(writer: MessageWriter, item: VxlanLink, was?: LinkItem): void {
  if (was?.type !== 'vxlan' || was.learning === item.learning) return;
  writer.begin(RTM_NEWLINK, 0);
  header(writer);
  writer.str(IFLA.name, item.name);
  writer.nest(IFLA.info, () => {
    writer.str(INFO.kind, item.type);
    writer.nest(INFO.data, () => writer.u8(VXLAN_ATTRIBUTE.learning, item.learning ? 1 : 0));
  });
  writer.end();
}

/** Flags of a bridge port; the kernel refuses them on a link that is none. */
function setPort(writer: MessageWriter, item: LinkItem): void {
  const flags = PORT_FLAGS.filter((flag) => item[flag] !== undefined);
  if (flags.length === 0) return;
  writer.begin(RTM_NEWLINK, 0);
  header(writer);
  writer.str(IFLA.name, item.name);
  writer.nest(IFLA.info, () => {
    writer.str(INFO.slaveKind, 'bridge');
    writer.nest(INFO.slaveData, () => {
      for (const flag of flags) writer.u8(BRPORT[flag], item[flag] === true ? 1 : 0);
    });
  });
  writer.end();
}

/** By index, so that a link that meanwhile took the name is not hit. */
export function deleteLink(writer: MessageWriter, index: number): void {
  writer.begin(RTM_DELLINK, 0);
  writer.put32(0);
  writer.put32(index);
  writer.put32(0);
  writer.put32(0);
  writer.end();
}

export function groupLink(writer: MessageWriter, index: number, group: number): void {
  writer.begin(RTM_NEWLINK, 0);
  writer.put32(0);
  writer.put32(index);
  writer.put32(0);
  writer.put32(0);
  writer.u32(IFLA.group, group);
  writer.end();
}

/** Deletes every link of the group, with one wait for the kernel's readers. */
export function deleteGroup(writer: MessageWriter, group: number): void {
  writer.begin(RTM_DELLINK, 0);
  header(writer);
  writer.u32(IFLA.group, group);
  writer.end();
}

/** The pair in one message; NLM_F_ECHO makes the kernel answer with the host end (Linux 6.2). */
export function createVeth(writer: MessageWriter, pair: VethPair): void {
  writer.begin(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL | NLM_F_ECHO);
  header(writer, IFF.up, IFF.up);
  writer.str(IFLA.name, pair.hostName);
  writer.u32(IFLA.mtu, pair.mtu);
  putOneQueue(writer);
  if (pair.hostMac !== undefined) writer.mac(IFLA.address, pair.hostMac);
  writer.nest(IFLA.info, () => {
    writer.str(INFO.kind, 'veth');
    writer.nest(INFO.data, () => writer.nest(VETH_INFO_PEER, () => putPeer(writer, pair)));
  });
  writer.end();
}

/**
 * Unasked, the kernel makes as many queues as the machine may have processors and then switches all but one of them off
 * (drivers/net/veth.c, veth_init_queues): with 128 that is eight times as much work as one, and their memory stays.
 */
function putOneQueue(writer: MessageWriter): void {
  writer.u32(IFLA.txQueues, 1);
  writer.u32(IFLA.rxQueues, 1);
}

function putPeer(writer: MessageWriter, pair: VethPair): void {
  header(writer);
  writer.str(IFLA.name, pair.podName);
  writer.u32(IFLA.mtu, pair.mtu);
  putOneQueue(writer);
  writer.mac(IFLA.address, pair.podMac);
  writer.u32(IFLA.netnsFd, pair.netns);
}

/** Asks for one link by name, or (with NLM_F_DUMP and no name) for all. */
export function askLinks(writer: MessageWriter, flags: number, name?: string): void {
  writer.begin(RTM_GETLINK, flags);
  header(writer);
  if (name !== undefined) writer.str(IFLA.name, name);
  writer.u32(IFLA.extMask, RTEXT_FILTER_SKIP_STATS);
  writer.end();
}
