import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { MeasuredRoad, Measurements } from '#model/measurement.ts';
import type { Answers } from './answers.ts';
import { roadFor } from './road.ts';

const road = (name: string, left: number, encrypted = false, policies = 0): MeasuredRoad => ({
  road: name,
  title: name,
  encrypted,
  settings: { type: name },
  policies,
  memoryMiB: 1,
  series: [{ metric: 'tcp', road: [{ value: left * 100 }], bare: [{ value: 100 }] }],
});
const measured = (...roads: readonly MeasuredRoad[]): Measurements => ({
  format: 1,
  at: '2026-01-01',
  host: { kernel: '6.12', cpu: 'c', cpus: 2, memoryMiB: 1 },
  rounds: 1,
  runMs: 1,
  roads,
  missing: [],
});
const type = (...words: Parameters<typeof roadFor>): unknown => roadFor(...words)?.road?.['type'];

test('without measurements: by what is asked and what the kernel has', () => {
  assert.equal(roadFor('flannel', {}), undefined);
  assert.deepEqual(roadFor('flannel', { prefer: ['throughput'] })?.road, { mode: 'CrossSubnet' });
  assert.equal(roadFor('kubenet', { prefer: ['throughput'] }), undefined);
  assert.equal(type('flannel', { needs: ['encryption'] }), 'wireguard');
  assert.equal(type('flannel', { needs: ['encryption'], lacks: ['wireguard'] }), 'udp');
  assert.equal(type('flannel', { lacks: ['vxlan'] }), 'udp');
  assert.equal(type('flannel', { lacks: ['vxlan'], subnets: 'one' }), 'host-gw');
});

test('multicast asks for one Ethernet, unless something else is asked that this cannot have', () => {
  assert.equal(type('flannel', { needs: ['multicast'] }), 'layer2');
  const both = roadFor('flannel', { needs: ['multicast'], policies: ['kubernetes'] });
  assert.equal(both?.road, undefined);
  assert.match(both?.why ?? '', /no room for policies/);
});

test('measured: the fastest that does what is asked, and why', () => {
  const all = measured(
    road('vxlan', 0.8),
    road('host-gw', 0.95),
    road('wireguard', 0.4, true),
    road('udp', 0.5, true),
  );
  const fast: Answers = { prefer: ['throughput'] };
  assert.equal(type('flannel', { ...fast, subnets: 'one' }, all), 'host-gw');
  assert.equal(type('flannel', { ...fast, subnets: 'several' }, all), 'vxlan');
  assert.equal(type('flannel', { needs: ['encryption'] }, all), 'udp');
  assert.match(
    roadFor('flannel', { needs: ['encryption'] }, all)?.why ?? '',
    /udp .*0\.50.*wireguard .*0\.40/,
  );
  assert.equal(roadFor('flannel', { prefer: ['memory'] }, all), undefined, 'nobody asked for speed');
  assert.equal(type('flannel', { needs: ['encryption'] }, measured(road('vxlan', 1))), 'wireguard');
});

test('with the most policies: what counts is how fast it is then', () => {
  const all = measured(
    road('a', 0.9),
    road('b', 0.8),
    road('a', 0.3, false, 1000),
    road('b', 0.7, false, 1000),
  );
  assert.equal(type('flannel', { prefer: ['throughput'] }, all), 'b');
});
