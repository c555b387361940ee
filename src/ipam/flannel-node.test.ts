import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { NodeAdvert } from '#model/world.ts';
import { addressFrom, type Family } from '#net/address.ts';
import { mac } from '#net/mac.ts';
import type { PerFamily } from '#net/per-family.ts';
import { prefix, type Prefix, prefixOf } from '#net/prefix.ts';
import {
  flannelAnnotations,
  isFlannelAnnotation,
  overwrittenAddresses,
  readFlannelNode,
} from './flannel-node.ts';

const OPTIONS = { vxlanPort: 8472, outer: 4 } as const;
/** Of a node where flannel 0.28 runs, with both families. */
const FLANNEL = {
  'flannel.alpha.coreos.com/backend-data': '{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:44"}',
  'flannel.alpha.coreos.com/backend-type': 'vxlan',
  'flannel.alpha.coreos.com/backend-v6-data': '{"VNI":1,"VtepMAC":"c6:d2:32:6f:8f:46"}',
  'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
  'flannel.alpha.coreos.com/public-ip': '192.168.64.3',
  'flannel.alpha.coreos.com/public-ipv6': 'fd00:64::3',
};
const SUBNETS = { 4: prefix('10.244.1.0/24'), 6: prefix('fd00:10:1::/64') };

test('a node of flannel’s is a peer: by VXLAN over the family that is outside here', () => {
  const node = { name: 'a', annotations: FLANNEL, subnets: SUBNETS };
  const peer = {
    name: 'a',
    addresses: { 4: '192.168.64.3', 6: 'fd00:64::3' },
    subnets: SUBNETS,
    road: 'vxlan',
    mtu: 65_535,
    ready: true,
  };
  const by4 = { vni: 1, port: 8472, mac: { 4: 'c6:d2:32:6f:8f:44' } };
  assert.deepEqual(readFlannelNode(node, OPTIONS), { ...peer, vxlan: by4 });
  const by6 = { ...by4, mac: { 6: 'c6:d2:32:6f:8f:46' } };
  assert.deepEqual(readFlannelNode(node, { ...OPTIONS, outer: 6 }), { ...peer, vxlan: by6 });
});

test('a node without flannel is none, and one of a road that is not shared says so', () => {
  const read = (annotations: Record<string, string>) =>
    readFlannelNode({ name: 'a', annotations, subnets: SUBNETS }, OPTIONS);
  assert.equal(read({}), undefined);
  assert.equal(read({ ...FLANNEL, 'flannel.alpha.coreos.com/kube-subnet-manager': 'false' }), undefined);
  assert.deepEqual(read({ ...FLANNEL, 'flannel.alpha.coreos.com/backend-type': 'udp' }), [
    {
      path: 'Node a flannel.alpha.coreos.com/backend-type',
      message: 'is "udp"; vxlan, host-gw, ipip, wireguard are shared',
    },
  ]);
  const wrong = read({
    'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
    'flannel.alpha.coreos.com/backend-type': 'vxlan',
    'flannel.alpha.coreos.com/backend-data': '{"VNI":1,"VtepMAC":"; rm -rf /"}',
    'flannel.alpha.coreos.com/public-ip': 'fd00::1',
  });
  assert.deepEqual(
    (wrong as { path: string }[]).map(({ path }) => path.split('/')[1]),
    ['public-ip', 'backend-data'],
  );
});

test('in flannel’s words, with whatever prefix flanneld was given', () => {
  const advert = vxlanNode({ 4: 0x0a00_0001n });
  assert.deepEqual(flannelAnnotations(advert), {
    'flannel.alpha.coreos.com/kube-subnet-manager': 'true',
    'flannel.alpha.coreos.com/backend-type': 'vxlan',
    'flannel.alpha.coreos.com/backend-data': '{"VNI":1,"VtepMAC":"02:00:00:00:00:01"}',
    'flannel.alpha.coreos.com/public-ip': '10.0.0.1',
  });
  for (const [given, first] of [
    ['net.example', 'net.example/backend-data'],
    ['net.example/two', 'net.example/two-backend-data'],
    ['net.example/two-', 'net.example/two-backend-data'],
  ] as const) {
    const keys = Object.keys(flannelAnnotations(advert, given));
    assert.ok(keys.includes(first), keys.join(' '));
    assert.ok(keys.every((key) => isFlannelAnnotation(key, given)));
  }
  assert.deepEqual(flannelAnnotations({ ...advert, road: 'gre' }), {});
});

test('both families by VXLAN: flannel is told that IPv6 is not reached, as it has another device for it', () => {
  const annotations = flannelAnnotations(vxlanNode({ 4: 1n, 6: 2n }));
  assert.equal(annotations['flannel.alpha.coreos.com/backend-v6-data'], 'null');
  assert.equal(annotations['flannel.alpha.coreos.com/public-ipv6'], '::2');
  assert.match(annotations['flannel.alpha.coreos.com/backend-data'] ?? '', /02:00:00:00:00:01/);
});

test('what the operator has announced in place of the node’s own addresses', () => {
  const annotations = {
    'flannel.alpha.coreos.com/public-ip-overwrite': '203.0.113.9',
    'flannel.alpha.coreos.com/public-ipv6-overwrite': '203.0.113.9',
  };
  assert.deepEqual(overwrittenAddresses(annotations), { 4: '203.0.113.9' });
});

function vxlanNode(addresses: PerFamily<bigint>): NodeAdvert {
  return { ...nodeAt(addresses), road: 'vxlan', vxlan: { vni: 1, port: 8472, mac: macsOf(addresses) } };
}

function macsOf(addresses: PerFamily<bigint>) {
  return {
    ...(addresses[4] === undefined ? {} : { 4: mac('02:00:00:00:00:01') }),
    ...(addresses[6] === undefined ? {} : { 6: mac('02:00:00:00:00:01') }),
  };
}

function nodeAt(values: PerFamily<bigint>): NodeAdvert {
  const each = <T>(make: (family: Family, value: bigint) => T): PerFamily<T> => ({
    ...(values[4] === undefined ? {} : { 4: make(4, values[4]) }),
    ...(values[6] === undefined ? {} : { 6: make(6, values[6]) }),
  });
  const subnets = each((family, value): Prefix =>
    prefixOf(addressFrom(family, value), family === 4 ? 24 : 64),
  );
  return {
    name: 'n',
    addresses: each((family, value) => addressFrom(family, value)),
    subnets,
    road: 'host-gw',
    mtu: 1500,
    ready: true,
  };
}

test('what is written of a node is read as the same node', () => {
  const four = fc.bigInt(1n, (1n << 32n) - 1n);
  const six = fc.bigInt(1n, (1n << 128n) - 1n);
  const places = fc.oneof(
    four.map((value): PerFamily<bigint> => ({ 4: value })),
    six.map((value): PerFamily<bigint> => ({ 6: value })),
    fc.tuple(four, six).map(([a, b]): PerFamily<bigint> => ({ 4: a, 6: b })),
  );
  const roads = fc.constantFrom('vxlan', 'host-gw', 'ipip', 'wireguard');
  const key = 'AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=';
  fc.assert(
    fc.property(
      places,
      roads,
      fc.nat(0xff_ffff),
      fc.integer({ min: 1, max: 65_535 }),
      (at, road, vni, port) => {
        const outer = at[4] === undefined ? 6 : 4;
        const data = {
          ...(road === 'vxlan' ? { vxlan: { vni, port, mac: macsOf(at) } } : {}),
          ...(road === 'wireguard' ? { wireguard: { publicKey: key, port } } : {}),
        };
        const advert: NodeAdvert = { ...nodeAt(at), road, ...data };
        const annotations = flannelAnnotations(advert);
        const read = readFlannelNode(
          { name: 'n', annotations, subnets: advert.subnets },
          { vxlanPort: port, outer },
        );
        if (road === 'ipip' && outer === 6) return assert.deepEqual([annotations, read], [{}, undefined]);
        assert.ok(read !== undefined && !Array.isArray(read), JSON.stringify(read));
        const { addresses, subnets, vxlan, wireguard } = read;
        const isOfFour = road === 'ipip';
        assert.deepEqual(addresses, isOfFour ? { 4: advert.addresses[4] } : advert.addresses);
        assert.deepEqual(subnets, isOfFour ? { 4: advert.subnets[4] } : advert.subnets);
        assert.deepEqual(wireguard, advert.wireguard);
        const mine = advert.vxlan && { vni, port, mac: { [outer]: advert.vxlan.mac[outer] } };
        assert.deepEqual(vxlan, mine);
      },
    ),
  );
});

test('whatever stands in annotations: a node, problems or nothing, and never a throw', () => {
  const suffixes = Object.keys(FLANNEL);
  const text = fc.oneof(fc.string(), fc.json(), fc.constantFrom(...Object.values(FLANNEL)));
  const annotations = fc.dictionary(fc.constantFrom(...suffixes), text);
  fc.assert(
    fc.property(annotations, (given) => {
      const all = { ...given, 'flannel.alpha.coreos.com/kube-subnet-manager': 'true' };
      const read = readFlannelNode({ name: 'a', annotations: all, subnets: SUBNETS }, OPTIONS);
      assert.ok(read !== undefined);
      if (Array.isArray(read)) return assert.ok(read.length > 0);
      const { addresses, vxlan, road } = read;
      assert.ok(addresses[4] !== undefined || addresses[6] !== undefined);
      if (road === 'vxlan') assert.match(vxlan?.mac[4] ?? '', /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    }),
  );
});
