/**
 * The way to each peer: how large a datagram it carries, and that something goes over it now and then.
 *
 * Control data in a body: kind u8 · zero u8[3] · number u32. A probe is padded to its size, its acknowledgement repeats the
 * number; a keepalive is empty.
 */
import { endpointKey, outerFamily } from './endpoint.ts';
import { HEADER_BYTES, KIND, overheadOf, TAG_BYTES } from './frame.ts';
import type { ControlOptions, Link } from './link.ts';
import { PathMtu } from './path-mtu.ts';

const CONTROL_BYTES = 8;

export class Paths {
  readonly #options: ControlOptions;
  readonly #sealed: boolean;

  constructor(options: ControlOptions) {
    this.#options = options;
    this.#sealed = options.protection !== undefined;
  }
  moveTo(link: Link, endpoint: Uint8Array, mtu?: number): void {
    link.endpoint = endpoint;
    this.restart(link, mtu);
  }
  /** Another way there: what is known of the old one's MTU is worth nothing. `mtu`: used until the way's own is found. */
  restart(link: Link, mtu = this.#options.mtu): void {
    if (link.endpoint === undefined) return;
    const family = outerFamily(link.endpoint);
    const { times, random } = this.#options;
    const around = overheadOf(family, this.#sealed);
    const max = this.#options.mtu + around;
    link.path = new PathMtu(family, max, { times, serial: random(), known: mtu + around });
    this.#setMtu(link, Math.min(mtu, this.#options.mtu));
  }
  #setMtu(link: Link, mtu: number): void {
    link.mtu = mtu;
    const { slot, endpoint } = link;
    this.#options.toSender({ kind: 'peer', peer: { slot, endpoint, mtu } });
  }
  tick(link: Link, now: number): void {
    if (now - link.sentAt >= this.#options.times.keepaliveMs) this.keepAlive(link);
    const probe = link.path?.tick(now);
    if (probe !== undefined)
      this.#send(link, KIND.probe, { number: probe.id, size: probe.size - aroundUdp(link) });
    this.#follow(link);
  }
  /** What the machine found becomes what the sender uses. */
  #follow(link: Link): void {
    if (link.endpoint === undefined || link.path === undefined) return;
    const mtu = link.path.mtu - overheadOf(outerFamily(link.endpoint), this.#sealed);
    if (mtu === link.mtu) return;
    this.#setMtu(link, mtu);
    this.#options.log({ event: 'mtu', peer: link.peer.name, mtu });
  }
  /** Control data came: the peer is there. */
  take(link: Link, body: Buffer): void {
    const now = this.#options.now();
    link.heardAt = now;
    if (body.length < CONTROL_BYTES) return;
    const number = body.readUInt32LE(4);
    if (body[0] === KIND.probe) this.#send(link, KIND.probeAck, { number });
    if (body[0] === KIND.probeAck) link.path?.acknowledge(number, now);
    this.#follow(link);
  }
  /** A router says what fits on the way to there. */
  hint(links: Iterable<Link>, to: Uint8Array, mtu: number): void {
    const key = endpointKey(to);
    for (const { endpoint, path } of links)
      if (endpoint !== undefined && endpointKey(endpoint) === key) path?.hint(mtu, this.#options.now());
  }
  /** The kernel refused control data with this much UDP payload. */
  refused(link: Link, size: number): void {
    link.path?.refused(size + aroundUdp(link), this.#options.now());
    this.#follow(link);
  }
  keepAlive(link: Link): void {
    link.sentAt = this.#options.now();
    this.#send(link, KIND.keepalive, { number: 0 });
  }
  #send(link: Link, kind: number, what: { readonly number: number; readonly size?: number }): void {
    const body = Buffer.alloc(CONTROL_BYTES);
    body[0] = kind;
    body.writeUInt32LE(what.number, 4);
    const least = HEADER_BYTES + body.length + (this.#sealed ? TAG_BYTES : 0);
    this.#options.toSender({ kind: 'control', slot: link.slot, body, size: what.size ?? least });
  }
}

/** Outer IP and UDP headers. */
function aroundUdp({ endpoint }: Link): number {
  return endpoint === undefined || outerFamily(endpoint) === 4 ? 28 : 48;
}
