/** What doctor says of BIRD on a host. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { HostFacts } from '#model/facts.ts';
import { checkRouting } from './routing.ts';

const FINE = { port: 179, installed: true, otherDaemon: false, portTaken: false };

function say(routing: HostFacts['routing'], filterChains: HostFacts['filterChains'] = []): string[] {
  const facts = { filterChains, ...(routing === undefined ? {} : { routing }) } as HostFacts;
  return checkRouting(facts).map(({ check, severity }) => `${check} ${severity}`);
}

test('nothing is said where no routing protocol is spoken', () => {
  assert.deepEqual(say(undefined), []);
});

test('BIRD that is missing, that runs twice, a port that is taken', () => {
  assert.deepEqual(say(FINE), ['bird ok', 'bird-service ok', 'bgp-port ok']);
  assert.deepEqual(say({ ...FINE, installed: false })[0], 'bird error');
  assert.deepEqual(say({ ...FINE, otherDaemon: true })[1], 'bird-service warn');
  assert.deepEqual(say({ ...FINE, portTaken: true })[2], 'bgp-port error');
});

test('a firewall that drops what nobody named decides about the port', () => {
  const chain = { hook: 'input', family: 'inet', table: 't', chain: 'c', policy: 'drop' } as const;
  assert.deepEqual(say(FINE, [chain]).at(-1), 'bgp-firewall info');
  assert.equal(say(FINE, [{ ...chain, policy: 'accept' }]).length, 3);
  assert.equal(say(FINE, [{ ...chain, hook: 'forward' }]).length, 3);
});
