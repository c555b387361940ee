/** What the parts of one Kernel share: a request socket in its namespace, link names, and the way into the namespace. */
import { NetlinkError, openNetlink, type NetlinkSocket } from './netlink/socket.ts';
import { askLinks, RTM_NEWLINK } from './netlink/link.ts';
import { type LinkContext, type LinkRow, readLink } from './netlink/link-row.ts';
import { MessageWriter } from './netlink/message.ts';
import { LinkNames } from './netlink/names.ts';
import { txChecksumOffload } from './ethtool.ts';
import { Fou } from './fou.ts';
import { type PrivateKeyOf, Wireguard } from './wireguard.ts';

export type Scope = {
  readonly socket: NetlinkSocket;
  /** Shared and cleared by each user: never kept over a call into another part. */
  readonly writer: MessageWriter;
  readonly names: LinkNames;
  readonly links: LinkContext;
  readonly wireguard: Wireguard;
  readonly fou: Fou;
  /** Runs a synchronous function in the namespace. */
  readonly run: <T>(work: () => T) => T;
};

export function openScope(run: Scope['run'], privateKeyOf: PrivateKeyOf = () => undefined): Scope {
  const socket = run(() => openNetlink());
  const names = new LinkNames(socket.fd);
  const wireguard = new Wireguard(run, privateKeyOf);
  const links: LinkContext = {
    name: (index) => names.name(index),
    txChecksumOffload: (name) => run(() => tryOffload(name)),
    wireguard: (name) => wireguard.device(name),
  };
  return { socket, writer: new MessageWriter(), names, links, wireguard, fou: new Fou(run), run };
}

function tryOffload(name: string): boolean | undefined {
  try {
    return txChecksumOffload(name);
  } catch {
    return undefined;
  }
}

/** The link of this name; undefined when there is none. */
export function findLink({ socket, writer }: Scope, name: string): LinkRow | undefined {
  writer.clear();
  askLinks(writer, 0, name);
  try {
    return socket.request(writer, (message) =>
      message.type === RTM_NEWLINK ? readLink(message) : undefined,
    )[0];
  } catch (error) {
    if (error instanceof NetlinkError && error.code === 'ENODEV') return undefined;
    throw error;
  }
}
