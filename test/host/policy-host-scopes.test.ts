/** Host endpoints in a node's kernel: each scope by itself, with what it is for, by real packets of both families. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { execPath } from 'node:process';
import { after, before, test } from 'node:test';
import { MARK } from '#model/numbers.ts';
import type { HostScope, Policy, Rule } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import type { HostEndpoint, PolicyWorld } from '#model/workload.ts';
import { prefix } from '#net/prefix.ts';
import { createBook } from '#policy/book.ts';
import { createCompiler, type PolicyCompiler } from '#policy/compile/compiler.ts';
import { makePolicy, makeRule } from '#policy/testing/rules.ts';
import { hostEndpoint, makeFlow, makeWorld } from '#policy/testing/world.ts';
import { whyNoKernel } from './namespace.ts';
import { HostWire, NODE } from './policy-host-wire.ts';
import type { Station } from './policy-wire.ts';
import { tablesOf } from './tables.ts';

const skip = whyNoKernel(['ip', 'sysctl', 'conntrack', 'nft']) ?? false;

let hosts: HostWire;
before(async () => {
  if (skip === false) hosts = await HostWire.make('ps');
});
after(() => {
  if (skip === false) hosts.close();
});

const HOSTS = { op: 'in', scope: 'fact', key: 'kind', values: ['host'] } as const;
const ETH0 = hostEndpoint('eth0-a');
const ALL = hostEndpoint('all-a', { interface: '*' });
const FAILSAFE: PolicyWorld['failsafe'] = {
  ingress: [6, 17].map((protocol) => ({ protocol, ports: { from: 22, to: 22 } })),
  egress: [{ protocol: 17, ports: { from: 53, to: 53 } }],
};
const worldWith = (...others: readonly HostEndpoint[]): PolicyWorld =>
  makeWorld({
    pods: ['shop/a', 'shop/b', 'shop/c'].map((name) => ({ name, node: 'a' })),
    others,
    failsafe: FAILSAFE,
  });
const OUT = { 4: '203.0.113.9', 6: '2001:db8:ffff::9' } as const;
const about = (scope: HostScope, given: Partial<Policy>): Policy =>
  makePolicy({ name: scope, host: scope, subjects: HOSTS, ...given });
const both = { ingress: true, egress: true };
const to = (action: 'allow' | 'deny', port: number, more: Partial<Rule> = {}): Rule => ({
  ...makeRule(action, {
    traffic: [{ kind: 'ports', end: 'destination', ranges: [{ from: port, to: port }] }],
  }),
  ...more,
});

let compiler: PolicyCompiler;
function load(world: PolicyWorld, policies: readonly Policy[]): void {
  compiler = createCompiler('a');
  compiler.update(createBook({ policies }), world);
  hosts.table.replacePolicy(compiler.program());
  hosts.check(compiler, 'loaded');
}
const bare = worldWith();
const flow = (from: string, to: string, kind: string, family: 4 | 6): Flow =>
  makeFlow(bare, [from, to], kind, family);
const hooks = async (): Promise<string[]> =>
  [...(await hosts.wire.node.must(['nft', 'list', 'ruleset'])).matchAll(/chain (host-\S+) \{/g)].map(
    ([, name = '']) => name,
  );

for (const family of [4, 6] as const) {
  const out = OUT[family];
  const named = (title: string): string => `IPv${family}: ${title}`;

  test(
    named('a host endpoint without policies: only failsafe ports, and what they answer'),
    { skip },
    async () => {
      for (const endpoint of [ETH0, ALL]) {
        load(worldWith(endpoint), []);
        assert.ok(!(await hosts.begins(flow(out, 'node a', 'tcp/80', family), 'deny')));
        assert.ok(!(await hosts.begins(flow('node a', out, 'tcp/80', family), 'deny')));
        assert.ok(!(await hosts.begins(flow(out, 'node a', 'icmp', family), 'deny')));
        const login = flow(out, 'node a', 'udp/22', family);
        assert.ok(await hosts.begins(login, 'allow'));
        const { source, destination, sourcePort = 0 } = login;
        const answer = {
          ...login,
          source: destination,
          destination: source,
          sourcePort: 22,
          destinationPort: sourcePort,
        };
        assert.ok(await hosts.arrives(answer), 'the answer of a failsafe port');
        assert.ok(await hosts.begins(flow('node a', out, 'udp/53', family), 'allow'));
        assert.ok(await hosts.begins(flow(out, 'shop/a', 'tcp/80', family), 'allow'), 'forwarded');
        assert.ok(await hosts.begins(flow('shop/a', 'node a', 'tcp/80', family), 'allow'), 'pod to node');
        assert.ok(await hosts.begins(flow('node a', 'shop/a', 'tcp/80', family), 'allow'), 'node to pod');
        for (const own of [family === 4 ? '127.0.0.1' : '::1', NODE[family === 4 ? 0 : 1] ?? ''])
          await hosts.wire.node.must(['ping', '-c1', '-W2', own]);
      }
    },
  );

  test(named('doNotTrack: no entry in conntrack, and nobody asks again'), { skip }, async () => {
    const allow = about('untracked', { ingress: [to('allow', 80)], egress: [to('allow', 81)] });
    load(worldWith(ETH0), [allow]);
    const entries = async (): Promise<string> =>
      (await hosts.wire.node.run(['conntrack', '-L', '-f', family === 4 ? 'ipv4' : 'ipv6'])).stdout.trim();
    assert.ok(
      await hosts.begins(flow(out, 'node a', 'udp/80', family), 'allow'),
      'although its local policy denies',
    );
    assert.ok(!(await entries()).includes('dport=80'));
    assert.ok(await hosts.begins(flow('node a', out, 'udp/81', family), 'allow'));
    assert.ok(!(await entries()).includes('dport=81'));
    assert.ok(await hosts.begins(flow(out, 'shop/a', 'udp/80', family), 'allow'), 'forwarded');
    assert.ok(!(await entries()).includes('dport=80'));
    assert.ok(await hosts.begins(flow(out, 'node a', 'udp/22', family), 'allow'));
    assert.ok((await entries()).includes('dport=22'), 'what untracked policy leaves alone is tracked');
    load(worldWith(ETH0), [about('untracked', { ingress: [makeRule('deny')], egress: [makeRule('deny')] })]);
    assert.ok(!(await hosts.begins(flow(out, 'shop/a', 'udp/80', family), 'deny')), 'forwarded');
    assert.ok(
      await hosts.begins(flow('shop/a', out, 'udp/80', family), 'allow'),
      'raw output is for the node’s own',
    );
    const login = flow(out, 'node a', 'udp/22', family);
    assert.ok(await hosts.begins(login, 'allow'), 'failsafe');
    const { source, destination, sourcePort = 0 } = login;
    const answer = {
      ...login,
      source: destination,
      destination: source,
      sourcePort: 22,
      destinationPort: sourcePort,
    };
    assert.ok(await hosts.arrives(answer), 'the answer of a failsafe port');
  });

  test(named('preDNAT sees the host port, the rest what became of it'), { skip }, async (t) => {
    const pod = family === 4 ? '10.244.0.1' : 'fd00::1';
    const settings = {
      profile: 'flannel',
      'road.type': 'host-gw',
      'wiring.type': 'routed',
      'wiring.dropSpoofed': false,
    };
    const tables = tablesOf({ ...settings, 'network.ipv6.range': 'fd00::/48', 'masquerade.enabled': false });
    const ports = `add element inet tartan hostports${family} { tcp . 30080 : ${pod} . 80 }`;
    await hosts.wire.node.must(['nft', '-f', '-'], { input: `${tables}\n${ports}\n` });
    t.after(() => hosts.wire.node.must(['nft', 'delete', 'table', 'inet', 'tartan']));
    const through = (expected: 'allow' | 'deny'): Promise<boolean> =>
      hosts.begins(flow(out, 'node a', 'tcp/30080', family), expected, hosts.wire.pods[0]);
    const early = (action: 'allow' | 'deny', port: number): Policy =>
      about('pre-dnat', { ingress: [to(action, port)] });
    const late = (action: 'allow' | 'deny', port: number): Policy =>
      about('forward', { ingress: [to(action, port), makeRule('allow')] });
    load(worldWith(ALL), []);
    assert.ok(await through('allow'), 'no policy');
    load(worldWith(ALL), [early('deny', 30_080)]);
    assert.ok(!(await through('deny')), 'the port before DNAT');
    assert.ok(await hosts.begins(flow(out, 'shop/b', 'tcp/80', family), 'allow'));
    load(worldWith(ALL), [early('deny', 80)]);
    assert.ok(await through('allow'), 'not the one after it');
    load(worldWith(ALL), [late('deny', 80)]);
    assert.ok(!(await through('deny')), 'which later policy sees');
    load(worldWith(ALL), [late('deny', 80), early('allow', 30_080)]);
    assert.ok(await through('allow'), 'allowed for good');
    assert.ok(
      !(await hosts.begins(flow(out, 'shop/b', 'tcp/80', family), 'deny')),
      'the mark is of one packet',
    );
    await hosts.wire.node.must(['conntrack', '-F']);
    load(worldWith(ALL), [early('deny', 22)]);
    assert.ok(await hosts.begins(flow(out, 'node a', 'tcp/22', family), 'allow'), 'failsafe');
  });

  test(named('applyOnForward: by interface, in and out, for pods as for all'), { skip }, async () => {
    const policy = about('forward', {
      isolates: both,
      ingress: [to('allow', 80)],
      egress: [to('allow', 81)],
    });
    load(worldWith(ETH0), [policy]);
    assert.ok(await hosts.begins(flow(out, 'shop/a', 'tcp/80', family), 'allow'));
    assert.ok(!(await hosts.begins(flow(out, 'shop/a', 'tcp/82', family), 'deny')));
    assert.ok(await hosts.begins(flow('shop/a', out, 'tcp/81', family), 'allow'));
    assert.ok(
      !(await hosts.begins(flow('shop/a', out, 'tcp/22', family), 'deny')),
      'failsafe is not for what is forwarded',
    );
    assert.ok(await hosts.begins(flow('shop/a', 'shop/b', 'tcp/82', family), 'allow'), 'other interfaces');
    load(worldWith(ALL), [policy]);
    assert.ok(!(await hosts.begins(flow('shop/a', 'shop/b', 'tcp/82', family), 'deny')), 'all interfaces');
    assert.ok(await hosts.begins(flow('node a', 'shop/b', 'tcp/82', family), 'allow'), 'the node’s own');
  });

  test(
    named('what the node sends and DNAT sends elsewhere is judged where it leaves'),
    { skip },
    async (t) => {
      const [service, away] =
        family === 4 ? ['198.51.100.77', '203.0.113.50'] : ['2001:db8:cc::77', '2001:db8:dd::50'];
      const ip = family === 4 ? 'ip' : 'ip6';
      const [inside, outside] =
        family === 4 ? ['10.244.0.1:80', `${away}:81`] : ['[fd00::1]:80', `[${away}]:81`];
      const rules = [`tcp dport 80 dnat ${ip} to ${inside}`, `tcp dport 82 dnat ${ip} to ${outside}`];
      const chain = rules.map((rule) => `${ip} daddr ${service} ${rule}`).join('; ');
      await hosts.wire.node.must(['nft', '-f', '-'], {
        input: `table inet pe-service { chain o { type nat hook output priority -100; ${chain}; }; }`,
      });
      t.after(() => hosts.wire.node.must(['nft', 'delete', 'table', 'inet', 'pe-service']));
      const through = (
        port: number,
        to: Station | undefined,
        expected: 'allow' | 'deny',
      ): Promise<boolean> => {
        assert.ok(to !== undefined);
        return hosts.begins(flow('node a', service, `tcp/${port}`, family), expected, to);
      };
      load(worldWith(ETH0), []);
      assert.ok(await through(80, hosts.wire.pods[0], 'allow'), 'to its own pod');
      assert.ok(!(await through(82, hosts.wire.outside, 'deny')), 'elsewhere');
      load(worldWith(ETH0), [about('local', { egress: [to('allow', 81)] })]);
      assert.ok(await through(82, hosts.wire.outside, 'allow'), 'the port that DNAT leads to');
      load(worldWith(ETH0), [about('local', { egress: [to('allow', 82)] })]);
      assert.ok(!(await through(82, hosts.wire.outside, 'deny')), 'not the one before');
    },
  );

  test(named('connections to a service that is not tracked work, both ways'), { skip }, async (t) => {
    const answers: Rule = {
      ...makeRule('allow', {
        traffic: [{ kind: 'ports', end: 'source', ranges: [{ from: 80, to: 80 }] }],
      }),
    };
    load(worldWith(ETH0), [about('untracked', { ingress: [to('allow', 80)], egress: [answers] })]);
    await hosts.wire.node.run(['conntrack', '-F']);
    const own = NODE[family === 4 ? 0 : 1] ?? '';
    const serve = `require('net').createServer((s) => s.end('served')).listen(80, '${own}', () => console.log('ready'))`;
    const server = hosts.wire.node.start([execPath, '-e', serve], { stdio: ['ignore', 'pipe', 'ignore'] });
    t.after(() => server.kill());
    assert.ok(server.stdout !== null);
    await once(server.stdout, 'data');
    const ask = `require('net').connect(80, '${own}').pipe(process.stdout)`;
    assert.equal(await hosts.wire.outside.namespace.must([execPath, '-e', ask]), 'served');
    assert.ok(!(await hosts.wire.node.must(['conntrack', '-L'])).includes('port=80'));
  });
}

test(
  'staged and audited policies of hosts drop nothing, and track what they would not',
  { skip },
  async (t) => {
    const policies = [
      about('untracked', { ingress: [to('allow', 80), to('deny', 81)] }),
      about('pre-dnat', { ingress: [makeRule('deny')] }),
      about('forward', { isolates: both }),
    ];
    const staged = createCompiler('a');
    staged.update(createBook({ policies }), worldWith(ETH0));
    const second = hosts.open({ table: 'staged' });
    t.after(() => {
      second.removePolicy();
      second.close();
    });
    second.replacePolicy(staged.program());
    assert.ok(second.dumpPolicy().intact);
    const pass = async (): Promise<void> => {
      for (const port of [80, 81, 82])
        for (const to of ['node a', 'shop/a'])
          assert.ok(await hosts.begins(flow('203.0.113.9', to, `udp/${port}`, 4), 'allow'), `${to} ${port}`);
      assert.ok(await hosts.begins(flow('node a', '203.0.113.9', 'udp/80', 4), 'allow'));
    };
    load(worldWith(), []);
    await pass();
    await hosts.begins(flow('203.0.113.9', 'node a', 'udp/80', 4), 'allow');
    assert.ok((await hosts.wire.node.must(['conntrack', '-L'])).includes('dport=80'));
    second.removePolicy();
    hosts.table.changeDenial({ logPerSecond: 0, audit: true });
    t.after(() => hosts.table.changeDenial({ logPerSecond: 0, audit: false }));
    load(worldWith(ETH0), policies);
    await pass();
  },
);

test('hooks stand only while a gate is open, and nft lists them', { skip }, async () => {
  load(worldWith(), [about('untracked', { ingress: [makeRule('allow')] })]);
  assert.deepEqual(await hooks(), []);
  const steps: readonly (readonly [HostEndpoint[], Policy[], string[]])[] = [
    [[ETH0], [], ['host-input', 'host-output', 'host-postrouting']],
    [
      [ETH0],
      [about('pre-dnat', { ingress: [makeRule('allow')] })],
      [
        'host-raw',
        'host-raw-output',
        'host-mangle',
        'host-input-early',
        'host-output-early',
        'host-postrouting-early',
      ],
    ],
    [
      [ALL],
      [about('forward', { isolates: both })],
      ['host-input', 'host-output', 'host-postrouting', 'host-forward'],
    ],
    [[], [], []],
  ];
  for (const [endpoints, policies, expected] of steps) {
    const delta = compiler.update(createBook({ policies }), worldWith(...endpoints));
    assert.ok(delta !== undefined);
    hosts.table.loadPolicy(delta);
    hosts.check(compiler, expected.join());
    assert.deepEqual((await hooks()).sort(), expected.toSorted());
    JSON.parse(await hosts.wire.node.must(['nft', '-j', 'list', 'ruleset']));
  }
});

test('marks of others do not open a host', { skip }, async (t) => {
  const mark = `meta mark set ${MARK.hostAllowed}`;
  const chain = (hook: string): string =>
    `chain ${hook} { type filter hook ${hook} priority -310; ${mark}; };`;
  await hosts.wire.node.must(['nft', '-f', '-'], {
    input: `table inet pe-mark { ${chain('prerouting')} ${chain('output')} }`,
  });
  t.after(() => hosts.wire.node.must(['nft', 'delete', 'table', 'inet', 'pe-mark']));
  for (const policies of [[], [about('pre-dnat', { ingress: [to('allow', 80)] })]]) {
    load(worldWith(ALL), policies);
    assert.ok(!(await hosts.begins(flow('203.0.113.9', 'node a', 'tcp/81', 4), 'deny')));
    assert.ok(!(await hosts.begins(flow('node a', '203.0.113.9', 'tcp/81', 4), 'deny')));
  }
});

test('prefixes of failsafe ports', { skip }, async () => {
  const failsafe = {
    ...FAILSAFE,
    ingress: [{ protocol: 6, ports: { from: 22, to: 23 }, prefix: prefix('203.0.113.0/24') }],
  };
  load({ ...worldWith(ETH0), failsafe }, []);
  assert.ok(await hosts.begins(flow('203.0.113.9', 'node a', 'tcp/23', 4), 'allow'));
  assert.ok(!(await hosts.begins(flow('198.51.100.9', 'node a', 'tcp/23', 4), 'deny')));
});
