import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { NodeAdvert } from '#model/world.ts';
import { address } from '#net/address.ts';
import { mac } from '#net/mac.ts';
import { prefix } from '#net/prefix.ts';
import { readFlannelLeases } from './flannel-lease.ts';
import { claimsOfPeers, leaseOfAdvert, peersOfLeases } from './flannel-peer.ts';

const VALUE =
  '{"PublicIP":"192.0.2.3","PublicIPv6":null,"BackendType":"vxlan","BackendData":{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}}';
const ADVERT: NodeAdvert = {
  name: 'b',
  addresses: { 4: address('192.0.2.3') },
  subnets: { 4: prefix('10.244.3.0/24') },
  road: 'vxlan',
  vxlan: { vni: 1, port: 8472, mac: { 4: mac('c6:d2:32:6f:8f:44') } },
  mtu: 1500,
  ready: true,
};
const read = (value: string, isLeased = true) =>
  readFlannelLeases([{ key: '10.244.3.0-24', value, isLeased }]).leases;

test('the lease of an advert is flannel’s to the letter, and back again a peer', () => {
  assert.deepEqual(leaseOfAdvert(ADVERT), { key: '10.244.3.0-24', value: VALUE });
  const [peer] = peersOfLeases(read(VALUE), { known: new Set(), vxlanPort: 8472 }).values();
  const { name, mtu, accepts, ...same } = peer as NodeAdvert;
  assert.deepEqual({ ...same, name: 'b', mtu: 1500 }, ADVERT);
  assert.deepEqual([name, mtu, accepts], ['flannel 192.0.2.3', 65_535, ['vxlan']]);
});

test('a node that tells of itself is no peer by its lease, and its subnet no claim of flannel’s', () => {
  const known = new Set([address('192.0.2.3')]);
  assert.equal(peersOfLeases(read(VALUE), { known, vxlanPort: 8472 }).size, 0);
  assert.deepEqual(claimsOfPeers(read(VALUE), known), []);
  assert.deepEqual(claimsOfPeers(read(VALUE), new Set()), [
    { node: 'flannel 192.0.2.3', subnet: '10.244.3.0/24', reserved: true },
  ]);
});

test('reservations are claims and no peers; roads that are not shared are neither told nor read', () => {
  const reserved = read('{"PublicIP":"192.0.2.3"}', false);
  assert.equal(peersOfLeases(reserved, { known: new Set(), vxlanPort: 8472 }).size, 0);
  assert.equal(claimsOfPeers(reserved, new Set()).length, 1);
  assert.equal(leaseOfAdvert({ ...ADVERT, road: 'udp' }), undefined);
  const { vxlan: _, ...mute } = ADVERT;
  assert.equal(leaseOfAdvert(mute), undefined);
  assert.match(leaseOfAdvert({ ...mute, road: 'host-gw' })?.value ?? '', /"BackendType":"host-gw"\}$/);
});
