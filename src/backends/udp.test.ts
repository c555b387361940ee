import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Item } from '#model/host.ts';
import type { UdpSettings } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import type { Self } from './backend.ts';
import { advertOf, planNode, planPeer, podMtu } from './node-plan.ts';
import { keyOfNode, peerOf, selfOf } from './testing/nodes.ts';

function selfWith(udp: Partial<UdpSettings>, tunnelKeys?: readonly string[]): Self {
  const { tunnelKeys: _own, ...self } = selfOf('udp');
  const { road } = self.settings;
  const settings = { ...self.settings, road: { ...road, udp: { ...road.udp, ...udp } } };
  return { ...self, settings, ...(tunnelKeys === undefined ? {} : { tunnelKeys }) };
}

function peerWith(udp: NodeAdvert['udp'] | undefined): NodeAdvert {
  const { udp: _own, ...peer } = peerOf('udp');
  return { ...peer, ...(udp === undefined ? {} : { udp }) };
}

const why = (self: Self, node: NodeAdvert): string => planPeer(self, node).unreachable[0]?.why ?? '';
const kinds = (items: readonly Item[]): string[] => items.map(({ kind }) => kind);

test('one device and one process for all peers; a peer is its address, its keys and its own subnets', () => {
  const self = selfOf('udp');
  const [link, tunnel] = planNode(self)
    .filter(({ kind }) => kind === 'link' || kind === 'tunnel')
    .slice(-2);
  assert.deepEqual(link, { kind: 'link', type: 'tun', name: 'tartan.udp', mtu: 1432 });
  assert.deepEqual(tunnel, {
    kind: 'tunnel',
    link: 'tartan.udp',
    node: 'a',
    mtu: 1432,
    port: 8285,
    cipher: 'aes-256-gcm',
  });
  const { items, legs } = planPeer(self, peerOf('udp'));
  assert.deepEqual(kinds(items), ['nft-element', 'tunnel-peer', 'route', 'route']);
  assert.deepEqual(
    legs.map(({ carrier, mtu }) => [carrier, mtu]),
    [
      ['udp', 1432],
      ['udp', 1432],
    ],
  );
  assert.deepEqual(items[1], {
    kind: 'tunnel-peer',
    link: 'tartan.udp',
    peer: 'peer-2',
    endpoint: '192.0.2.2',
    port: 8285,
    publicKeys: [keyOfNode('peer-2')],
    allowed: ['10.244.2.0/24', 'fd00:244:0:2::/64'],
  });
});

test('in clear, by key and by password: what is told, and what it costs', () => {
  const mtu = { plain: 1448, 'aes-256-gcm': 1432, 'chacha20-poly1305': 1432 } as const;
  for (const [cipher, bytes] of Object.entries(mtu) as [UdpSettings['cipher'], number][]) {
    const self = selfWith({ cipher, passwordFile: '/word' });
    assert.equal(podMtu(self), bytes);
    assert.deepEqual(advertOf(self, true).udp, { port: 8285, cipher });
  }
  assert.deepEqual(advertOf(selfWith({}, ['one', 'two']), true).udp, {
    port: 8285,
    cipher: 'aes-256-gcm',
    publicKeys: ['one', 'two'],
  });
});

test('nodes that cannot meet say why', () => {
  const terms = { port: 8285, cipher: 'aes-256-gcm', publicKeys: [keyOfNode('b')] } as const;
  const self = selfOf('udp');
  assert.equal(why(self, peerWith(terms)), '');
  assert.match(why(self, peerWith(undefined)), /peer-2 does not tell its terms/);
  assert.match(
    why(self, peerWith({ ...terms, cipher: 'plain' })),
    /peer-2 has plain in the .*, this node aes-256-gcm/,
  );
  assert.match(
    why(self, peerWith({ port: 8285, cipher: 'aes-256-gcm' })),
    /has a password .*, this node a key per node/,
  );
  assert.match(why(self, peerWith({ ...terms, publicKeys: ['AAAA'] })), /no usable key/);
  assert.match(why(self, peerWith({ ...terms, publicKeys: [] })), /no usable key/);
  assert.match(why(self, peerWith({ ...terms, port: 0 })), /no usable port/);
  assert.match(why(self, peerWith({ ...terms, publicKeys: [keyOfNode('a')] })), /claims this node’s key/);
  assert.match(why(selfWith({}), peerWith(terms)), /this node has no key/);
  assert.deepEqual(kinds(planNode(selfWith({}))).includes('tunnel'), false);
  const word = selfWith({ passwordFile: '/word' });
  assert.match(why(word, peerWith(terms)), /has a key per node .*, this node a password/);
  assert.equal(why(word, peerWith({ port: 1, cipher: 'aes-256-gcm' })), '');
});
