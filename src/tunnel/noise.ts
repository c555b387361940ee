/**
 * The Noise Protocol Framework (revision 34) as far as the tunnel needs it: two patterns over X25519 and SHA-256.
 *
 *   IKpsk2 (key per node, as WireGuard)   <- s … -> e, es, s, ss   <- e, ee, se, psk
 *   NNpsk0 (a password for all)           -> psk, e                <- e, ee
 *
 * A handshake that threw is spent: nothing that it says afterwards means anything. Section numbers are those of the
 * specification (noiseprotocol.org/noise.html).
 */
import { createHash, createHmac, type KeyObject } from 'node:crypto';
import { generateKeyPair, type KeyPair, sharedSecret } from './keys.ts';
import { type CipherName, NODE_CIPHERS } from './node-cipher.ts';

export type PatternName = 'IKpsk2' | 'NNpsk0';
type Token = 'e' | 's' | 'ee' | 'es' | 'se' | 'ss' | 'psk';
type Pattern = { readonly messages: readonly (readonly Token[])[]; readonly responderKnown: boolean };

const PATTERNS: Readonly<Record<PatternName, Pattern>> = {
  IKpsk2: {
    responderKnown: true,
    messages: [
      ['e', 'es', 's', 'ss'],
      ['e', 'ee', 'se', 'psk'],
    ],
  },
  NNpsk0: {
    responderKnown: false,
    messages: [
      ['psk', 'e'],
      ['e', 'ee'],
    ],
  },
};

const CIPHER_NAMES: Readonly<Record<CipherName, string>> = {
  'aes-256-gcm': 'AESGCM',
  'chacha20-poly1305': 'ChaChaPoly',
};

export const KEY_BYTES = 32;
export const TAG_BYTES = 16;

const sha256 = (...parts: readonly Uint8Array[]): Buffer => {
  const hash = createHash('sha256');
  for (const part of parts) hash.update(part);
  return hash.digest();
};
const hmac = (key: Uint8Array, data: Uint8Array): Buffer => createHmac('sha256', key).update(data).digest();

/** Section 4.3. */
function deriveKeys(chainingKey: Uint8Array, material: Uint8Array): [Buffer, Buffer, Buffer] {
  const temporary = hmac(chainingKey, material);
  const first = hmac(temporary, Uint8Array.of(1));
  const second = hmac(temporary, Buffer.concat([first, Uint8Array.of(2)]));
  return [first, second, hmac(temporary, Buffer.concat([second, Uint8Array.of(3)]))];
}

/** Section 5.2. */
class SymmetricState {
  readonly #cipher: CipherName;
  #chainingKey: Buffer;
  #hash: Buffer;
  #key: Buffer | undefined;
  #nonce = 0;

  constructor(cipher: CipherName, protocol: string) {
    const name = Buffer.from(protocol);
    this.#cipher = cipher;
    this.#hash = name.length <= 32 ? Buffer.concat([name, Buffer.alloc(32 - name.length)]) : sha256(name);
    this.#chainingKey = this.#hash;
  }
  get hash(): Buffer {
    return this.#hash;
  }
  mixHash(data: Uint8Array): void {
    this.#hash = sha256(this.#hash, data);
  }
  #setKey(key: Buffer): void {
    this.#key = key;
    this.#nonce = 0;
  }
  mixKey(material: Uint8Array): void {
    const [chainingKey, key] = deriveKeys(this.#chainingKey, material);
    this.#chainingKey = chainingKey;
    this.#setKey(key);
  }
  mixKeyAndHash(material: Uint8Array): void {
    const [chainingKey, hash, key] = deriveKeys(this.#chainingKey, material);
    this.#chainingKey = chainingKey;
    this.mixHash(hash);
    this.#setKey(key);
  }
  get hasKey(): boolean {
    return this.#key !== undefined;
  }
  encryptAndHash(plain: Uint8Array): Buffer {
    const { seal } = NODE_CIPHERS[this.#cipher];
    const out =
      this.#key === undefined
        ? Buffer.from(plain)
        : seal({ key: this.#key, counter: this.#nonce++, data: plain, associated: this.#hash });
    this.mixHash(out);
    return out;
  }
  /** Throws when the tag is wrong. */
  decryptAndHash(data: Uint8Array): Buffer {
    const { open } = NODE_CIPHERS[this.#cipher];
    const plain =
      this.#key === undefined
        ? Buffer.from(data)
        : open({ key: this.#key, counter: this.#nonce++, data, associated: this.#hash });
    if (plain === undefined) throw new Error('handshake message is not authentic');
    this.mixHash(data);
    return plain;
  }
  split(): [Buffer, Buffer] {
    const [first, second] = deriveKeys(this.#chainingKey, new Uint8Array());
    return [first, second];
  }
}

export type HandshakeOptions = {
  readonly pattern: PatternName;
  readonly cipher: CipherName;
  readonly initiator: boolean;
  /** Both sides must give the same bytes. */
  readonly prologue: Uint8Array;
  /** 32 bytes; zeros where none is shared. */
  readonly psk: Uint8Array;
  /** This side's key; IKpsk2 only. */
  readonly static?: KeyPair;
  /** The responder's public key, for the initiator of IKpsk2. */
  readonly remoteStatic?: Uint8Array;
  /** Tests of published vectors give it; else it is made. */
  readonly ephemeral?: KeyPair;
};

/** Keys of the two directions, 32 bytes each. */
export type TransportKeys = { readonly send: Buffer; readonly receive: Buffer };

/** One run of a pattern (section 5.3): write and read in turns, then `split`. */
export class NoiseHandshake {
  readonly #options: HandshakeOptions;
  readonly #state: SymmetricState;
  readonly #ephemeral: KeyPair;
  #remoteEphemeral: Uint8Array | undefined;
  #remoteStatic: Uint8Array | undefined;
  #step = 0;

  constructor(options: HandshakeOptions) {
    const { pattern, cipher, initiator } = options;
    this.#options = options;
    this.#ephemeral = options.ephemeral ?? generateKeyPair();
    this.#remoteStatic = options.remoteStatic;
    this.#state = new SymmetricState(cipher, `Noise_${pattern}_25519_${CIPHER_NAMES[cipher]}_SHA256`);
    this.#state.mixHash(options.prologue);
    if (!PATTERNS[pattern].responderKnown) return;
    const responder = initiator ? options.remoteStatic : options.static?.publicKey;
    this.#state.mixHash(required(responder));
  }
  /** The peer's public key, once it is known. */
  get remoteStatic(): Uint8Array | undefined {
    return this.#remoteStatic;
  }
  /** Identifies this run; equal on both sides at its end. */
  get hash(): Buffer {
    return this.#state.hash;
  }
  #tokens(): readonly Token[] {
    const tokens = PATTERNS[this.#options.pattern].messages[this.#step];
    if (tokens === undefined) throw new Error('the handshake is over');
    this.#step += 1;
    return tokens;
  }
  write(payload: Uint8Array): Buffer {
    const parts = this.#tokens().map((token) => this.#writeToken(token));
    return Buffer.concat([...parts, this.#state.encryptAndHash(payload)]);
  }
  #writeToken(token: Token): Uint8Array {
    if (token === 'e') return this.#mixEphemeral(this.#ephemeral.publicKey);
    if (token === 's') return this.#state.encryptAndHash(required(this.#options.static).publicKey);
    this.#mixToken(token);
    return new Uint8Array();
  }
  /** The payload; throws when the message is short or not authentic. */
  read(message: Uint8Array): Buffer {
    let rest = message;
    const take = (size: number): Uint8Array => {
      if (rest.length < size) throw new Error('handshake message is too short');
      const taken = rest.subarray(0, size);
      rest = rest.subarray(size);
      return taken;
    };
    for (const token of this.#tokens()) {
      if (token === 'e') this.#remoteEphemeral = this.#mixEphemeral(Buffer.from(take(KEY_BYTES)));
      else if (token === 's') this.#remoteStatic = this.#state.decryptAndHash(take(KEY_BYTES + TAG_BYTES));
      else this.#mixToken(token);
    }
    if (this.#state.hasKey && rest.length < TAG_BYTES) throw new Error('handshake message is too short');
    return this.#state.decryptAndHash(rest);
  }
  /** Section 9.2: with a pre-shared key an ephemeral key is mixed into the key too. */
  #mixEphemeral(publicKey: Uint8Array): Uint8Array {
    this.#state.mixHash(publicKey);
    this.#state.mixKey(publicKey);
    return publicKey;
  }
  #mixToken(token: Exclude<Token, 'e' | 's'>): void {
    if (token === 'psk') return this.#state.mixKeyAndHash(this.#options.psk);
    const [initiators, responders] = token;
    const mine = (this.#options.initiator ? initiators : responders) === 'e';
    const theirs = (this.#options.initiator ? responders : initiators) === 'e';
    const privateKey: KeyObject = (mine ? this.#ephemeral : required(this.#options.static)).privateKey;
    const publicKey = required(theirs ? this.#remoteEphemeral : this.#remoteStatic);
    this.#state.mixKey(sharedSecret(privateKey, publicKey));
  }
  /** After the last message; the initiator sends with the first key. */
  split(): TransportKeys {
    if (this.#step < PATTERNS[this.#options.pattern].messages.length)
      throw new Error('the handshake is not over');
    const [first, second] = this.#state.split();
    return this.#options.initiator ? { send: first, receive: second } : { send: second, receive: first };
  }
}

function required<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError('the pattern needs a key that was not given');
  return value;
}
