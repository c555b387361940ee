/** A peer as the tunnel's control knows it, and what control is handed. */
import type { Prefix } from '#net/prefix.ts';
import type { Counters } from './counters.ts';
import type { Endpoint, SocketFamily } from './endpoint.ts';
import type { Initiation, Secrets } from './handshakes.ts';
import type { ToReceiver, ToSender } from './mail.ts';
import type { CipherName } from './node-cipher.ts';
import type { PathMtu, PathMtuTimes } from './path-mtu.ts';
import type { PeerSessions, SessionTimes } from './sessions.ts';

export type TunnelPeer = {
  readonly name: string;
  /** Where it is as far as anybody knows; without one it has to begin. */
  readonly endpoint?: Endpoint;
  /** Inner addresses that it stands for: they are sent to it, and accepted from it alone. */
  readonly prefixes: readonly Prefix[];
  /** X25519, 32 bytes each, the newest first; only with a key per node. */
  readonly publicKeys?: readonly Uint8Array[];
};

export type Protection = { readonly cipher: CipherName; readonly secrets: Secrets };

export type ControlEvent =
  | { readonly event: 'session'; readonly peer: string; readonly initiator: boolean }
  | { readonly event: 'moved'; readonly peer: string; readonly to: Endpoint }
  | { readonly event: 'silent'; readonly peer: string }
  | { readonly event: 'mtu'; readonly peer: string; readonly mtu: number };

export type ControlOptions = {
  readonly node: string;
  /** Of the device: no path is asked to carry more. */
  readonly mtu: number;
  /** Undefined: plain. */
  readonly protection: Protection | undefined;
  readonly family: SocketFamily;
  readonly times: SessionTimes & PathMtuTimes;
  readonly counters: Counters;
  readonly now: () => number;
  /** 32 bits. */
  readonly random: () => number;
  readonly toSender: (mail: ToSender) => void;
  readonly toReceiver: (mail: ToReceiver) => void;
  readonly send: (message: Uint8Array, to: Uint8Array) => void;
  readonly log: (event: ControlEvent) => void;
};

/** What is known of a peer, and of the way to it. */
export type Link = {
  peer: TunnelPeer;
  readonly slot: number;
  /** Where it was configured to be, and where it is. */
  configured: Uint8Array | undefined;
  endpoint: Uint8Array | undefined;
  readonly sessions: PeerSessions;
  path: PathMtu | undefined;
  mtu: number;
  initiation: { readonly local: number; readonly made: Initiation } | undefined;
  /** What was last sent and received, and when. */
  sealed: number;
  received: number;
  sentAt: number;
  heardAt: number;
  silent: boolean;
};

export function same(a: Uint8Array | undefined, b: Uint8Array | undefined): boolean {
  return a === b || (a !== undefined && b !== undefined && Buffer.compare(a, b) === 0);
}
