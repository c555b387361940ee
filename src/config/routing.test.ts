/** Settings of routing protocols: what the file says, and what is wrong with it at its line. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '#model/fault.ts';
import type { RoutingConfig } from '#model/routing.ts';
import type { Settings } from '#model/settings.ts';
import { parseSettings } from './parse.ts';

const HEAD =
  'apiVersion: tartan.dev/v1\nkind: Settings\nnode: {name: a}\nnetwork: {ipv4: {range: 10.0.0.0/8}}\n';

function parse(text: string): Settings {
  return parseSettings([{ origin: 'f', text: HEAD + text }], { flannel: '' }).settings;
}

const routingOf = (text: string): RoutingConfig => parse(`routing:\n${text}`).routing;

function problemsOf(text: string): string[] {
  try {
    routingOf(text);
  } catch (error) {
    if (error instanceof Fault) return error.problems.map(({ path, message }) => `${path}: ${message}`);
  }
  return [];
}

test('BIRD runs where the road is bgp, or where it is asked for', () => {
  const enabled = (text: string): [string, string, boolean] => {
    const { road, routing } = parse(text);
    return [road.type, road.mode, routing.enabled];
  };
  assert.deepEqual(enabled(''), ['vxlan', 'Always', false]);
  assert.deepEqual(enabled('routing: {enabled: true}'), ['vxlan', 'Always', true]);
  assert.deepEqual(enabled('road: {type: bgp}'), ['bgp', 'Always', true]);
  assert.deepEqual(enabled('road: {type: bgp, mode: Never}'), ['bgp', 'Always', true]);
  assert.deepEqual(enabled('road: {type: bgp, mode: CrossSubnet}'), ['bgp-ipip', 'CrossSubnet', true]);
  assert.deepEqual(enabled('road: {type: bgp, mode: Always}'), ['bgp-ipip', 'Always', true]);
  assert.deepEqual(enabled('road: {type: bgp-ipip}'), ['bgp-ipip', 'Always', true]);
  assert.deepEqual(enabled('road: {type: bgp-ipip, mode: Never}'), ['bgp', 'Always', true]);
});

test('everything that can be said of a peer, of the mesh and of OSPF', () => {
  const { speaker, peers, node } = routingOf(
    `
  as: 64600
  nodeAs: 64601
  meshPasswordFile: /etc/tartan/secrets/mesh
  meshBfd: { enabled: true, intervalMs: 100 }
  reflector: { clusterId: 42, meshed: false }
  aggregates: [{ prefix: 10.0.0.0/16, nodes: has(edge) }]
  communities: [{ prefix: 10.0.0.0/16, communities: ['64512:1', '1:2:3'] }]
  services: { cluster: [10.96.0.0/12] }
  ospf: { area: 0.0.0.1, links: [{ name: 'eth*', cost: 5, passwordFile: /p }] }
  peers:
    - { name: rack, nodes: "rack == 'a'", address: 192.0.2.1, as: 65001, port: 1179, passwordFile: /p, hops: 2, ttlSecurity: true, bfd: {} }
    - { name: reflectors, peerNodes: has(rr), filters: [own] }
`.replace('42', "'42'"),
  );
  assert.deepEqual(node, { as: 64_601, reflector: { clusterId: '0.0.0.42', role: 'server', meshed: false } });
  assert.deepEqual(speaker.meshPassword, { kind: 'file', path: '/etc/tartan/secrets/mesh' });
  assert.deepEqual(speaker.meshBfd, { intervalMs: 100, multiplier: 3, graceful: false });
  assert.deepEqual(speaker.aggregates, [
    { prefix: '10.0.0.0/16', nodes: { op: 'has', scope: 'own', key: 'edge' } },
  ]);
  assert.deepEqual(speaker.tags[0]?.communities, [
    [64_512, 1],
    [1, 2, 3],
  ]);
  assert.deepEqual(speaker.services.ranges.cluster, ['10.96.0.0/12']);
  assert.deepEqual(speaker.ospf, {
    area: '0.0.0.1',
    links: [{ name: 'eth*', cost: 5, password: { kind: 'file', path: '/p' } }],
  });
  assert.deepEqual(peers[0]?.remote, { kind: 'address', address: '192.0.2.1', as: 65_001, port: 1179 });
  assert.deepEqual(peers[0]?.bfd, { intervalMs: 300, multiplier: 3, graceful: false });
  assert.deepEqual(peers[1]?.remote, { kind: 'nodes', selector: { op: 'has', scope: 'own', key: 'rr' } });
  assert.deepEqual(peers[1]?.filters, ['own']);
});

test('what is wrong with a peer is told', () => {
  assert.match(problemsOf('  peers: [{ name: a }]').join(), /address: must be there, or peerNodes/);
  assert.match(problemsOf('  peers: [{ name: a, address: 192.0.2.1 }]').join(), /as: is missing/);
  assert.match(problemsOf('  peers: [{ name: a, peerNodes: "has(", as: 1 }]').join(), /peerNodes: column/);
  assert.match(
    problemsOf('  peers: [{ name: a, address: 192.0.2.1, as: 1, ttlSecurity: true }]').join(),
    /hops: must be there/,
  );
  assert.match(
    problemsOf('  communities: [{ prefix: 10.0.0.0/8, communities: [x] }]').join(),
    /must be a community/,
  );
  assert.match(problemsOf('  ospf: { area: 0.0.0.0, links: [] }').join(), /links: must not be empty/);
});
