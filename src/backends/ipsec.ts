/**
 * IPsec with the kernel's ESP in tunnel mode (RFC 4303) and AES-256-GCM (RFC 4106), without a daemon for keys
 * (docs/decisions/0012-ipsec.md). One device for all peers: what is routed there is sealed as a policy says or dropped, so that
 * nothing leaves plain while policies and states change. A peer's packets are taken from its own subnets only.
 *
 * A key is named by everything that must be new when the key has to be: the secret, and of both nodes what they are called,
 * where they are, and what they drew since they lost a state. The SPI follows from the name.
 */
import { fnv1a64 } from '#lib/hash.ts';
import type { Item, XfrmPolicyItem, XfrmStateItem } from '#model/host.ts';
import type { IpsecNode } from '#model/ipsec.ts';
import type { Leg } from '#model/leg.ts';
import { ENCAPSULATION, MAIN_TABLE, TRIAL_LINK, XFRM } from '#model/numbers.ts';
import type { NodeAdvert } from '#model/world.ts';
import type { Address, Family } from '#net/address.ts';
import { prefix, prefixFamily } from '#net/prefix.ts';
import { deviceMtu, type NetworkBackend, type Placed, type Self, tunnelFamily } from './backend.ts';
import { planInside } from './inside.ts';
import { ofPort, ofProtocols } from './outer.ts';

const LINK = XFRM.link;
const ANY = { 4: prefix('0.0.0.0/0'), 6: prefix('::/0') } as const;
/** Packets that may be overtaken by so many others: several queues and processors carry one path. */
const REPLAY_WINDOW = 2048;
/** SPIs of others: IKE daemons draw theirs from 0xc0000000 on, people write small ones. */
const SPI = { first: 0x1000_0000, count: 0xb000_0000n } as const;

/** Outer header, UDP (RFC 3948, 8 bytes), SPI and sequence number (8), IV (8) and tag (16). */
const SEALED_BYTES: Readonly<Record<Family, number>> = { 4: 20 + 40, 6: 40 + 40 };
/** Padding makes the packet and two bytes of ESP's trailer a multiple of this. */
const BLOCK = 4;
const TRAILER_BYTES = 2;

/** The largest packet that fits when it is padded. */
function paddedMtu(mtu: number): number {
  return Math.floor((mtu + TRAILER_BYTES) / BLOCK) * BLOCK - TRAILER_BYTES;
}

export const ipsec: NetworkBackend = {
  name: 'ipsec',
  title: 'IPsec',
  carrier: 'ipsec',
  automatic: true,
  seals: () => true,
  trial: () => [{ kind: 'link', type: 'xfrm', name: TRIAL_LINK, ifId: XFRM.ifId ^ 1 }],
  /** UDP's bytes are always counted: pods keep their MTU, and a peer behind a NAT may come at any time. */
  overhead: (self) => {
    const { mtu } = self.underlay;
    return mtu - paddedMtu(mtu - SEALED_BYTES[tunnelFamily(self)] - TRAILER_BYTES);
  },
  advertise(self) {
    if (self.ipsec === undefined) return {};
    const { nonce, again, announced } = self.ipsec;
    const { port } = self.settings.road.ipsec;
    return { ipsec: { nonce, again, secrets: announced, port, udp: needsUdp(self) } };
  },
  mismatch,
  /** An operator who rotates secrets looks for this before the old one goes. */
  far(self, node) {
    const pair = pairOf(self, node);
    const [secret = ''] = pair?.common ?? [];
    const way = pair?.ports === undefined ? '' : ' in UDP';
    return { why: `IPsec over IPv${tunnelFamily(self)}${way}, by the secret ${secret.split(':')[0]}` };
  },
  outer: ({ road }) => [ofProtocols([ENCAPSULATION.esp]), ofPort(road.ipsec.port)],
  strict: ({ road }) =>
    road.ipsec.strict ? { from: `iifname != "${LINK}"`, to: `oifname != "${LINK}"` } : undefined,
  planNode(self) {
    if (self.ipsec === undefined) return [];
    return [
      { kind: 'link', type: 'xfrm', name: LINK, ifId: XFRM.ifId, mtu: deviceMtu(ipsec, self) },
      ...planInside(self, LINK),
    ];
  },
  planPeer(self, node, legs) {
    const pair = pairOf(self, node);
    if (pair === undefined) return [];
    return [...portsOf(pair), ...states(pair), ...legs.flatMap((leg) => policies(pair, leg))];
  },
  planLeg(self, leg) {
    const width = paddedMtu(leg.mtu);
    const mtu = width < deviceMtu(ipsec, self) ? { mtu: width } : {};
    const { prefix, metric } = leg;
    return [{ kind: 'route', type: 'unicast', prefix, table: MAIN_TABLE, metric, link: LINK, ...mtu }];
  },
};

/** One node of a pair, as both know it. */
type End = {
  readonly name: string;
  readonly address: Address;
  readonly nonce: string;
  readonly again: number;
};
type Pair = {
  readonly self: End;
  readonly peer: End;
  readonly local: Address;
  readonly ports?: { readonly own: number; readonly far: number };
  /** By which packets may come, and may leave; the first one is sent by. */
  readonly taken: readonly string[];
  readonly common: readonly string[];
};

function pairOf(self: Self, node: NodeAdvert): Pair | undefined {
  const outer = tunnelFamily(self);
  const { local, announced } = self.underlay;
  const [own, address, far] = [local[outer], announced[outer], node.addresses[outer]];
  const [mine, theirs] = [self.ipsec, node.ipsec];
  if (!own || !address || !far || mine === undefined || theirs === undefined) return undefined;
  return {
    self: { name: self.name, address, nonce: mine.nonce, again: mine.again[node.name] ?? 0 },
    peer: { name: node.name, address: far, nonce: theirs.nonce, again: theirs.again[self.name] ?? 0 },
    local: own,
    taken: mine.secrets,
    common: commonSecrets(mine.secrets, theirs),
    ...(needsUdp(self) || theirs.udp
      ? { ports: { own: self.settings.road.ipsec.port, far: theirs.port } }
      : {}),
  };
}

function commonSecrets(mine: readonly string[], theirs: IpsecNode): string[] {
  return mine.filter((secret) => theirs.secrets.includes(secret));
}

/** ESP passes no NAT that translates ports, so a node whose address is not its own asks for UDP. */
function needsUdp({ settings, underlay }: Placed): boolean {
  const outer = tunnelFamily({ settings, underlay });
  return settings.road.ipsec.udp === 'always' || underlay.announced[outer] !== underlay.local[outer];
}

/** No part of it has a blank. */
function keyName(secret: string, sender: End, receiver: End, udp: boolean): string {
  const ends = [sender, receiver].map(({ name, address, nonce, again }) =>
    [name, nonce, again, address].join('/'),
  );
  return [secret, ...ends, ...(udp ? ['udp'] : [])].join(' ');
}

export function spiOf(key: string): number {
  return SPI.first + Number(fnv1a64(key) % SPI.count);
}

function portsOf(pair: Pair): Item[] {
  if (pair.ports === undefined) return [];
  return [{ kind: 'esp-port', local: pair.local, port: pair.ports.own }];
}

function states(pair: Pair): XfrmStateItem[] {
  const { self, peer, local, ports } = pair;
  const udp = ports !== undefined;
  const state = (key: string): Omit<XfrmStateItem, 'source' | 'destination'> => ({
    kind: 'xfrm-state',
    spi: spiOf(key),
    mode: 'tunnel',
    ifId: XFRM.ifId,
    replayWindow: REPLAY_WINDOW,
    key,
  });
  return [
    ...pair.taken.map((secret) => ({
      ...state(keyName(secret, peer, self, udp)),
      source: peer.address,
      destination: local,
      ...(udp ? { sourcePort: ports.far, destinationPort: ports.own } : {}),
    })),
    ...pair.common.map((secret) => ({
      ...state(keyName(secret, self, peer, udp)),
      source: local,
      destination: peer.address,
      ...(udp ? { sourcePort: ports.own, destinationPort: ports.far } : {}),
    })),
  ];
}

function policies({ self, peer, local, common, ports }: Pair, leg: Leg): XfrmPolicyItem[] {
  const any = ANY[prefixFamily(leg.prefix)];
  const [secret] = common;
  const shared = { kind: 'xfrm-policy', ifId: XFRM.ifId, action: 'seal', mode: 'tunnel' } as const;
  const taken = { source: leg.prefix, destination: any, from: peer.address, to: local };
  return [
    { ...shared, direction: 'in', ...taken },
    { ...shared, direction: 'fwd', ...taken },
    ...(secret === undefined
      ? []
      : [
          {
            ...shared,
            direction: 'out',
            source: any,
            destination: leg.prefix,
            from: local,
            to: peer.address,
            spi: spiOf(keyName(secret, self, peer, ports !== undefined)),
          } as const,
        ]),
  ];
}

const NAME = /^[^\s/]+$/;
const NONCE = /^[\w-]{22}$/;
const SECRET = /^[\w.-]{1,32}:[0-9a-f]{16}$/;

function isUsable({ nonce, again, secrets, port }: IpsecNode): boolean {
  return (
    NONCE.test(nonce) &&
    secrets.every((each) => SECRET.test(each)) &&
    Object.values(again).every((each) => Number.isSafeInteger(each) && each >= 0) &&
    Number.isInteger(port) &&
    port > 0 &&
    port < 0x1_0000
  );
}

/** Why the two cannot talk, whatever the family. */
function mismatch(self: Self, node: NodeAdvert): string | undefined {
  if (node.ipsec === undefined) return `${node.name} does not tell its IPsec parameters`;
  if (self.ipsec === undefined) return 'this node has no IPsec secrets';
  if (!isUsable(node.ipsec) || !NAME.test(node.name)) return `${node.name} tells no usable IPsec parameters`;
  const { secrets } = self.ipsec;
  if (commonSecrets(secrets, node.ipsec).length > 0) return undefined;
  const names = (all: readonly string[]): string[] => all.map((each) => each.split(':')[0] ?? '');
  const theirs = names(node.ipsec.secrets);
  const other = names(secrets).find((name) => theirs.includes(name));
  if (other !== undefined) return `${node.name} has another IPsec secret by the name ${other}`;
  return `${node.name} has none of this node’s IPsec secrets (${names(secrets).join(', ')}), but ${theirs.join(', ') || 'none'}`;
}
