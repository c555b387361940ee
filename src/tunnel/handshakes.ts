/**
 * The messages that make a session of two nodes' secrets: Noise's, between a header and a MAC that only those can make who
 * know whom they are writing to (WireGuard's mac1), so that noise from the network costs one hash.
 *
 *   initiation   type 1 u32 · sender u32                  · Noise 1 (who I am, whom I mean)    · mac 16
 *   response     type 2 u32 · sender u32 · receiver u32   · Noise 2 (sender once more)         · mac 16
 *
 * An initiation that somebody recorded and sends again makes one session that nobody can use, and one answer smaller than
 * itself: no clock is compared, and none that jumps shuts a node out. Several secrets at once are how they rotate.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { TYPE } from './frame.ts';
import { encodeKey, type KeyPair } from './keys.ts';
import type { CipherName } from './node-cipher.ts';
import { NoiseHandshake, type TransportKeys } from './noise.ts';

/** The newest first: a node begins with its newest, and answers to all. */
export type Secrets =
  | { readonly mode: 'keys'; readonly own: readonly KeyPair[] }
  | { readonly mode: 'password'; readonly keys: readonly Uint8Array[] };

export type Identity = { readonly name: string; readonly publicKeys: readonly Uint8Array[] };

/** What a session was made with, as names that are no secrets: it ends when one of them is withdrawn. */
export type MadeWith = { readonly own: string; readonly remote: string };

export type Established = {
  readonly peer: string;
  readonly local: number;
  readonly remote: number;
  readonly keys: TransportKeys;
  readonly madeWith: MadeWith;
};

export type Initiation = {
  readonly message: Buffer;
  /** The session, once its answer came; undefined when the answer is not authentic. */
  readonly finish: (response: Uint8Array) => Established | undefined;
};

const MAC_BYTES = 16;
const PROLOGUE = Buffer.from('tartan tunnel 1');
const PSK_NONE = Buffer.alloc(32);
const INITIATION_HEADER = 8;
const RESPONSE_HEADER = 12;
/** Two names of at most 253 bytes, and the rest of a message. */
const LONGEST = 800;

const nameOfSecret = (secret: Uint8Array): string =>
  createHash('sha256').update('name').update(secret).digest('base64');

function namesOf(secrets: Secrets): string[] {
  return secrets.mode === 'password'
    ? secrets.keys.map(nameOfSecret)
    : secrets.own.map(({ publicKey }) => encodeKey(publicKey));
}

function macOf(secret: Uint8Array, message: Uint8Array): Buffer {
  const key = createHash('sha256').update('tartan mac1').update(secret).digest();
  return createHmac('sha256', key).update(message).digest().subarray(0, MAC_BYTES);
}

const isFor = (secret: Uint8Array, message: Uint8Array): boolean =>
  timingSafeEqual(macOf(secret, message.subarray(0, -MAC_BYTES)), message.subarray(-MAC_BYTES));

const withMac = (secret: Uint8Array, ...parts: readonly Uint8Array[]): Buffer => {
  const message = Buffer.concat(parts);
  return Buffer.concat([message, macOf(secret, message)]);
};

/** The receiver's number in a response: whose initiation it answers. */
export function receiverOf(response: Uint8Array): number {
  return response.length < RESPONSE_HEADER ? -1 : Buffer.from(response).readUInt32LE(8);
}

type Side = {
  readonly noise: NoiseHandshake;
  /** What the MAC of a message to me, and to the other, is keyed by. */
  readonly own: Uint8Array;
};

export class Handshakes {
  readonly #node: string;
  readonly #cipher: CipherName;
  readonly #peers = new Map<string, Identity>();
  /** Of the peers' public keys, and of what this node has itself. */
  readonly #names = new Map<string, readonly string[]>();
  #own: readonly string[];
  #secrets: Secrets;

  constructor(node: string, cipher: CipherName, secrets: Secrets) {
    this.#node = node;
    this.#cipher = cipher;
    this.#secrets = secrets;
    this.#own = namesOf(secrets);
  }
  set secrets(secrets: Secrets) {
    this.#secrets = secrets;
    this.#own = namesOf(secrets);
  }
  setPeers(peers: readonly Identity[]): void {
    this.#peers.clear();
    this.#names.clear();
    for (const peer of peers) {
      this.#peers.set(peer.name, peer);
      this.#names.set(peer.name, peer.publicKeys.map(encodeKey));
    }
  }
  /** Whether a session with this peer may go on. */
  isValid(peer: string, { own, remote }: MadeWith): boolean {
    const theirs = this.#names.get(peer);
    if (theirs === undefined || !this.#own.includes(own)) return false;
    return this.#secrets.mode === 'password' || theirs.includes(remote);
  }
  /** Whether it was made with the newest secrets of both sides. */
  isNewest(peer: string, { own, remote }: MadeWith): boolean {
    return (
      own === this.#own[0] && (this.#secrets.mode === 'password' || remote === this.#names.get(peer)?.[0])
    );
  }
  /** The first message to this peer. Try after try goes through all secrets. Undefined when none are known. */
  initiate(peerName: string, local: number, attempt: number): Initiation | undefined {
    const peer = this.#peers.get(peerName);
    const header = Buffer.alloc(INITIATION_HEADER);
    header.writeUInt32LE(TYPE.initiation, 0);
    header.writeUInt32LE(local, 4);
    const chosen = peer === undefined ? undefined : this.#choose(peer, attempt, header);
    if (chosen === undefined) return undefined;
    const { noise, to, own, madeWith } = chosen;
    const payload = Buffer.from(`${this.#node}\0${peerName}`);
    return {
      message: withMac(to, header, noise.write(payload)),
      finish: (response) =>
        quietly(() => {
          if (!isFor(own, response)) return undefined;
          const remote = readResponse(noise, response);
          return remote === undefined
            ? undefined
            : { peer: peerName, local, remote, keys: noise.split(), madeWith };
        }),
    };
  }
  #choose(peer: Identity, attempt: number, header: Uint8Array) {
    const secrets = this.#secrets;
    const common = {
      cipher: this.#cipher,
      initiator: true,
      prologue: Buffer.concat([PROLOGUE, header]),
    };
    if (secrets.mode === 'password') {
      const key = secrets.keys[attempt % secrets.keys.length];
      if (key === undefined) return undefined;
      const name = nameOfSecret(key);
      const noise = new NoiseHandshake({ ...common, pattern: 'NNpsk0', psk: key });
      return { noise, to: key, own: key, madeWith: { own: name, remote: name } };
    }
    const pair = secrets.own[attempt % secrets.own.length];
    const round = Math.floor(attempt / secrets.own.length);
    const remote = peer.publicKeys[round % peer.publicKeys.length];
    if (pair === undefined || remote === undefined) return undefined;
    const noise = new NoiseHandshake({
      ...common,
      pattern: 'IKpsk2',
      psk: PSK_NONE,
      static: pair,
      remoteStatic: remote,
    });
    const madeWith = { own: encodeKey(pair.publicKey), remote: encodeKey(remote) };
    return { noise, to: remote, own: pair.publicKey, madeWith };
  }
  /** Whether an initiation was made for this node by somebody who knows it; costs a hash for each secret. */
  isForMe(message: Uint8Array): boolean {
    if (message.length < INITIATION_HEADER + MAC_BYTES || message.length > LONGEST) return false;
    return this.#addressed(message) >= 0;
  }
  #macSecrets(): readonly Uint8Array[] {
    const secrets = this.#secrets;
    return secrets.mode === 'password' ? secrets.keys : secrets.own.map(({ publicKey }) => publicKey);
  }
  #addressed(message: Uint8Array): number {
    return this.#macSecrets().findIndex((secret) => isFor(secret, message));
  }
  /** Answers an initiation; undefined when it is not authentic or not from a known peer. */
  respond(
    initiation: Uint8Array,
    local: number,
  ): { readonly message: Buffer; readonly session: Established } | undefined {
    return quietly(() => {
      const which = this.isForMe(initiation) ? this.#addressed(initiation) : -1;
      const side = this.#responder(which, initiation.subarray(0, INITIATION_HEADER));
      if (side === undefined) return undefined;
      const { noise, own } = side;
      const payload = noise.read(initiation.subarray(INITIATION_HEADER, -MAC_BYTES)).toString();
      const peer = this.#whoSays(payload, noise.remoteStatic);
      if (peer === undefined) return undefined;
      const header = Buffer.alloc(RESPONSE_HEADER);
      header.writeUInt32LE(TYPE.response, 0);
      header.writeUInt32LE(local, 4);
      const remote = Buffer.from(initiation).readUInt32LE(4);
      header.writeUInt32LE(remote, 8);
      const message = withMac(noise.remoteStatic ?? own, header, noise.write(header.subarray(4, 8)));
      const madeWith = this.#madeWith(own, noise.remoteStatic);
      return { message, session: { peer: peer.name, local, remote, keys: noise.split(), madeWith } };
    });
  }
  #madeWith(own: Uint8Array, remote: Uint8Array | undefined): MadeWith {
    if (remote === undefined) return { own: nameOfSecret(own), remote: nameOfSecret(own) };
    return { own: encodeKey(own), remote: encodeKey(remote) };
  }
  #responder(which: number, header: Uint8Array): Side | undefined {
    const secrets = this.#secrets;
    const common = {
      cipher: this.#cipher,
      initiator: false,
      prologue: Buffer.concat([PROLOGUE, header]),
    };
    if (secrets.mode === 'password') {
      const key = secrets.keys[which];
      return key === undefined
        ? undefined
        : { noise: new NoiseHandshake({ ...common, pattern: 'NNpsk0', psk: key }), own: key };
    }
    const pair = secrets.own[which];
    if (pair === undefined) return undefined;
    const noise = new NoiseHandshake({ ...common, pattern: 'IKpsk2', psk: PSK_NONE, static: pair });
    return { noise, own: pair.publicKey };
  }
  /** With a key per node the key says who it is; with a password all are believed who know it. */
  #whoSays(payload: string, key: Uint8Array | undefined): Identity | undefined {
    const [from = '', to] = payload.split('\0');
    if (to !== this.#node) return undefined;
    const peer = this.#peers.get(from);
    if (key === undefined || peer === undefined) return peer;
    return peer.publicKeys.some((known) => encodeKey(known) === encodeKey(key)) ? peer : undefined;
  }
}

/** The responder's number of the session; undefined when it is not what the header says. */
function readResponse(noise: NoiseHandshake, response: Uint8Array): number | undefined {
  if (response.length < RESPONSE_HEADER + MAC_BYTES) return undefined;
  const payload = noise.read(response.subarray(RESPONSE_HEADER, -MAC_BYTES));
  const header = Buffer.from(response.subarray(4, 8));
  return payload.equals(header) ? header.readUInt32LE(0) : undefined;
}

/** What is not authentic is no error here: anybody can send anything. */
function quietly<T>(work: () => T | undefined): T | undefined {
  try {
    return work();
  } catch {
    return undefined;
  }
}
