/**
 * Nodes with real control and real handshakes, but a clock and a network of the test's making, and workers that only keep
 * the books: which key a datagram was sent with, and whether its receiver had it.
 */
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { Control } from '../control.ts';
import { Counters } from '../counters.ts';
import { AF_INET6, decodeEndpoint, encodeEndpoint, endpointKey } from '../endpoint.ts';
import type { Secrets } from '../handshakes.ts';
import { generateKeyPair, type KeyPair } from '../keys.ts';
import type { ControlEvent, TunnelPeer } from '../link.ts';
import type { ToReceiver, ToSender } from '../mail.ts';
import { PATH_MTU_TIMES } from '../path-mtu.ts';
import { SESSION_TIMES, type SessionTimes } from '../sessions.ts';

const PORT = 7000;
const DELAY_MS = 3;

type Datagram =
  | { readonly kind: 'handshake'; readonly bytes: Uint8Array }
  | {
      readonly kind: 'sealed';
      readonly index: number;
      readonly key: string;
      readonly body: Uint8Array | 'packet';
    };
type Travelling = {
  readonly at: number;
  readonly from: Uint8Array;
  readonly to: string;
  readonly datagram: Datagram;
};

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString('hex');

export class Cluster {
  now = 0;
  /** Whether the next datagram is lost. */
  lose: () => boolean = () => false;
  /** All handshake messages, for replaying. */
  readonly recorded: Travelling[] = [];
  readonly nodes = new Map<string, ClusterNode>();
  readonly #times: SessionTimes;
  #travelling: Travelling[] = [];

  constructor(times: Partial<SessionTimes> = {}) {
    this.#times = { ...SESSION_TIMES, ...times };
  }
  get times(): SessionTimes {
    return this.#times;
  }
  send(from: Uint8Array, to: Uint8Array, datagram: Datagram): void {
    const travelling = { at: this.now + DELAY_MS, from, to: endpointKey(to), datagram };
    if (datagram.kind === 'handshake') this.recorded.push(travelling);
    if (!this.lose()) this.#travelling.push(travelling);
  }
  replay(travelling: Travelling): void {
    this.#travelling.push({ ...travelling, at: this.now });
  }
  /** Lets time pass, in steps of 5 ms; `each` is called every 50 ms. */
  run(ms: number, each: () => void = () => {}): void {
    for (const end = this.now + ms; this.now < end;) {
      this.now += 5;
      const due = this.#travelling.filter(({ at }) => at <= this.now);
      this.#travelling = this.#travelling.filter(({ at }) => at > this.now);
      for (const one of due) this.#deliver(one);
      if (this.now % 50 !== 0) continue;
      for (const node of this.nodes.values()) node.control.tick();
      each();
    }
  }
  #deliver({ to, from, datagram }: Travelling): void {
    for (const node of this.nodes.values())
      if (endpointKey(node.endpoint) === to) node.receive(datagram, from);
  }
}

type Sending = {
  endpoint: Uint8Array | undefined;
  session: { index: number; key: string; counter: number } | undefined;
};

export class ClusterNode {
  readonly name: string;
  readonly keys: KeyPair;
  readonly control: Control;
  readonly events: ControlEvent[] = [];
  endpoint: Uint8Array;
  /** Packets that arrived, and those that came with a key that this node did not have. */
  accepted = 0;
  refused = 0;
  /** Packets for which there was no session. */
  stuck = 0;
  readonly #cluster: Cluster;
  readonly #counters = new Counters(10);
  readonly #sending = new Map<number, Sending>();
  readonly #receiving = new Map<number, { key: string; slot: number; confirmed: boolean }>();
  readonly #heard = new Map<number, string>();
  /** Nonces, with their keys, that something was sealed with. */
  readonly used: Set<string>;

  constructor(
    cluster: Cluster,
    name: string,
    number: number,
    { secrets, before }: { secrets?: Secrets; before?: ClusterNode } = {},
  ) {
    this.#cluster = cluster;
    this.name = name;
    this.used = before?.used ?? new Set();
    this.keys = before?.keys ?? generateKeyPair();
    this.endpoint = endpointOf(number);
    let random = number * 7919;
    this.control = new Control({
      node: name,
      mtu: 1412,
      protection: {
        cipher: 'aes-256-gcm',
        secrets: secrets ?? { mode: 'keys', own: [this.keys] },
      },
      family: AF_INET6,
      times: { ...PATH_MTU_TIMES, ...cluster.times },
      counters: this.#counters,
      now: () => cluster.now,
      random: () => (random = (Math.imul(random, 1_103_515_245) + 12_345) >>> 0),
      toSender: (mail) => this.#tellSender(structuredClone(mail)),
      toReceiver: (mail) => this.#tellReceiver(structuredClone(mail)),
      send: (bytes, to) => cluster.send(this.endpoint, to, { kind: 'handshake', bytes }),
      log: (event) => this.events.push(event),
    });
    cluster.nodes.set(name, this);
  }
  /** How others are told of it. */
  peer(number: number): TunnelPeer {
    const publicKeys = [this.keys.publicKey];
    return {
      name: this.name,
      endpoint: decodeEndpoint(endpointOf(number)),
      prefixes: [prefix(`10.77.${number}.0/24`)],
      publicKeys,
    };
  }
  get sessions(): number {
    return this.#receiving.size;
  }
  #tellSender(mail: ToSender): void {
    if (mail.kind === 'peers') {
      const slots = new Set(mail.peers.map(({ slot }) => slot));
      for (const slot of this.#sending.keys()) if (!slots.has(slot)) this.#sending.delete(slot);
      for (const { slot, endpoint } of mail.peers) this.#setEndpoint(slot, endpoint);
    } else if (mail.kind === 'peer') this.#setEndpoint(mail.peer.slot, mail.peer.endpoint);
    else if (mail.kind === 'session') this.#setSession(mail);
    else if (mail.kind === 'control') this.#send(mail.slot, mail.body);
  }
  #setEndpoint(slot: number, endpoint: Uint8Array | undefined): void {
    const known = this.#sending.get(slot);
    if (known === undefined) this.#sending.set(slot, { endpoint, session: undefined });
    else known.endpoint = endpoint;
  }
  #setSession({ slot, session }: Extract<ToSender, { kind: 'session' }>): void {
    const known = this.#sending.get(slot);
    if (known === undefined) return;
    known.session = session?.key && {
      index: session.index,
      key: hex(session.key),
      counter: session.counter ?? 0,
    };
  }
  #tellReceiver(mail: ToReceiver): void {
    if (mail.kind === 'session')
      this.#receiving.set(mail.index, { key: hex(mail.key), slot: mail.slot, confirmed: false });
    else if (mail.kind === 'forget') this.#receiving.delete(mail.index);
  }
  #send(slot: number, body: Uint8Array | 'packet'): void {
    const { session, endpoint } = this.#sending.get(slot) ?? {};
    if (session === undefined || endpoint === undefined) {
      this.stuck += 1;
      this.control.take({ kind: 'wanted', slot });
      return;
    }
    const { index, key, counter } = session;
    if (this.used.has(`${key} ${counter}`))
      throw new Error(`${this.name} seals twice with counter ${counter}`);
    this.used.add(`${key} ${counter}`);
    session.counter += 1;
    this.#counters.set(slot + 1, 'sealed', session.counter);
    this.#cluster.send(this.endpoint, endpoint, { kind: 'sealed', index, key, body });
  }
  /** One packet to each peer. */
  sendPackets(): void {
    for (const slot of this.#sending.keys()) this.#send(slot, 'packet');
  }
  receive(datagram: Datagram, from: Uint8Array): void {
    if (datagram.kind === 'handshake')
      return this.control.take({ kind: 'handshake', message: datagram.bytes, from });
    const session = this.#receiving.get(datagram.index);
    const { body } = datagram;
    if (session?.key !== datagram.key) {
      this.refused += body === 'packet' ? 1 : 0;
      if (session === undefined) this.control.take({ kind: 'lost', from });
      return;
    }
    const { slot } = session;
    if (!session.confirmed) {
      session.confirmed = true;
      this.control.take({ kind: 'confirmed', slot, index: datagram.index });
    }
    if (this.#heard.get(slot) !== endpointKey(from)) {
      this.#heard.set(slot, endpointKey(from));
      this.control.take({ kind: 'heard', slot, from });
    }
    if (body !== 'packet') return this.control.take({ kind: 'control', slot, body, size: body.length });
    this.accepted += 1;
    this.#counters.add(slot + 1, 'receivedPackets');
  }
}

export function endpointOf(number: number): Uint8Array {
  const bytes = encodeEndpoint({ address: address(`192.168.0.${number}`), port: PORT }, AF_INET6);
  if (bytes === undefined) throw new Error('no such endpoint');
  return bytes;
}
