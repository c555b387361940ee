/**
 * The userspace tunnel: a TUN device for all peers, whose packets a process of its own carries over UDP, in clear as
 * flannel's backend of this name, or sealed. What comes in is taken from a node's own subnets only.
 */
import { MAIN_TABLE, TRIAL_LINK, TUNNEL_OVERHEAD, UDP_TUNNEL } from '#model/numbers.ts';
import type { NodeAdvert } from '#model/world.ts';
import { deviceMtu, type NetworkBackend, type Self, tunnelFamily } from './backend.ts';
import { planInside } from './inside.ts';
import { ofPort } from './outer.ts';

const LINK = UDP_TUNNEL.link;
/** 32 bytes in base64. */
const KEY = /^[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=$/;

type Terms = NonNullable<NodeAdvert['udp']>;

export const udp: NetworkBackend = {
  name: 'udp',
  title: 'the userspace tunnel',
  carrier: 'udp',
  // Not taken by `auto` unless it is named: its process would run on every node, for nothing where the kernel has better.
  seals: ({ road }) => road.udp.cipher !== 'plain',
  strict: ({ road: { udp } }) =>
    udp.strict && udp.cipher !== 'plain'
      ? { from: `iifname != "${LINK}"`, to: `oifname != "${LINK}"` }
      : undefined,
  overhead: (self) => TUNNEL_OVERHEAD[self.settings.road.udp.cipher][tunnelFamily(self)],
  advertise(self) {
    const terms = termsOf(self);
    return terms === undefined ? {} : { udp: terms };
  },
  mismatch,
  outer: ({ road }) => [ofPort(road.udp.port)],
  trial: () => [{ kind: 'link', type: 'tun', name: TRIAL_LINK }],
  planNode(self) {
    if (termsOf(self) === undefined) return [];
    const { port, cipher } = self.settings.road.udp;
    const mtu = deviceMtu(udp, self);
    return [
      { kind: 'link', type: 'tun', name: LINK, mtu },
      { kind: 'tunnel', link: LINK, node: self.name, mtu, port, cipher },
      ...planInside(self, LINK),
    ];
  },
  planPeer(self, node, legs) {
    const endpoint = node.addresses[tunnelFamily(self)];
    if (node.udp === undefined || endpoint === undefined) return [];
    const { port, publicKeys = [] } = node.udp;
    const allowed = legs.map(({ prefix }) => prefix).sort();
    return [{ kind: 'tunnel-peer', link: LINK, peer: node.name, endpoint, port, publicKeys, allowed }];
  },
  planLeg(self, { prefix, metric, mtu }) {
    const narrow = mtu < deviceMtu(udp, self) ? { mtu } : {};
    return [{ kind: 'route', type: 'unicast', prefix, table: MAIN_TABLE, metric, link: LINK, ...narrow }];
  },
};

/** Undefined: sealed with a key per node, and there is none yet. */
function termsOf({ settings, tunnelKeys = [] }: Self): Terms | undefined {
  const { port, cipher, passwordFile } = settings.road.udp;
  if (cipher === 'plain' || passwordFile !== undefined) return { port, cipher };
  return tunnelKeys.length === 0 ? undefined : { port, cipher, publicKeys: tunnelKeys };
}

function mismatch(self: Self, node: NodeAdvert): string | undefined {
  const [own, theirs] = [termsOf(self), node.udp];
  if (own === undefined) return 'this node has no key for the userspace tunnel';
  if (theirs === undefined) return `${node.name} does not tell its terms for the userspace tunnel`;
  if (theirs.cipher !== own.cipher)
    return `${node.name} has ${theirs.cipher} in the userspace tunnel, this node ${own.cipher}`;
  if (!(Number.isInteger(theirs.port) && theirs.port > 0 && theirs.port < 0x1_0000))
    return `${node.name} tells no usable port of the userspace tunnel`;
  return keyMismatch(own, theirs, node.name);
}

function keyMismatch(
  { publicKeys: own }: Terms,
  { publicKeys: theirs }: Terms,
  name: string,
): string | undefined {
  if (own === undefined || theirs === undefined) {
    if (own === theirs) return undefined;
    const [here, there] =
      own === undefined ? ['a password', 'a key per node'] : ['a key per node', 'a password'];
    return `${name} has ${there} in the userspace tunnel, this node ${here}`;
  }
  if (theirs.length === 0 || !theirs.every((key) => KEY.test(key)))
    return `${name} tells no usable key of the userspace tunnel`;
  const taken = theirs.find((key) => own.includes(key));
  return taken === undefined ? undefined : `${name} claims this node’s key ${taken}`;
}
