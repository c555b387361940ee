import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { Registry } from 'prom-client';
import type { NamesAsked } from '../policy/options.ts';
import { PolicyNames } from './names.ts';
import { resolversOf } from './resolvers.ts';
import { parseSettings } from '#config/parse.ts';
import type { AnswerOptions } from '#kernel/answers.ts';
import { FakePolicyTable } from '#kernel/fake-policy.ts';
import { manualClock } from '#lib/clock.ts';
import { type Address, address } from '#net/address.ts';
import { NamingRules } from '#policy/dns/naming.ts';
import { parseObjects } from '#policy/frontends/index.ts';
import { writeMessage } from '#policy/testing/dns-message.ts';
import { makeWorld } from '#policy/testing/world.ts';

const quiet = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
const SERVER = address('10.96.0.10');
const world = makeWorld({ pods: [{ name: 'shop/web', labels: { app: 'web' }, node: 'n1' }] });

function asking(...domains: string[]): NamesAsked {
  const to = domains.length === 0 ? '' : `, destination: {domains: [${domains.join()}]}`;
  const { policies, problems } = parseObjects(
    'test',
    `{apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: p}, spec: {selector: "app == 'web'", types: [Egress], egress: [{action: Allow${to}}]}}`,
  );
  assert.deepEqual(problems, []);
  const rules = new NamingRules();
  rules.put('p', policies);
  return { naming: rules.value(), world, servers: [SERVER] };
}

class Bench {
  readonly directory: string;
  readonly clock = manualClock(1_000_000);
  readonly table = new FakePolicyTable();
  readonly stop = new AbortController();
  readonly names: PolicyNames;
  reader: AnswerOptions | undefined;
  refusals = 0;
  live = new Set<Address>();
  learned = 0;

  constructor(t: TestContext, directory = mkdtempSync(join(tmpdir(), 'tartan-names-'))) {
    this.directory = directory;
    const text = `apiVersion: tartan.dev/v1\nkind: Settings\nnode: {name: n1}\nnetwork: {ipv4: {range: 10.244.0.0/16}}\npaths: {run: ${directory}, etc: ${directory}}\n`;
    const { settings } = parseSettings([{ origin: 'test', text }], { flannel: '' });
    this.names = new PolicyNames({
      settings,
      kernel: { liveDestinations: async (among) => among.intersection(this.live) },
      table: () => this.table,
      readAnswers: (options) => {
        if (this.refusals-- > 0) throw new Error('EBUSY');
        this.reader = options;
        return { [Symbol.dispose]: () => {} };
      },
      onLearned: () => (this.learned += 1),
      registry: new Registry(),
      clock: this.clock,
      log: quiet,
      signal: this.stop.signal,
    });
    t.after(() => {
      this.stop.abort();
      rmSync(directory, { recursive: true, force: true });
    });
  }

  answer(name: string, ttl: number, ...addresses: string[]): void {
    const records = addresses.map((each) => ({ name, ttl, address: each }));
    this.reader?.onMessage(writeMessage({ question: name, records }));
  }

  shownWay(): string | undefined {
    return this.table.answers?.way;
  }

  known(asked: NamesAsked): unknown {
    return Object.fromEntries([...this.names.follow(asked)].map(([name, all]) => [name, [...all]]));
  }

  /** So much later, and all that is due then is done. */
  async wait(ms: number): Promise<void> {
    await this.clock.advance(ms);
    for (let turn = 0; turn < 20; turn += 1) await Promise.resolve();
  }
}

test('nobody listens, and no table is there, before a rule names a name', (t) => {
  const bench = new Bench(t);
  bench.known(asking());
  assert.deepEqual(
    [bench.reader, bench.table.answers, bench.names.status()],
    [undefined, undefined, undefined],
  );
  bench.known(asking('a.org'));
  const { way, pods = [], servers = [] } = bench.table.answers ?? {};
  assert.deepEqual([way, [...pods].length, [...servers]], ['hold', 2, [SERVER]]);
  bench.known(asking());
  assert.equal(bench.table.answers, undefined, 'and when none does any more');
});

test('what an answer tells is known when it goes on; what tells nothing new is no change', (t) => {
  const bench = new Bench(t);
  const asked = asking('a.org');
  bench.known(asked);
  bench.answer('a.org', 5, '192.0.2.1');
  assert.deepEqual([bench.learned, bench.known(asked)], [1, { 'a.org': ['192.0.2.1'] }]);
  bench.answer('a.org', 5, '192.0.2.1');
  bench.answer('b.org', 5, '192.0.2.2');
  bench.reader?.onMessage(Buffer.from('nonsense'));
  assert.equal(bench.learned, 1);
  assert.deepEqual(bench.names.status(), {
    names: 1,
    addresses: 1,
    displaced: 0,
    servers: [SERVER],
    way: 'hold',
  });
});

test('an address goes after its time, once no connection to it lives', async (t) => {
  const bench = new Bench(t);
  const asked = asking('a.org');
  bench.known(asked);
  bench.answer('a.org', 5, '192.0.2.1', '192.0.2.2');
  bench.live.add(address('192.0.2.1'));
  await bench.wait(50_000);
  assert.deepEqual(bench.known(asked), { 'a.org': ['192.0.2.1', '192.0.2.2'] }, 'the minimum');
  await bench.wait(20_000);
  assert.deepEqual([bench.learned, bench.known(asked)], [2, { 'a.org': ['192.0.2.1'] }]);
  bench.live.clear();
  await bench.wait(10_000);
  assert.deepEqual([bench.learned, bench.known(asked)], [3, {}]);
});

test('a successor knows what was known, a broken file is as none', (t) => {
  const [first, asked] = [new Bench(t), asking('a.org')];
  first.known(asked);
  first.answer('a.org', 500, '192.0.2.1');
  first.stop.abort();
  const second = new Bench(t, first.directory);
  assert.deepEqual(second.known(asked), { 'a.org': ['192.0.2.1'] });
  const path = join(first.directory, 'policy-names.json');
  for (const text of ['', '{"format":2}', readFileSync(path, 'utf8').replace('192.0.2.1', 'x')]) {
    writeFileSync(path, text);
    assert.deepEqual(new Bench(t, first.directory).known(asked), {}, text);
  }
});

test('a reader that cannot be opened, or ends, is opened again; until then it is told and no table is there', async (t) => {
  const bench = new Bench(t);
  bench.refusals = 1;
  bench.known(asking('a.org'));
  assert.match(bench.names.status()?.problem ?? '', /EBUSY/);
  assert.equal(bench.shownWay(), undefined);
  await bench.wait(5_000);
  assert.equal(bench.names.status()?.problem, undefined);
  assert.equal(bench.shownWay(), 'hold');
  bench.reader?.onEnd();
  assert.match(bench.names.status()?.problem ?? '', /failed/);
  await bench.wait(5_000);
  assert.equal(bench.names.status()?.way, 'hold');
});

test('servers of resolv.conf: those of other hosts', () => {
  const text =
    'search a.org\nnameserver 127.0.0.53\nnameserver 192.0.2.53\n#nameserver 192.0.2.54\nnameserver\tfd00::53\nnameserver fe80::1%eth0\nnameserver x\n';
  assert.deepEqual(resolversOf(text), ['192.0.2.53', 'fd00::53']);
});
