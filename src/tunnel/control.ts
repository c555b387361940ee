/**
 * What decides in a tunnel: which peer has which session, address and MTU. Time, randomness, sending and the workers are
 * handed in, so that two of these can be tested against each other over a network of the test's making.
 */
import { decodeEndpoint, encodeEndpoint, endpointKey } from './endpoint.ts';
import { TYPE } from './frame.ts';
import { type Established, Handshakes, receiverOf, type Secrets } from './handshakes.ts';
import { type Highest, type LinkLegacy, legacyOf, resume } from './legacy.ts';
import { type ControlOptions, type Link, same, type TunnelPeer } from './link.ts';
import type { FromWorker, Route, SenderPeer } from './mail.ts';
import { Paths } from './paths.ts';
import { PeerSessions, type Session } from './sessions.ts';

const RANDOM_RANGE = 2 ** 32;
/** The later of two names leaves the first try to the other for so long. */
const HOLD_MS = 300;
/** Handshakes that are answered in a second, whoever asks: 50 µs each. */
const ANSWERS_PER_SECOND = 500;

export class Control {
  readonly #options: ControlOptions;
  readonly #handshakes: Handshakes | undefined;
  readonly #paths: Paths;
  readonly #links = new Map<string, Link>();
  readonly #slots: (Link | undefined)[] = [];
  /** By this side's number. */
  readonly #indexes = new Map<number, Link>();
  #legacy = new Map<string, LinkLegacy>();
  #answers = { since: 0, count: 0 };

  constructor(options: ControlOptions) {
    this.#options = options;
    this.#paths = new Paths(options);
    const { protection, node } = options;
    this.#handshakes = protection && new Handshakes(node, protection.cipher, protection.secrets);
  }
  get links(): Iterable<Link> {
    return this.#links.values();
  }
  get #sealed(): boolean {
    return this.#handshakes !== undefined;
  }
  setSecrets(secrets: Secrets): void {
    if (this.#handshakes === undefined) throw new TypeError('a plain tunnel has no secrets');
    this.#handshakes.secrets = secrets;
    this.tick();
  }
  /** What a predecessor left, for peers as they come into the list. */
  inherit(legacy: readonly LinkLegacy[]): void {
    this.#legacy = new Map(legacy.map((left) => [left.peer, left]));
  }
  /** The whole list. Peers that stay keep sessions, address and MTU. */
  setPeers(peers: readonly TunnelPeer[]): void {
    const names = new Set(peers.map(({ name }) => name));
    for (const link of this.#links.values()) if (!names.has(link.peer.name)) this.#removeLink(link);
    for (const peer of peers) this.#setPeer(peer);
    this.#handshakes?.setPeers(peers.map(({ name, publicKeys = [] }) => ({ name, publicKeys })));
    const routes: Route[] = [...this.links].flatMap(({ peer, slot }) =>
      peer.prefixes.map((prefix): Route => [prefix, slot]),
    );
    const plain = [...this.links].flatMap(({ endpoint, slot }) =>
      endpoint === undefined ? [] : [[endpointKey(endpoint), slot] as const],
    );
    this.#options.toReceiver({ kind: 'peers', routes, plain: this.#sealed ? [] : plain });
    this.#options.toSender({
      kind: 'peers',
      routes,
      peers: [...this.links].map((link) => this.#senderPeer(link)),
    });
    if (!this.#sealed)
      for (const { slot } of this.links)
        this.#options.toSender({ kind: 'session', slot, session: { index: 0 } });
    for (const link of this.links) this.#resume(link);
    this.tick();
  }
  #resume(link: Link): void {
    const left = this.#legacy.get(link.peer.name);
    if (!this.#legacy.delete(link.peer.name) || left === undefined) return;
    resume(link, left, this.#options, this.#paths);
    for (const { local } of link.sessions.all) this.#indexes.set(local, link);
  }
  /** What a successor needs. */
  legacy(highest: Highest): LinkLegacy[] {
    const { counters, now } = this.#options;
    return [...this.links].map((link) => legacyOf(link, counters, highest, now()));
  }
  #senderPeer({ slot, endpoint, mtu }: Link): SenderPeer {
    return { slot, endpoint, mtu };
  }
  #removeLink(link: Link): void {
    for (const session of link.sessions.clear()) this.#forget(session);
    this.#dropInitiation(link);
    this.#links.delete(link.peer.name);
    this.#slots[link.slot] = undefined;
  }
  #setPeer(peer: TunnelPeer): void {
    const { family } = this.#options;
    const configured = peer.endpoint && encodeEndpoint(peer.endpoint, family);
    const known = this.#links.get(peer.name);
    if (known !== undefined) {
      known.peer = peer;
      if (same(known.configured, configured)) return;
      known.configured = configured;
      if (configured !== undefined) this.#paths.moveTo(known, configured);
      return;
    }
    this.#addLink(peer, configured);
  }
  #addLink(peer: TunnelPeer, configured: Uint8Array | undefined): void {
    const { now, times, mtu, node, counters } = this.#options;
    const free = this.#slots.findIndex((link) => link === undefined);
    const slot = free < 0 ? this.#slots.length : free;
    const at = now();
    const link: Link = {
      peer,
      slot,
      configured,
      endpoint: configured,
      sessions: new PeerSessions(times),
      path: undefined,
      mtu,
      initiation: undefined,
      sealed: 0,
      received: 0,
      sentAt: at,
      heardAt: at,
      silent: false,
    };
    counters.clear(slot + 1);
    if (node > peer.name) link.sessions.hold(at + HOLD_MS);
    this.#links.set(peer.name, link);
    this.#slots[slot] = link;
    if (!this.#sealed) this.#paths.restart(link);
  }
  /** Whether the session that sends was made with the newest secrets; true in plain mode. */
  isNewest({ peer, sessions }: Link): boolean {
    const { current } = sessions;
    if (this.#handshakes === undefined) return true;
    return current !== undefined && this.#handshakes.isNewest(peer.name, current.madeWith);
  }
  /** To be called every now and then; a tenth of a second is enough. */
  tick(): void {
    const now = this.#options.now();
    for (const link of this.links) this.#tickLink(link, now);
  }
  #tickLink(link: Link, now: number): void {
    this.#observe(link, now);
    if (this.#handshakes !== undefined) this.#tickSessions(link, this.#handshakes, now);
    if (this.#sealed && link.sessions.current === undefined) return;
    this.#paths.tick(link, now);
  }
  #observe(link: Link, now: number): void {
    const { counters, times, log } = this.#options;
    const sealed = counters.get(link.slot + 1, 'sealed');
    const received = counters.get(link.slot + 1, 'receivedPackets');
    if (sealed !== link.sealed) [link.sealed, link.sentAt] = [sealed, now];
    if (received !== link.received) [link.received, link.heardAt] = [received, now];
    const silent = now - link.heardAt >= times.silentMs;
    if (silent && !link.silent) log({ event: 'silent', peer: link.peer.name });
    link.silent = silent;
  }
  #tickSessions(link: Link, handshakes: Handshakes, now: number): void {
    const { sessions } = link;
    const before = sessions.current;
    const over = sessions.expire(now, ({ madeWith }) => handshakes.isValid(link.peer.name, madeWith));
    for (const session of over) this.#forget(session);
    if (before !== sessions.current) this.#use(link);
    const use = { sealed: link.sealed, silentFor: now - link.heardAt };
    const isDue = sessions.isDue(now, { ...use, isStale: false });
    if (!isDue && !sessions.isDue(now, { ...use, isStale: !this.isNewest(link) })) return;
    const attempt = sessions.attempt(now, this.#options.random() / RANDOM_RANGE);
    // While there is a session of older secrets, another one of those would be no better.
    if (attempt !== undefined) this.#initiate(link, handshakes, isDue ? attempt : 0);
  }
  #initiate(link: Link, handshakes: Handshakes, attempt: number): void {
    // A peer that is not where it was last may be where it was configured.
    const [first, second] = [link.endpoint ?? link.configured, link.configured ?? link.endpoint];
    const to = attempt % 4 < 2 ? first : second;
    if (to === undefined) return;
    this.#dropInitiation(link);
    const local = this.#freeIndex();
    const made = handshakes.initiate(link.peer.name, local, attempt);
    if (made === undefined) return;
    link.initiation = { local, made };
    this.#indexes.set(local, link);
    this.#options.send(made.message, to);
  }
  #dropInitiation(link: Link): void {
    if (link.initiation !== undefined) this.#indexes.delete(link.initiation.local);
    link.initiation = undefined;
  }
  #freeIndex(): number {
    for (;;) {
      const index = this.#options.random();
      if (!this.#indexes.has(index)) return index;
    }
  }
  #forget({ local, keys }: Session): void {
    keys.send.fill(0);
    keys.receive.fill(0);
    this.#indexes.delete(local);
    this.#options.toReceiver({ kind: 'forget', index: local });
  }
  /** The sender is told of the session that is now to be used. */
  #use(link: Link): void {
    const current = link.sessions.use();
    const { slot } = link;
    link.sealed = 0;
    this.#options.toSender({
      kind: 'session',
      slot,
      session: current && { index: current.remote, key: current.keys.send },
    });
  }
  #establish(link: Link, made: Established, initiator: boolean): void {
    const { now, toReceiver, log } = this.#options;
    this.#indexes.set(made.local, link);
    toReceiver({ kind: 'session', index: made.local, slot: link.slot, key: made.keys.receive });
    for (const session of link.sessions.add(made, initiator, now())) this.#forget(session);
    if (!initiator) return;
    link.heardAt = now();
    this.#use(link);
    // The other side may not use the session before it has seen a datagram of it.
    this.#paths.keepAlive(link);
    log({ event: 'session', peer: link.peer.name, initiator });
  }
  /** What the workers tell. */
  take(mail: FromWorker): void {
    if (mail.kind === 'handshake') return this.#takeHandshake(mail.message, mail.from);
    if (mail.kind === 'too-big') return this.#paths.hint(this.links, mail.to, mail.mtu);
    if (mail.kind === 'lost') return this.#hurryAt(mail.from);
    if (mail.kind === 'ended' || mail.kind === 'ready') return;
    const link = this.#slots[mail.slot];
    if (link !== undefined) this.#takeOf(link, mail);
  }
  #takeOf(link: Link, mail: Extract<FromWorker, { slot: number }>): void {
    if (mail.kind === 'wanted') this.#hurry(link);
    else if (mail.kind === 'narrow') link.path?.suspect(this.#options.now());
    else if (mail.kind === 'refused') this.#paths.refused(link, mail.size);
    else if (mail.kind === 'confirmed') this.#confirm(link, mail.index);
    else if (mail.kind === 'heard') this.#hear(link, mail.from);
    else {
      this.#paths.take(link, Buffer.from(mail.body));
      this.#tickLink(link, this.#options.now());
    }
  }
  #hurry(link: Link): void {
    link.sessions.hurry();
    this.#tickLink(link, this.#options.now());
  }
  /** Who is there has a session that this node forgot: a new one is due before its turn. */
  #hurryAt(from: Uint8Array): void {
    for (const link of this.links)
      if (link.sessions.current === undefined && same(link.endpoint, from)) this.#hurry(link);
  }
  #confirm(link: Link, index: number): void {
    const { now, log } = this.#options;
    const before = link.sessions.current;
    if (!link.sessions.confirm(index)) return;
    link.heardAt = now();
    this.#dropInitiation(link);
    if (link.sessions.current !== before) this.#use(link);
    log({ event: 'session', peer: link.peer.name, initiator: false });
    this.#tickLink(link, now());
  }
  /** Roaming: an authentic datagram, newer than all before, came from there. */
  #hear(link: Link, from: Uint8Array): void {
    if (same(link.endpoint, from)) {
      if (link.path === undefined) this.#paths.restart(link);
      return;
    }
    const before = link.endpoint;
    this.#paths.moveTo(link, from);
    if (before !== undefined)
      this.#options.log({ event: 'moved', peer: link.peer.name, to: decodeEndpoint(from) });
    this.#tickLink(link, this.#options.now());
  }
  #takeHandshake(message: Uint8Array, from: Uint8Array): void {
    const type = message[0];
    if (type === TYPE.response) this.#takeResponse(message, from);
    else if (this.#handshakes?.isForMe(message) === true && this.#mayAnswer())
      this.#takeInitiation(this.#handshakes, message, from);
  }
  #mayAnswer(): boolean {
    const now = this.#options.now();
    if (now - this.#answers.since >= 1000) this.#answers = { since: now, count: 0 };
    this.#answers.count += 1;
    return this.#answers.count <= ANSWERS_PER_SECOND;
  }
  #takeInitiation(handshakes: Handshakes, message: Uint8Array, from: Uint8Array): void {
    const local = this.#freeIndex();
    const answer = handshakes.respond(message, local);
    const link = answer && this.#links.get(answer.session.peer);
    if (answer === undefined || link === undefined) return;
    this.#establish(link, answer.session, false);
    this.#options.send(answer.message, from);
  }
  #takeResponse(message: Uint8Array, from: Uint8Array): void {
    const link = this.#indexes.get(receiverOf(message));
    const made = link?.initiation?.made.finish(message);
    if (link === undefined || made === undefined) return;
    link.initiation = undefined;
    if (!same(link.endpoint, from)) this.#paths.moveTo(link, from);
    if (link.path === undefined) this.#paths.restart(link);
    this.#establish(link, made, true);
    this.#tickLink(link, this.#options.now());
  }
}
