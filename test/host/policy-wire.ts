/**
 * First packets of flows, byte by byte, and a small cluster of namespaces to send them through: a node with three
 * routed pods, and `outside` with everything else. All sockets are this process's own, opened in the namespaces, so
 * that a flow costs microseconds.
 *
 *     pod0 pod1 pod2 ── node a (192.0.2.1, 2001:db8::1) ── outside (192.0.2.2, and all other addresses)
 */
import { closeSync } from 'node:fs';
import { inNetns, openNetns } from '#kernel/netns.ts';
import { bind, close, recvNow, sendto, socket } from '#kernel/sys.ts';
import type { Flow } from '#model/verdict.ts';
import { type Address, addressBytes, addressFamily } from '#net/address.ts';
import { makeForwarding, makeNamespace, type Namespace } from './namespace.ts';

const AF = { inet: 2, inet6: 10, packet: 17 } as const;
const SOCK = { dgram: 2, raw: 3 } as const;
const IPPROTO_RAW = 255;
const ETH_P_ALL = 3;
/** IP header, transport header, then the token. */
const HEADER = { 4: 20, 6: 40 } as const;

function onesComplement(parts: readonly Uint8Array[]): number {
  const bytes = Buffer.concat(parts);
  let sum = 0;
  for (let at = 0; at < bytes.length; at += 2) sum += ((bytes[at] ?? 0) << 8) | (bytes[at + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

/** CRC-32C (RFC 9260 appendix A). */
function crc32c(bytes: Uint8Array): number {
  let crc = 0xffff_ffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit += 1) crc = (crc >>> 1) ^ ((crc & 1) === 1 ? 0x82f6_3b78 : 0);
  }
  return ~crc >>> 0;
}

type Transport = (flow: Flow, token: Buffer, pseudo: (size: number) => Buffer) => Buffer;

const ports = ({ sourcePort = 0, destinationPort = 0 }: Flow): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt16BE(sourcePort);
  bytes.writeUInt16BE(destinationPort, 2);
  return bytes;
};

const TRANSPORTS: Readonly<Record<number, Transport>> = {
  /** SYN with data, as TCP Fast Open has it. */
  6: (flow, token, pseudo) => {
    const head = Buffer.from('00000001000000005002200000000000', 'hex');
    const segment = Buffer.concat([ports(flow), head, token]);
    segment.writeUInt16BE(onesComplement([pseudo(segment.length), segment]), 16);
    return segment;
  },
  17: (flow, token, pseudo) => {
    const head = Buffer.alloc(4);
    head.writeUInt16BE(8 + token.length);
    const datagram = Buffer.concat([ports(flow), head, token]);
    datagram.writeUInt16BE(onesComplement([pseudo(datagram.length), datagram]), 6);
    return datagram;
  },
  /** INIT: one chunk of 20 bytes whose last are the token. */
  132: (flow, token) => {
    const chunk = Buffer.concat([Buffer.from('01000014', 'hex'), Buffer.alloc(8, 1), token]);
    const packet = Buffer.concat([ports(flow), Buffer.alloc(8), chunk]);
    packet.writeUInt32LE(crc32c(packet), 8);
    return packet;
  },
  1: (flow, token) => icmp(flow, token, []),
  58: (flow, token, pseudo) => icmp(flow, token, [pseudo(8 + token.length)]),
  47: (_, token) => Buffer.concat([Buffer.from('00000800', 'hex'), token]),
};

function icmp({ icmp }: Flow, token: Buffer, pseudo: readonly Buffer[]): Buffer {
  const packet = Buffer.concat([Buffer.from([icmp?.type ?? 8, icmp?.code ?? 0, 0, 0, 0, 1, 0, 1]), token]);
  packet.writeUInt16BE(onesComplement([...pseudo, packet]), 2);
  return packet;
}

/** The packet that begins the flow; `token` (8 bytes) tells it from all others. */
export function firstPacket(flow: Flow, token: Buffer): Buffer {
  const { source, destination, protocol } = flow;
  const ends = Buffer.concat([addressBytes(source), addressBytes(destination)]);
  const six = addressFamily(source) === 6;
  const pseudo = (size: number): Buffer => {
    const tail = six ? Buffer.alloc(8) : Buffer.alloc(4);
    tail.writeUInt16BE(size, 2);
    tail[tail.length - 1] = protocol;
    if (!six) tail[1] = protocol;
    if (!six) tail[3] = size;
    return Buffer.concat([ends, tail]);
  };
  const body = TRANSPORTS[protocol]?.(flow, token, pseudo) ?? token;
  const head = six ? Buffer.from('6000000000000040', 'hex') : Buffer.from('450000000000400040000000', 'hex');
  if (six) {
    head.writeUInt16BE(body.length, 4);
    head[6] = protocol;
  } else {
    head.writeUInt16BE(20 + body.length, 2);
    head[9] = protocol;
  }
  // The kernel fills in the checksum of IPv4 headers.
  return Buffer.concat([head, ends, body]);
}

/** A namespace with a socket of each kind: to send whole packets and to see what arrives on eth0. */
export type Station = {
  readonly namespace: Namespace;
  send(packet: Buffer): void;
  /** All packets that have come since the last time, from their IP header on. */
  take(): Buffer[];
  close(): void;
};

/** Sockets of the namespace that take whole packets, from their IP header on. */
function openSender(netns: number): Pick<Station, 'send' | 'close'> {
  const [sender4, sender6] = inNetns(netns, () => [
    socket(AF.inet, SOCK.raw, IPPROTO_RAW),
    socket(AF.inet6, SOCK.raw, IPPROTO_RAW),
  ]) as [number, number];
  return {
    send(packet) {
      const six = (packet[0] ?? 0) >> 4 === 6;
      const to = Buffer.alloc(six ? 28 : 16);
      to.writeUInt16LE(six ? AF.inet6 : AF.inet);
      packet.copy(to, six ? 8 : 4, six ? 24 : 16, six ? 40 : 20);
      sendto(six ? sender6 : sender4, packet, packet.length, 0, to, to.length);
    },
    close() {
      close(sender4);
      close(sender6);
    },
  };
}

function takeAll(sockets: readonly number[]): Buffer[] {
  const packets: Buffer[] = [];
  const buffer = Buffer.alloc(4096);
  for (const each of sockets) {
    for (let size = recvNow(each, buffer); size >= 0; size = recvNow(each, buffer))
      packets.push(Buffer.from(buffer.subarray(0, size)));
  }
  return packets;
}

/**
 * The node itself: sends what its processes would, and takes what has been let in to them (of IPv6 without the header):
 * raw sockets come behind the input hook, whoever listens.
 */
export function openNode(namespace: Namespace): Station {
  const netns = openNetns(namespace.path);
  const sender = openSender(netns);
  const taps = inNetns(netns, () => [
    ...[1, 6, 17, 47, 132].map((protocol) => socket(AF.inet, SOCK.raw, protocol)),
    ...[6, 17, 47, 58, 132].map((protocol) => socket(AF.inet6, SOCK.raw, protocol)),
  ]);
  return {
    namespace,
    send: (packet) => sender.send(packet),
    take: () => takeAll(taps),
    close() {
      sender.close();
      for (const fd of taps) close(fd);
      closeSync(netns);
    },
  };
}

/** What leaves and arrives by a link of the namespace, as its kernel sees it. */
export function openStation(namespace: Namespace, link = 'eth0'): Station {
  const netns = openNetns(namespace.path);
  const ethPAll = Buffer.alloc(2);
  ethPAll.writeUInt16BE(ETH_P_ALL);
  const sender = openSender(netns);
  const tap = inNetns(netns, () => socket(AF.packet, SOCK.dgram, ethPAll.readUInt16LE(0)));
  const [{ ifindex } = { ifindex: 0 }] = namespace.list<{ ifindex: number }>(`link show dev ${link}`);
  const place = Buffer.alloc(20);
  place.writeUInt16LE(AF.packet);
  ethPAll.copy(place, 2);
  place.writeInt32LE(ifindex, 4);
  bind(tap, place, place.length);
  return {
    namespace,
    send: (packet) => sender.send(packet),
    take: () => takeAll([tap]),
    close() {
      sender.close();
      close(tap);
      closeSync(netns);
    },
  };
}

export type Wire = {
  readonly node: Namespace;
  readonly pods: readonly Station[];
  readonly outside: Station;
  remove(): void;
};

const PODS = 3;
const MAC = { host: 'ee:ee:ee:ee:ee:ee', outside: '02:00:00:00:01:02', node: '02:00:00:00:01:01' };

/** Pod n has 10.244.0.n+1 and fd00::n+1. Neighbours are permanent: no packet waits for an answer. */
export async function makeWire(label: string): Promise<Wire> {
  const node = makeNamespace(`${label}-node`);
  const outside = makeNamespace(`${label}-out`);
  const pods = Array.from({ length: PODS }, (_, index) => makeNamespace(`${label}-p${index}`));
  const all = [node, outside, ...pods];
  await makeForwarding(node);
  for (const each of [outside, ...pods]) {
    await each.must([
      'sysctl',
      '-qw',
      'net.ipv6.conf.default.accept_dad=0',
      'net.ipv6.conf.all.accept_dad=0',
    ]);
  }
  node.ip(
    `link add eth0 address ${MAC.node} type veth peer name eth0 address ${MAC.outside} netns ${outside.name}`,
  );
  for (const [each, at] of [
    [node, 1],
    [outside, 2],
  ] as const) {
    each.ip(`address add 192.0.2.${at}/24 dev eth0`);
    each.ip(`address add 2001:db8::${at}/64 dev eth0 nodad`);
    each.ip('link set eth0 up');
    const other = 3 - at;
    const mac = at === 1 ? MAC.outside : MAC.node;
    for (const gateway of [`192.0.2.${other}`, `2001:db8::${other}`]) {
      each.ip(`neighbor replace ${gateway} lladdr ${mac} dev eth0 nud permanent`);
      each.ip(`route add default via ${gateway} dev eth0`);
    }
  }
  for (const [index, pod] of pods.entries()) {
    const mac = `02:00:00:00:00:0${index + 1}`;
    const link = `tt${index}`;
    node.ip(`link add ${link} address ${MAC.host} type veth peer name eth0 address ${mac} netns ${pod.name}`);
    node.ip(`link set ${link} up`);
    pod.ip('link set eth0 up');
    for (const [own, gateway, length] of [
      [`10.244.0.${index + 1}`, '169.254.1.1', 32],
      [`fd00::${index + 1}`, 'fe80::1', 128],
    ] as const) {
      pod.ip(`address add ${own}/${length} dev eth0`);
      pod.ip(`neighbor replace ${gateway} lladdr ${MAC.host} dev eth0 nud permanent`);
      pod.ip(`route add default via ${gateway} dev eth0 onlink`);
      node.ip(`route add ${own}/${length} dev ${link}`);
      node.ip(`neighbor replace ${own} lladdr ${mac} dev ${link} nud permanent`);
    }
  }
  const stations = [outside, ...pods].map((each) => openStation(each));
  const [first, ...rest] = stations as [Station, ...Station[]];
  return {
    node,
    outside: first,
    pods: rest,
    remove() {
      for (const station of stations) station.close();
      for (const each of all) each.remove();
    },
  };
}

/** Where packets from or to the address go: a pod, the node itself, or outside. */
export function stationOf(wire: Wire, address: Address): Station | 'node' {
  if (address === '192.0.2.1' || address === '2001:db8::1') return 'node';
  const match = /^(?:10\.244\.0\.|fd00::)([1-9])$/.exec(address);
  return wire.pods[Number(match?.[1] ?? 0) - 1] ?? wire.outside;
}

/** Whether the packet carries the token. */
export function carries(packet: Buffer, token: Buffer): boolean {
  return packet.includes(token, HEADER[(packet[0] ?? 0) >> 4 === 6 ? 6 : 4]);
}
