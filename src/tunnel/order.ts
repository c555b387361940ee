/**
 * What a tunnel's process is asked and answers, as JSON: a line for each request, one for its answer, and lines in between
 * for what happened. Keys are base64. The socket is root's alone, for orders hold private keys.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Secrets } from './handshakes.ts';
import { keyPairFrom, parseKey } from './keys.ts';
import type { CipherName } from './node-cipher.ts';
import type { TunnelEvent, TunnelOptions, TunnelPeer, TunnelStatus } from './tunnel.ts';

export type TextSecrets =
  | { readonly mode: 'keys'; readonly own: readonly string[] }
  | { readonly mode: 'password'; readonly keys: readonly string[] };

export type OrderedPeer = Omit<TunnelPeer, 'publicKeys'> & { readonly publicKeys: readonly string[] };

/** The whole of what a process is to carry, every time. The device is there already, and stays. */
export type Order = Pick<TunnelOptions, 'node' | 'device' | 'mtu' | 'port'> & {
  readonly cipher: CipherName | 'plain';
  /** Absent in plain mode. */
  readonly secrets?: TextSecrets;
  readonly peers: readonly OrderedPeer[];
};

export type Request =
  /** Answered when packets go; refused when they cannot, and then tried again until the next order. */
  | { readonly do: 'carry'; readonly order: Order }
  | { readonly do: 'look' }
  /** Leaves everything to a process that these words start, and ends. */
  | { readonly do: 'follow'; readonly program: readonly string[] }
  /** Ends. */
  | { readonly do: 'end' };

export type Look = {
  /** Which program the process runs. */
  readonly program: string;
  readonly pid: number;
  /** Undefined: nothing was ordered yet. */
  readonly order?: Omit<Order, 'secrets'>;
  /** Undefined while nothing is carried. */
  readonly status?: TunnelStatus;
};

export type Failed = { readonly code: string; readonly message: string };
export type Answer<T = unknown> =
  | { readonly id: number; readonly value: T }
  | { readonly id: number; readonly failed: Failed }
  | { readonly event: TunnelEvent };

function keyOf(text: string): Uint8Array {
  const key = parseKey(text);
  if (key === undefined) throw new TypeError('not a key of 32 bytes in base64');
  return key;
}

export function secretsOf(given: TextSecrets): Secrets {
  return given.mode === 'password'
    ? { mode: 'password', keys: given.keys.map(keyOf) }
    : { mode: 'keys', own: given.own.map((key) => keyPairFrom(keyOf(key))) };
}

export function peersOf({ peers }: Order): TunnelPeer[] {
  return peers.map((peer) => ({ ...peer, publicKeys: peer.publicKeys.map(keyOf) }));
}

/** Throws TypeError when a key is none, or a cipher has no secrets. */
export function optionsOf(order: Order): Omit<TunnelOptions, 'peers'> {
  const { node, device, mtu, port, cipher, secrets } = order;
  const ground = { node, device, mtu, port, deviceExists: true };
  if (cipher === 'plain') return { ...ground, protection: 'plain' };
  if (secrets === undefined) throw new TypeError(`${cipher} needs secrets`);
  return { ...ground, protection: { cipher, secrets: secretsOf(secrets) } };
}

/** Whether a tunnel that carries one can carry the other without being made anew. */
export function isSameGround(a: Order, b: Order): boolean {
  const ground = ({ node, device, mtu, port, cipher, secrets }: Order) => [
    node,
    device,
    mtu,
    port,
    cipher,
    secrets?.mode,
  ];
  return isDeepStrictEqual(ground(a), ground(b));
}
