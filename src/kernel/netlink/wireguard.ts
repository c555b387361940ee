/**
 * WireGuard devices over generic netlink (include/uapi/linux/wireguard.h). Private keys are written and never read: the
 * kernel tells them to root, and the answer's attribute is passed over.
 */
import type { WireguardPeerItem } from '#model/host.ts';
import { type Address, addressBytes, addressFamily, addressFromBytes } from '#net/address.ts';
import { type Prefix, prefixAddress, prefixFamily, prefixLength } from '#net/prefix.ts';
import { beginGeneric, genericAttributes } from './generic.ts';
import { Attributes, eachAttribute, type Message, type MessageWriter, NLM_F_DUMP } from './message.ts';

export const WG_GENL_NAME = 'wireguard';
const VERSION = 1;
const WG_CMD_GET_DEVICE = 0;
const WG_CMD_SET_DEVICE = 1;
const DEVICE = { name: 2, privateKey: 3, publicKey: 4, port: 6, peers: 8 } as const;
const PEER = { publicKey: 1, flags: 3, endpoint: 4, keepalive: 5, allowed: 9 } as const;
const ALLOWED = { family: 1, address: 2, length: 3 } as const;
const WGPEER_F_REMOVE_ME = 1;
const WGPEER_F_REPLACE_ALLOWEDIPS = 2;
/**
 * With it a peer says something at once when it is added or has a new key, so that the other side, which would go on
 * with the old session for 15 s, has a new one; and it keeps the way open through a NAT.
 */
const KEEPALIVE_SECONDS = 25;
const AF_INET = 2;
const AF_INET6 = 10;

export type WireguardDevice = {
  /** Base64, as `wg` writes keys. */
  readonly publicKey: string;
  readonly port: number;
};
type Peer = Omit<WireguardPeerItem, 'kind' | 'link'>;
/** One message of a dump; a peer with many prefixes goes on in the next. */
export type WireguardPiece = {
  readonly device: WireguardDevice | undefined;
  readonly peers: readonly Peer[];
};

function set(writer: MessageWriter, family: number, link: string): void {
  beginGeneric(writer, { family, command: WG_CMD_SET_DEVICE, version: VERSION, flags: 0 });
  writer.str(DEVICE.name, link);
}

/** The kernel derives the public key; sessions of another key end. */
export function putDevice(
  writer: MessageWriter,
  family: number,
  device: { link: string; port: number; privateKey: Uint8Array },
): void {
  set(writer, family, device.link);
  writer.data(DEVICE.privateKey, device.privateKey);
  writer.u16(DEVICE.port, device.port);
  writer.end();
}

/**
 * Adds or changes the peer. Prefixes that it had and shall not have cost a moment in which it has none: the kernel cannot
 * take away one. A prefix that another peer has moves to this one.
 */
export function putPeer(
  writer: MessageWriter,
  family: number,
  item: WireguardPeerItem,
  was?: WireguardPeerItem,
): void {
  const lost = (was?.allowed ?? []).some((prefix) => !item.allowed.includes(prefix));
  onePeer(writer, family, item, () => {
    if (lost) writer.u32(PEER.flags, WGPEER_F_REPLACE_ALLOWEDIPS);
    writer.u16(PEER.keepalive, KEEPALIVE_SECONDS);
    writer.data(PEER.endpoint, socketAddress(item.endpoint, item.port));
    writer.nest(PEER.allowed, () => {
      for (const prefix of item.allowed) putAllowed(writer, prefix);
    });
  });
}

export function removePeer(writer: MessageWriter, family: number, was: WireguardPeerItem): void {
  onePeer(writer, family, was, () => writer.u32(PEER.flags, WGPEER_F_REMOVE_ME));
}

// eslint-disable-next-line max-params
function onePeer(writer: MessageWriter, family: number, item: WireguardPeerItem, body: () => void): void {
  set(writer, family, item.link);
  writer.nest(DEVICE.peers, () =>
    writer.nest(0, () => {
      writer.data(PEER.publicKey, Buffer.from(item.publicKey, 'base64'));
      body();
    }),
  );
  writer.end();
}

function putAllowed(writer: MessageWriter, prefix: Prefix): void {
  writer.nest(0, () => {
    writer.u16(ALLOWED.family, prefixFamily(prefix) === 4 ? AF_INET : AF_INET6);
    writer.address(ALLOWED.address, prefixAddress(prefix));
    writer.u8(ALLOWED.length, prefixLength(prefix));
  });
}

/** struct sockaddr_in or sockaddr_in6. */
export function socketAddress(address: Address, port: number): Buffer {
  const four = addressFamily(address) === 4;
  const bytes = Buffer.alloc(four ? 16 : 28);
  bytes.writeUInt16LE(four ? AF_INET : AF_INET6, 0);
  bytes.writeUInt16BE(port, 2);
  bytes.set(addressBytes(address), four ? 4 : 8);
  return bytes;
}

export function askDevice(writer: MessageWriter, family: number, link: string): void {
  beginGeneric(writer, { family, command: WG_CMD_GET_DEVICE, version: VERSION, flags: NLM_F_DUMP });
  writer.str(DEVICE.name, link);
  writer.end();
}

export function readPiece(message: Message): WireguardPiece {
  const attributes = genericAttributes(message);
  const key = attributes.data(DEVICE.publicKey);
  const port = attributes.u16(DEVICE.port);
  const peers = attributes.data(DEVICE.peers);
  return {
    device: key === undefined && port === undefined ? undefined : { publicKey: base64(key), port: port ?? 0 },
    peers: peers === undefined ? [] : listOf(peers, readPeer),
  };
}

const base64 = (key: Buffer | undefined): string => Buffer.from(key ?? []).toString('base64');

function listOf<T>(bytes: Buffer, read: (attributes: Attributes) => T): T[] {
  const list: T[] = [];
  eachAttribute(bytes, 0, bytes.length, (_type, at, end) => list.push(read(new Attributes(bytes, at, end))));
  return list;
}

function readPeer(attributes: Attributes): Peer {
  const endpoint = attributes.data(PEER.endpoint);
  const allowed = attributes.data(PEER.allowed);
  return {
    publicKey: base64(attributes.data(PEER.publicKey)),
    ...readEndpoint(endpoint),
    allowed: allowed === undefined ? [] : listOf(allowed, readAllowed).sort(),
  };
}

function readEndpoint(bytes: Buffer | undefined): { endpoint: Address; port: number } {
  if (bytes === undefined) return { endpoint: addressFromBytes(new Uint8Array(4)), port: 0 };
  const four = bytes.readUInt16LE(0) === AF_INET;
  const raw = four ? bytes.subarray(4, 8) : bytes.subarray(8, 24);
  return { endpoint: addressFromBytes(raw), port: bytes.readUInt16BE(2) };
}

function readAllowed(attributes: Attributes): Prefix {
  const address = addressFromBytes(attributes.data(ALLOWED.address) ?? new Uint8Array(4));
  return `${address}/${attributes.u8(ALLOWED.length) ?? 0}` as Prefix;
}
