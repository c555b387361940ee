/** Whatever can be said is a configuration that the real BIRD reads: the golden files, and random clusters. */
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import fc from 'fast-check';
import type { Community, FilterRule, PeerRule, RouteFilter, SecretRef } from '#model/routing.ts';
import { EVERYTHING } from '#model/policy.ts';
import { address, addressFrom, type Family } from '#net/address.ts';
import { prefixOf } from '#net/prefix.ts';
import { withPasswords } from '../../src/bird/secrets.ts';
import { planRouting, secretsOf, type RoutingInput, type RoutingPlan } from '../../src/routing/plan.ts';
import { passwordSymbol, renderBird } from '../../src/routing/render.ts';
import { CASES } from '../../src/routing/testing/cases.ts';
import { inputOf, nodeOf, SETTINGS } from '../../src/routing/testing/cluster.ts';
import { whyNoKernel } from './namespace.ts';
import { checkConfig } from './routing-net.ts';

const skip = whyNoKernel(['bird']) ?? false;
const directory = mkdtempSync(join(tmpdir(), 'pm-'));
after(() => rmSync(directory, { recursive: true, force: true }));

function writtenOf(text: string, plan: RoutingPlan): string {
  return withPasswords(text, new Map(secretsOf(plan).map((ref) => [passwordSymbol(ref), 'a pass{word};$'])));
}

for (const [name, input] of Object.entries(CASES)) {
  test(`${name}: BIRD reads the golden file`, { skip }, async () => {
    const { plan } = planRouting(input);
    assert.ok(plan !== undefined);
    const text = readFileSync(`test/golden/bird/${name}.conf`, 'utf8');
    assert.equal(await checkConfig(directory, writtenOf(text, plan)), '');
  });
}

const asNumber = fc.integer({ min: 1, max: 0xffff_ffff });
const community: fc.Arbitrary<Community> = fc.oneof(
  fc.tuple(fc.nat(0xffff), fc.nat(0xffff)),
  fc.tuple(asNumber, asNumber, asNumber),
);
const name = fc.string({ minLength: 1, maxLength: 80, unit: 'grapheme' });
const secret: fc.Arbitrary<SecretRef> = fc.record({ kind: fc.constant('file'), path: name });
const maybe = <T>(value: fc.Arbitrary<T>): fc.Arbitrary<T | undefined> =>
  fc.option(value, { nil: undefined });

function prefixes(family: Family) {
  return fc
    .tuple(
      fc.bigInt({ min: 1n, max: (1n << BigInt(family === 4 ? 32 : 128)) - 1n }),
      fc.nat(family === 4 ? 32 : 128),
    )
    .map(([value, length]) => prefixOf(addressFrom(family, value), length));
}

/** Without fields that are undefined. */
function present<T>(value: T): T {
  return Object.fromEntries(Object.entries(value as object).filter(([, each]) => each !== undefined)) as T;
}

function rulesOf(family: Family): fc.Arbitrary<FilterRule[]> {
  const length = fc.nat(family === 4 ? 32 : 128);
  const operator = fc.constantFrom('equal', 'not-equal', 'in', 'not-in');
  const rule = fc.record({
    prefix: maybe(
      fc.record({ within: prefixes(family), operator, min: maybe(length), max: maybe(length) }).map(present),
    ),
    learned: maybe(fc.constant(true)),
    interface: maybe(fc.constantFrom('eth0', 'eth*', '*')),
    peer: maybe(fc.constantFrom('external', 'internal')),
    community: maybe(community),
    pathBegins: maybe(fc.array(asNumber, { minLength: 1, maxLength: 3 })),
    priority: maybe(fc.integer({ min: 1, max: 2_147_483_646 })),
    action: fc.constantFrom('accept', 'reject'),
    operations: fc.array(
      fc.oneof(
        fc.record({ add: community }),
        fc.record({ prepend: fc.array(asNumber, { minLength: 1, maxLength: 10 }) }),
        fc.record({ priority: fc.integer({ min: 1, max: 2_147_483_646 }) }),
      ),
      { maxLength: 3 },
    ),
  });
  return fc.array(rule.map(present) as fc.Arbitrary<FilterRule>, { maxLength: 4 });
}

const both = fc.record({ 4: rulesOf(4), 6: rulesOf(6) });
const filter: fc.Arbitrary<RouteFilter> = fc.record({
  name,
  rules: fc.record({ import: both, export: both }),
});

const peer = fc.record({
  number: fc.integer({ min: 20, max: 200 }),
  family: fc.constantFrom<Family>(4, 6),
  title: name,
  as: asNumber,
  port: maybe(fc.integer({ min: 1, max: 65_535 })),
  localAs: maybe(asNumber),
  nextHop: fc.constantFrom('auto', 'self', 'keep'),
  password: maybe(secret),
  source: fc.constantFrom('node', 'any'),
  restartS: maybe(fc.nat(4095)),
  keepaliveS: maybe(fc.integer({ min: 1, max: 21_845 })),
  allowLocalAs: maybe(fc.nat(10)),
  hops: maybe(fc.integer({ min: 1, max: 255 })),
  ttlSecurity: fc.boolean(),
  bfd: maybe(
    fc.record({
      intervalMs: fc.integer({ min: 10, max: 5000 }),
      multiplier: fc.integer({ min: 1, max: 50 }),
      graceful: fc.boolean(),
    }),
  ),
  localPreference: maybe(asNumber),
});

const cluster = fc.record({
  peers: fc.uniqueArray(peer, { maxLength: 5, selector: ({ number, family }) => number + family * 1000 }),
  filters: fc.uniqueArray(filter, { maxLength: 3, selector: ({ name }) => name }),
  as: asNumber,
  port: fc.integer({ min: 1, max: 65_535 }),
  bindToNode: fc.boolean(),
  logLevel: fc.constantFrom('debug', 'info', 'warning', 'error', 'fatal'),
  restartS: fc.nat(4095),
  clusterId: maybe(fc.constantFrom('0.0.0.42', '244.0.0.1')),
  tags: fc.array(
    fc.record({
      prefix: fc.oneof(prefixes(4), prefixes(6)),
      communities: fc.array(community, { minLength: 1, maxLength: 3 }),
    }),
    { maxLength: 3 },
  ),
  cluster: fc.array(fc.oneof(prefixes(4), prefixes(6)), { maxLength: 3 }),
  prepend: fc.array(asNumber, { maxLength: 3 }),
});
type Drawn = typeof cluster extends fc.Arbitrary<infer T> ? T : never;

function inputOfDrawn({ peers, filters, clusterId, prepend, cluster, ...rest }: Drawn): RoutingInput {
  const rules = peers.map(({ number, family, title, as, port, ...traits }): PeerRule => {
    const text = family === 4 ? `192.168.1.${number}` : `fd00::${number}`;
    return {
      ...(present(traits) as Pick<PeerRule, 'nextHop' | 'source' | 'ttlSecurity'>),
      name: title,
      nodes: EVERYTHING,
      remote: { kind: 'address', address: address(text), as, ...(port === undefined ? {} : { port }) },
      reverse: true,
      filters: filters.map(({ name }) => name),
    };
  });
  const reflector =
    clusterId === undefined
      ? {}
      : { reflector: { role: 'server', clusterId: address(clusterId), meshed: true } as const };
  const services = { ranges: { ...SETTINGS.services.ranges, cluster }, single: [] };
  return inputOf({
    settings: { ...SETTINGS, ...rest, services },
    peers: rules,
    filters,
    nodes: [nodeOf(1, { prepend, ...reflector }), nodeOf(2)],
  });
}

test('random clusters: BIRD reads every one', { skip }, async () => {
  await fc.assert(
    fc.asyncProperty(cluster, async (drawn) => {
      const { plan, problems } = planRouting(inputOfDrawn(drawn));
      assert.deepEqual(problems, []);
      assert.ok(plan !== undefined);
      assert.equal(await checkConfig(directory, writtenOf(renderBird(plan), plan)), '');
    }),
    { numRuns: 100 },
  );
});
