/**
 * rtnetlink events as changes of items. The kernel does not tell everything: it drops IPv4 routes without a word when
 * their link goes down or their source address leaves, so the routes of each link are remembered here.
 */
import { type ItemKey, keyOf } from '#model/host.ts';
import type { Change } from './kernel.ts';
import { addressItem, isOurAddress, readAddress, RTM_DELADDR, RTM_NEWADDR } from './netlink/address.ts';
import { RTM_DELLINK, RTM_NEWLINK } from './netlink/link.ts';
import { isUp, linkItem, type LinkRow, readLink } from './netlink/link-row.ts';
import { type Message, readMessages } from './netlink/message.ts';
import { AF_BRIDGE, readNeighbor, RTM_DELNEIGH, RTM_NEWNEIGH } from './netlink/neighbor.ts';
import { isLearnedRoute, isOurRoute, readRoute, RTM_DELROUTE, RTM_NEWROUTE } from './netlink/route.ts';
import { readRule, RTM_DELRULE, RTM_NEWRULE } from './netlink/rule.ts';
import { dumpLinks, isOurNeighbor, neighborItem, observeRoutes, routeItem } from './observe.ts';
import { findLink, type Scope } from './scope.ts';

const UNDERLAY: readonly Change[] = [{ type: 'underlay' }];
const LEARNED: readonly Change[] = [{ type: 'learned' }];
const NOTHING: readonly Change[] = [];

export class Translator {
  readonly #scope: Scope;
  readonly #isNamed: (link: string) => boolean;
  readonly #links = new Map<number, LinkRow>();
  readonly #routesByLink = new Map<string, Set<ItemKey>>();

  /** `isNamed`: links that are not ours but looked at. The scope is the translator's own. */
  constructor(scope: Scope, isNamed: (link: string) => boolean) {
    this.#scope = scope;
    this.#isNamed = isNamed;
    for (const row of dumpLinks(scope)) this.#links.set(row.index, row);
    for (const item of observeRoutes(scope)) this.#remember(item.link, keyOf(item), true);
  }

  /** The changes that one datagram tells of. */
  read(datagram: Buffer): Change[] {
    const changes: Change[] = [];
    for (const message of readMessages(datagram)) changes.push(...this.#message(message));
    return changes;
  }

  #message(message: Message): readonly Change[] {
    switch (message.type) {
      case RTM_NEWLINK:
      case RTM_DELLINK:
        return this.#onLink(message);
      case RTM_NEWADDR:
      case RTM_DELADDR:
        return this.#onAddress(message);
      case RTM_NEWNEIGH:
      case RTM_DELNEIGH:
        return this.#onNeighbor(message);
      case RTM_NEWROUTE:
      case RTM_DELROUTE:
        return this.#onRoute(message);
      default:
        return onRule(message);
    }
  }

  #onLink(message: Message): readonly Change[] {
    const told = readLink(message);
    // In the bridge family DELLINK means that the port left its bridge, and the rest is not told: ask.
    const bridge = message.bytes.readUInt8(message.at) === AF_BRIDGE;
    const row = bridge ? findLink(this.#scope, told.name) : told;
    if (row === undefined) return NOTHING;
    const gone = message.type === RTM_DELLINK && !bridge;
    return [...this.#renamed(row), ...this.#linkChange(row, gone), ...this.#lostRoutes(row, gone)];
  }

  #renamed(row: LinkRow): readonly Change[] {
    const before = this.#links.get(row.index);
    if (before === undefined || before.name === row.name) return NOTHING;
    this.#scope.names.forget();
    return [{ type: 'resync' }];
  }

  #linkChange(row: LinkRow, gone: boolean): readonly Change[] {
    const before = this.#links.get(row.index);
    if (gone) this.#links.delete(row.index);
    else this.#links.set(row.index, row);
    if (gone) this.#scope.names.forget();
    else this.#scope.names.learn(row.index, row.name);
    const ours = row.ours || before?.ours === true;
    if (!ours && !this.#isNamed(row.name)) return UNDERLAY;
    const seen = gone ? undefined : linkItem(row, this.#scope.links);
    const change: Change = { type: 'item', key: `link ${row.name}`, seen };
    return ours ? [change] : [change, ...UNDERLAY];
  }

  #lostRoutes(row: LinkRow, gone: boolean): readonly Change[] {
    if (!gone && isUp(row)) return NOTHING;
    const keys = this.#routesByLink.get(row.name);
    this.#routesByLink.delete(row.name);
    return [...(keys ?? [])].map((key) => ({ type: 'item', key, seen: undefined }));
  }

  #onAddress(message: Message): readonly Change[] {
    const row = readAddress(message);
    if (row === undefined) return NOTHING;
    const gone = message.type === RTM_DELADDR;
    const link = this.#scope.names.name(row.index);
    const lost: Change[] =
      gone && !row.address.includes(':') && this.#hasRoutes() ? [{ type: 'resync' }] : [];
    if (link === undefined) return lost;
    const ourLink = this.#links.get(row.index)?.ours === true;
    if (!isOurAddress(row, ourLink)) return ourLink ? NOTHING : [...UNDERLAY, ...lost];
    const item = addressItem(row, link);
    return [{ type: 'item', key: keyOf(item), seen: gone ? undefined : item }, ...lost];
  }

  /** An entry of ours that is no longer permanent, or no longer there, is no longer ours. */
  #onNeighbor(message: Message): readonly Change[] {
    const row = readNeighbor(message);
    const link = row === undefined ? undefined : this.#scope.names.name(row.index);
    if (row === undefined || link === undefined) return NOTHING;
    const owner = this.#links.get(row.index);
    const ourLink = owner?.ours === true ? owner : undefined;
    if (!isOurNeighbor({ ...row, permanent: true }, ourLink)) return NOTHING;
    const item = neighborItem(row, link);
    const there = message.type === RTM_NEWNEIGH && row.permanent;
    return [{ type: 'item', key: keyOf(item), seen: there ? item : undefined }];
  }

  #onRoute(message: Message): readonly Change[] {
    const row = readRoute(message);
    if (row === undefined) return NOTHING;
    if (isLearnedRoute(message, row)) return LEARNED;
    // The kernel's own routes come and go with every pod's link.
    if (!isOurRoute(message)) return this.#links.get(row.index ?? 0)?.ours === true ? NOTHING : UNDERLAY;
    const item = routeItem(row, this.#scope);
    const key = keyOf({ ...row.item });
    const there = message.type === RTM_NEWROUTE && item !== undefined;
    this.#remember(item?.link, key, there);
    return [{ type: 'item', key, seen: there ? item : undefined }];
  }

  #hasRoutes(): boolean {
    return this.#routesByLink.values().some((keys) => keys.size > 0);
  }

  #remember(link: string | undefined, key: ItemKey, there: boolean): void {
    if (link === undefined) return;
    const keys = this.#routesByLink.get(link) ?? new Set();
    if (there) keys.add(key);
    else keys.delete(key);
    this.#routesByLink.set(link, keys);
  }
}

function onRule(message: Message): readonly Change[] {
  if (message.type !== RTM_NEWRULE && message.type !== RTM_DELRULE) return NOTHING;
  const item = readRule(message);
  if (item === undefined) return NOTHING;
  return [{ type: 'item', key: keyOf(item), seen: message.type === RTM_NEWRULE ? item : undefined }];
}
