/**
 * WireGuard devices' keys, ports and peers. rtnetlink makes the device; this says what it is. The kernel tells no events of
 * any of it: a change by somebody else is seen when everything is looked at again.
 */
import type { Step } from '#model/diff.ts';
import type { WireguardLink, WireguardPeerItem } from '#model/host.ts';
import type { Failure } from './kernel.ts';
import { findFamily } from './netlink/generic.ts';
import { MessageWriter } from './netlink/message.ts';
import { NetlinkError, openNetlink, type NetlinkSocket } from './netlink/socket.ts';
import {
  askDevice,
  putDevice,
  putPeer,
  readPiece,
  removePeer,
  WG_GENL_NAME,
  type WireguardDevice,
  type WireguardPiece,
} from './netlink/wireguard.ts';
import { NETLINK_GENERIC } from './sys.ts';

/** The private key (32 bytes) of a public one; undefined: this node does not have it. */
export type PrivateKeyOf = (publicKey: string) => Uint8Array | undefined;

const GONE: ReadonlySet<string> = new Set(['ENODEV', 'EOPNOTSUPP']);

export class Wireguard implements Disposable {
  readonly #run: <T>(work: () => T) => T;
  readonly #privateKeyOf: PrivateKeyOf;
  readonly #writer = new MessageWriter();
  #socket: NetlinkSocket | undefined;
  #family: number | undefined;

  constructor(run: <T>(work: () => T) => T, privateKeyOf: PrivateKeyOf) {
    this.#run = run;
    this.#privateKeyOf = privateKeyOf;
  }
  [Symbol.dispose](): void {
    this.#socket?.[Symbol.dispose]();
  }

  /** Throws NetlinkError; ENOKEY when the private key is not here. */
  configure({ name, publicKey, port }: WireguardLink): void {
    const privateKey = this.#privateKeyOf(publicKey);
    if (privateKey === undefined) {
      throw new NetlinkError({
        code: 'ENOKEY',
        errno: 126,
        reason: `ENOKEY: no private key of ${publicKey}`,
      });
    }
    this.#request((writer, family) => putDevice(writer, family, { link: name, port, privateKey }));
    // The buffer is shared and lives long.
    this.#writer.bytes.fill(0);
  }

  /** Undefined where the link is none of WireGuard's. */
  device(link: string): WireguardDevice | undefined {
    return this.#look(link)?.device;
  }

  peers(link: string): WireguardPeerItem[] {
    return this.#look(link)?.peers ?? [];
  }

  #look(link: string): { device: WireguardDevice | undefined; peers: WireguardPeerItem[] } | undefined {
    const family = this.#open();
    if (family === undefined || this.#socket === undefined) return undefined;
    this.#writer.clear();
    askDevice(this.#writer, family, link);
    try {
      const pieces = this.#socket.dump(this.#writer, readPiece);
      return { device: pieces[0]?.device, peers: joinPeers(link, pieces) };
    } catch (error) {
      if (error instanceof NetlinkError && GONE.has(error.code)) return undefined;
      throw error;
    }
  }

  /** Tries every step on a peer, in order. */
  apply(steps: readonly Step[]): Failure[] {
    return steps.flatMap((step) => {
      try {
        this.#request((writer, family) => packPeer(writer, family, step));
        return [];
      } catch (error) {
        if (!(error instanceof NetlinkError)) throw error;
        if (step.op === 'remove' && GONE.has(error.code)) return [];
        return [{ step, code: error.code, message: error.message }];
      }
    });
  }

  #request(pack: (writer: MessageWriter, family: number) => void): void {
    const family = this.#open();
    if (family === undefined || this.#socket === undefined) {
      throw new NetlinkError({
        code: 'EOPNOTSUPP',
        errno: 95,
        reason: 'EOPNOTSUPP: the kernel lacks WireGuard',
      });
    }
    this.#writer.clear();
    pack(this.#writer, family);
    this.#socket.request(this.#writer);
  }

  #open(): number | undefined {
    this.#socket ??= this.#run(() => openNetlink(NETLINK_GENERIC));
    this.#family ??= findFamily(this.#socket, this.#writer, WG_GENL_NAME);
    return this.#family;
  }
}

/** A peer that goes on over several messages of the kernel is put together again. */
function joinPeers(link: string, pieces: readonly WireguardPiece[]): WireguardPeerItem[] {
  const byKey = new Map<string, WireguardPeerItem>();
  for (const peer of pieces.flatMap(({ peers }) => peers)) {
    const before = byKey.get(peer.publicKey);
    const allowed = [...(before?.allowed ?? []), ...peer.allowed].sort();
    byKey.set(peer.publicKey, { ...(before ?? { ...peer, kind: 'wireguard-peer', link }), allowed });
  }
  return [...byKey.values()];
}

function packPeer(writer: MessageWriter, family: number, step: Step): void {
  if (step.op === 'remove') return removePeer(writer, family, step.was as WireguardPeerItem);
  const was = step.op === 'add' ? undefined : (step.was as WireguardPeerItem);
  putPeer(writer, family, step.item as WireguardPeerItem, was);
}
