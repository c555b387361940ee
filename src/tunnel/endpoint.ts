/**
 * Where datagrams go to and come from, as the socket wants it: struct sockaddr_in6 with IPv4 mapped (RFC 3493 section 3.7), or
 * struct sockaddr_in on a host without IPv6.
 */
import { type Address, addressBytes, addressFamily, addressFromBytes } from '#net/address.ts';

export type Endpoint = { readonly address: Address; readonly port: number };

export const AF_INET = 2;
export const AF_INET6 = 10;
/** Of a socket: AF_INET6 for both families, AF_INET for IPv4 alone. */
export type SocketFamily = typeof AF_INET | typeof AF_INET6;

const MAPPED = Buffer.from('00000000000000000000ffff', 'hex');

export function sockaddrSize(family: SocketFamily): number {
  return family === AF_INET6 ? 28 : 16;
}

/** Undefined for an IPv6 endpoint where there is no IPv6. */
export function encodeEndpoint({ address, port }: Endpoint, family: SocketFamily): Buffer | undefined {
  const bytes = Buffer.alloc(sockaddrSize(family));
  bytes.writeUInt16LE(family, 0);
  bytes.writeUInt16BE(port, 2);
  const raw = addressBytes(address);
  if (family === AF_INET) {
    if (raw.length !== 4) return undefined;
    bytes.set(raw, 4);
  } else bytes.set(raw.length === 4 ? Buffer.concat([MAPPED, raw]) : raw, 8);
  return bytes;
}

export function decodeEndpoint(bytes: Uint8Array): Endpoint {
  const view = Buffer.from(bytes);
  const port = view.readUInt16BE(2);
  if (view.readUInt16LE(0) === AF_INET) return { address: addressFromBytes(view.subarray(4, 8)), port };
  const raw = view.subarray(8, 24);
  const mapped = raw.subarray(0, 12).equals(MAPPED);
  return { address: addressFromBytes(mapped ? raw.subarray(12) : raw), port };
}

/** The outer family of an endpoint in either form. */
export function outerFamily(endpoint: Uint8Array): 4 | 6 {
  return addressFamily(decodeEndpoint(endpoint).address);
}

/** Equal for equal senders, whatever flow label they use. */
export function endpointKey(bytes: Uint8Array): string {
  const { address, port } = decodeEndpoint(bytes);
  return `${address} ${port}`;
}
