import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault } from '#model/fault.ts';
import { encodeError } from './error.ts';
import { answerVersion, configHash, parseRequest, type Request } from './request.ts';
import { CNI_VERSIONS, encodeVersion } from './version.ts';

type Json = Record<string, unknown>;
const CONFIG = { cniVersion: '1.1.0', name: 'pods', type: 'tartan-cni' };
const PREV = { cniVersion: '1.1.0', ips: [{ address: '10.0.0.2/24' }] };

function env(verb: string, more: Record<string, string> = {}): Record<string, string> {
  return {
    CNI_COMMAND: verb,
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: '/run/netns/x',
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/opt/cni/bin:/usr/lib/cni',
    ...more,
  };
}

function parse(variables: Record<string, string>, config: Json | string = CONFIG): Request {
  return parseRequest(variables, typeof config === 'string' ? config : JSON.stringify(config));
}

function fault(variables: Record<string, string>, config: Json | string = CONFIG): Fault {
  try {
    parse(variables, config);
  } catch (error) {
    assert.ok(error instanceof Fault, String(error));
    return error;
  }
  return assert.fail('accepted');
}

function wish(config: Json, variables: Record<string, string> = env('ADD')) {
  const request = parse(variables, { ...CONFIG, ...config });
  assert.equal(request.verb, 'ADD');
  return request.verb === 'ADD' ? request.wish : assert.fail();
}

const GC_CONFIG = { ...CONFIG, 'cni.dev/valid-attachments': [] };
const GOOD: Record<string, Json> = {
  ADD: CONFIG,
  DEL: CONFIG,
  CHECK: { ...CONFIG, prevResult: PREV },
  STATUS: CONFIG,
  GC: GC_CONFIG,
};
const REQUIRED: Record<string, string[]> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  STATUS: [],
  GC: ['CNI_PATH'],
};

test('P1: each variable is required where the specification says so, and nowhere else', () => {
  for (const [verb, config] of Object.entries(GOOD)) {
    assert.equal(parse(env(verb), config).verb, verb);
    for (const name of ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME', 'CNI_PATH']) {
      const without = { ...env(verb), [name]: '' };
      if (REQUIRED[verb]?.includes(name) === true) {
        const found = fault(without, config);
        assert.equal(found.cni, 4);
        assert.ok(found.message.includes(name));
      } else assert.equal(parse(without, config).verb, verb);
    }
  }
});

test('P2, P9: all missing variables are named; unknown and missing verbs are code 4', () => {
  const found = fault({ CNI_COMMAND: 'ADD' });
  for (const name of REQUIRED['ADD'] ?? []) assert.ok(found.message.includes(name));
  for (const verb of ['', 'add', 'UPDATE', '__proto__']) assert.equal(fault({ CNI_COMMAND: verb }).cni, 4);
  assert.equal(fault({}).cni, 4);
});

test('P3, P4: container ID and interface name', () => {
  for (const id of ['c/1', '-c', '.', 'ä', 'x'.repeat(201)]) {
    assert.equal(fault(env('ADD', { CNI_CONTAINERID: id })).cni, 4, id);
  }
  for (const name of ['x'.repeat(16), '.', '..', 'a/b', 'a:b', 'a b', 'a\tb', 'öööööööö']) {
    assert.equal(fault(env('DEL', { CNI_IFNAME: name })).cni, 4, name);
  }
});

test('P5–P7, P10: version, name and JSON', () => {
  const codes: [string, Json | string, number][] = [
    ['ADD', '', 6],
    ['ADD', '{bad', 6],
    ['ADD', '[]', 6],
    ['ADD', { ...CONFIG, cniVersion: 'x' }, 6],
    ['ADD', { ...CONFIG, cniVersion: 3 }, 6],
    ['ADD', { ...CONFIG, cniVersion: '9.9.9' }, 1],
    ['ADD', { ...CONFIG, name: '' }, 7],
    ['ADD', { ...CONFIG, name: '_x' }, 7],
    ['CHECK', { ...CONFIG, cniVersion: '0.3.1', prevResult: PREV }, 1],
    ['GC', { ...GC_CONFIG, cniVersion: '1.0.0' }, 1],
    ['STATUS', { ...CONFIG, cniVersion: '1.0.0' }, 1],
    ['CHECK', CONFIG, 7],
    ['GC', CONFIG, 7],
    ['GC', { ...CONFIG, 'cni.dev/valid-attachments': [{ containerID: '../x', ifname: 'eth0' }] }, 7],
  ];
  for (const [verb, config, code] of codes) {
    assert.equal(fault(env(verb), config).cni, code, `${verb} ${JSON.stringify(config)}`);
  }
  for (const cniVersion of [undefined, '', '0.1.0']) {
    const request = parse(env('ADD'), { ...CONFIG, cniVersion });
    assert.ok(request.verb === 'ADD' && request.version === '0.1.0');
  }
});

test('several things wrong: the code of the first check, every problem in the details', () => {
  const found = fault(env('ADD', { CNI_IFNAME: 'a/b', CNI_ARGS: 'X=1;junk' }), {
    cniVersion: '9.0.0',
    name: 'pods',
    vlan: 4,
    mtu: 'wide',
    runtimeConfig: {
      portMappings: [{ hostPort: 0, containerPort: 70_000, protocol: 'icmp' }],
      bandwidth: { ingressRate: 5 },
    },
  });
  assert.equal(found.cni, 4);
  const error = JSON.parse(encodeError(found)) as Record<string, string>;
  assert.equal(error['cniVersion'], '1.1.0');
  const paths = ['CNI_IFNAME', 'CNI_ARGS', 'cniVersion', 'vlan: 4', 'mtu', 'portMappings[0].hostPort'];
  for (const path of [...paths, 'portMappings[0].containerPort', 'ingressBurst']) {
    assert.ok(error['details']?.includes(path), `${path} in ${error['details']}`);
  }
});

test('code 2 names key and value', () => {
  const found = fault(env('ADD'), { ...CONFIG, vlan: 100 });
  assert.equal(found.cni, 2);
  assert.match(found.message, /vlan: 100/);
  assert.equal(fault(env('ADD'), { ...CONFIG, runtimeConfig: { deviceID: '0000:00' } }).cni, 2);
});

test('P13: capabilities left in and unknown keys are carried through', () => {
  const config = { ...CONFIG, capabilities: { mac: true }, other: { x: [1] }, runtimeConfig: { unknown: 1 } };
  const request = parse(env('ADD'), config);
  assert.deepEqual(request.verb === 'ADD' && request.raw, config);
});

test('P19: unknown CNI_ARGS with and without IgnoreUnknown', () => {
  assert.equal(fault(env('ADD', { CNI_ARGS: 'X=1' })).cni, 4);
  for (const value of ['1', 'true', 'True', 'TRUE']) {
    const args = `IgnoreUnknown=${value};X=1;K8S_POD_NAMESPACE=shop;K8S_POD_NAME=web;K8S_POD_UID=u`;
    const request = parse(env('ADD', { CNI_ARGS: args }));
    assert.deepEqual(request.verb === 'ADD' && request.pod, { namespace: 'shop', name: 'web', uid: 'u' });
  }
  assert.equal(fault(env('ADD', { CNI_ARGS: 'IgnoreUnknown=yes' })).cni, 4);
  assert.equal(parse(env('DEL', { CNI_ARGS: 'X=1' })).verb, 'DEL');
});

test('B8: runtimeConfig before args.cni before CNI_ARGS, for MAC and addresses', () => {
  const mac = (n: number) => `02:00:00:00:00:0${n}`;
  const variables = env('ADD', { CNI_ARGS: `MAC=${mac(3)};IP=10.0.0.3/24` });
  const args = { cni: { mac: mac(2), ips: ['10.0.0.2'] } };
  const runtimeConfig = { mac: mac(1).toUpperCase(), ips: ['10.0.0.1/24', 'fd00::1'] };
  const got = [{ runtimeConfig, args }, { args }, {}].map((config) => wish(config, variables));
  assert.deepEqual(
    got.map(({ mac, addresses }) => [mac, addresses.join(' ')]),
    [
      [mac(1), '10.0.0.1 fd00::1'],
      [mac(2), '10.0.0.2'],
      [mac(3), '10.0.0.3'],
    ],
  );
  assert.equal(fault(env('ADD'), { ...CONFIG, runtimeConfig: { mac: '01:00:00:00:00:01' } }).cni, 7);
});

test('capabilities become values', () => {
  const got = wish({
    mtu: 0,
    tartan: { wiring: 'bridge' },
    dns: { nameservers: ['192.0.2.1'], search: ['a'] },
    runtimeConfig: {
      portMappings: [
        { hostPort: 80, containerPort: 8080, protocol: 'TCP', hostIP: '' },
        { hostPort: 53, containerPort: 53, protocol: 'udp', hostIP: '::1' },
      ],
      bandwidth: { ingressRate: 0, ingressBurst: 0, egressRate: 8, egressBurst: 9 },
      dns: { servers: ['192.0.2.2'] },
      aliases: ['web'],
      ipRanges: [[{ subnet: '10.1.0.0/24', rangeStart: '10.1.0.9' }]],
    },
    ipam: {
      ranges: [[{ subnet: 'fd00::/64' }]],
      routes: [{ dst: '192.0.2.9/24', priority: 3 }],
      ipv4_pools: ['blue', '10.2.0.0/16'],
      ipv6_pools: [],
    },
  });
  assert.deepEqual(got, {
    wiring: 'bridge',
    bandwidth: { egressRate: 8, egressBurst: 9 },
    ipam: {
      type: 'own',
      ranges: [[{ subnet: '10.1.0.0/24', rangeStart: '10.1.0.9' }], [{ subnet: 'fd00::/64' }]],
      routes: [{ prefix: '192.0.2.0/24', priority: 3 }],
      pools: { 4: ['blue', '10.2.0.0/16'] },
    },
    addresses: [],
    portMappings: [
      { hostPort: 80, containerPort: 8080, protocol: 'tcp' },
      { hostPort: 53, containerPort: 53, protocol: 'udp', hostIp: '::1' },
    ],
    dns: { nameservers: ['192.0.2.2'], search: ['a'] },
    aliases: ['web'],
    labels: {},
  });
});

test('labels of the pod: pairs of key and value below args.cni (CONVENTIONS.md)', () => {
  const labelled = (labels: unknown): Json => ({ ...CONFIG, args: { cni: { labels } } });
  const request = parseRequest(env('ADD'), JSON.stringify(labelled([{ key: 'app', value: 'web' }])));
  assert.ok(request.verb === 'ADD');
  assert.deepEqual(request.wish.labels, { app: 'web' });
  for (const labels of [[{ key: 'app' }], { app: 'web' }, 'app=web', [{ key: '', value: 'x' }]])
    assert.equal(fault(env('ADD'), labelled(labels)).cni, 7);
});

test('aliases: a list, or podman’s map by network', () => {
  for (const aliases of [['web', 'db'], { pods: ['web', 'db'] }, { pods: ['web'], other: ['db'] }]) {
    const request = parseRequest(env('ADD'), JSON.stringify({ ...CONFIG, runtimeConfig: { aliases } }));
    assert.ok(request.verb === 'ADD');
    assert.deepEqual(request.wish.aliases, ['web', 'db']);
  }
  for (const aliases of [{ pods: [1] }, { pods: { web: 'db' } }, 'web', 3])
    assert.equal(fault(env('ADD'), { ...CONFIG, runtimeConfig: { aliases } }).cni, 7);
});

test('I4: ranges that cannot be, code 7 each', () => {
  const bad = [
    [{ subnet: '10.0.0.0/31' }],
    [{ subnet: '10.0.0.0/32' }],
    [{ subnet: '10.0.0.1/24' }],
    [{ subnet: '10.0.0.0/24', gateway: '10.0.1.1' }],
    [{ subnet: '10.0.0.0/24', rangeStart: '10.0.0.9', rangeEnd: '10.0.0.8' }],
    [{ subnet: '10.0.0.0/24' }, { subnet: '10.0.0.128/25' }],
    [
      { subnet: '10.0.0.0/24', rangeEnd: '10.0.0.9' },
      { subnet: '10.0.0.0/24', rangeStart: '10.0.0.9' },
    ],
    [{ subnet: '10.0.0.0/24' }, { subnet: 'fd00::/64' }],
    [],
  ];
  for (const set of bad) {
    assert.equal(fault(env('ADD'), { ...CONFIG, ipam: { ranges: [set] } }).cni, 7, JSON.stringify(set));
  }
  const apart = [
    { subnet: '10.0.0.0/24', rangeEnd: '10.0.0.9' },
    { subnet: '10.0.0.0/24', rangeStart: '10.0.0.10' },
  ];
  assert.equal(wish({ ipam: { ranges: [apart] } }).ipam.type, 'own');
});

test('a delegated IPAM plugin: its keys are its own, CNI_PATH is needed, no path as its name', () => {
  const config = { ...CONFIG, ipam: { type: 'host-local', ranges: [['whatever']] } };
  const request = parse(env('ADD'), config);
  assert.ok(request.verb === 'ADD' && request.delegatedIpam === 'host-local');
  assert.deepEqual(request.wish.ipam, { type: 'delegate', plugin: 'host-local' });
  assert.match(fault(env('ADD', { CNI_PATH: '' }), config).message, /CNI_PATH/);
  assert.equal(fault(env('ADD'), { ...CONFIG, ipam: { type: '../x' } }).cni, 7);
  assert.equal(wish({ ipam: {} }).ipam.type, 'own');
});

test('P14: prevResult of older versions; DEL goes on with a broken one, ADD does not', () => {
  const old = { cniVersion: '0.2.0', ip4: { ip: '10.0.0.2/24', gateway: '10.0.0.1' } };
  const check = parse(env('CHECK'), { ...CONFIG, prevResult: old });
  assert.deepEqual(check.verb === 'CHECK' && check.prevResult.ips, [
    { address: '10.0.0.2/24', gateway: '10.0.0.1' },
  ]);
  const broken = { ...CONFIG, prevResult: { ips: [{ address: '10.0.0.2/24', interface: 4 }] } };
  assert.equal(parse(env('DEL'), broken).verb, 'DEL');
  assert.equal(fault(env('ADD'), broken).cni, 7);
  assert.equal(parse(env('DEL', { CNI_NETNS: '' }), CONFIG).verb, 'DEL');
});

test('GC: both keys, null is an empty list', () => {
  const item = { containerID: 'c1', ifname: 'eth0' };
  for (const key of ['cni.dev/valid-attachments', 'cni.dev/attachments']) {
    const request = parse(env('GC'), { ...CONFIG, [key]: [item] });
    assert.deepEqual(request.verb === 'GC' && request.valid, [{ containerId: 'c1', ifname: 'eth0' }]);
  }
  const empty = parse(env('GC'), { ...CONFIG, 'cni.dev/valid-attachments': null });
  assert.deepEqual(empty.verb === 'GC' && empty.valid, []);
});

test('VERSION needs nothing and echoes; error answers use the version of the input', () => {
  assert.deepEqual(parseRequest({ CNI_COMMAND: 'VERSION' }, ''), { verb: 'VERSION' });
  assert.equal((JSON.parse(encodeVersion('0.4.0')) as Json)['cniVersion'], '0.4.0');
  assert.deepEqual(JSON.parse(encodeVersion()), {
    cniVersion: '1.1.0',
    supportedVersions: [...CNI_VERSIONS],
  });
  assert.equal(answerVersion('{"cniVersion":"0.3.1"}'), '0.3.1');
  for (const stdin of ['', '{', '{"cniVersion":"7.0.0"}', 'null'])
    assert.equal(answerVersion(stdin), '1.1.0');
});

test('the configuration hash overlooks the state of the chain', () => {
  assert.equal(configHash(CONFIG), configHash({ ...CONFIG, prevResult: PREV, 'cni.dev/attachments': [] }));
  assert.notEqual(configHash(CONFIG), configHash({ ...CONFIG, mtu: 1400 }));
});

test('large and deep input: an answer of bounded size', () => {
  const mappings = (length: number) => ({
    portMappings: Array.from({ length }, () => ({ hostPort: 0, containerPort: 1 })),
  });
  const found = fault(env('ADD'), { ...CONFIG, runtimeConfig: mappings(1024) });
  const lines = found.details.split('\n');
  assert.deepEqual([lines.length, lines.at(-1)], [51, 'and 974 more']);
  assert.match(found.message, /and 974 more$/);
  assert.ok(found.message.length < 10_000);
  const deep = `{"name":"pods","x":${'['.repeat(500_000)}${']'.repeat(500_000)}}`;
  assert.equal(fault(env('ADD'), deep).cni, 6);
});

test('a list that is too long is refused whole, unread, at its path', () => {
  const long = (item: unknown, length = 4097): unknown[] => Array.from({ length }, () => item);
  const lists: Record<string, object> = {
    'runtimeConfig.portMappings': { runtimeConfig: { portMappings: long({ hostPort: 0 }, 200_000) } },
    'runtimeConfig.ips': { runtimeConfig: { ips: long('x') } },
    'runtimeConfig.aliases': { runtimeConfig: { aliases: long('a') } },
    'runtimeConfig.ipRanges': { runtimeConfig: { ipRanges: long([], 65) } },
    'runtimeConfig.ipRanges[0]': { runtimeConfig: { ipRanges: [long({}, 65)] } },
    'args.cni.ips': { args: { cni: { ips: long('x') } } },
    'dns.nameservers': { dns: { nameservers: long('x') } },
    'prevResult.routes': { prevResult: { cniVersion: '1.0.0', routes: long({}) } },
  };
  for (const [path, more] of Object.entries(lists)) {
    const { cni, problems } = fault(env('ADD'), { ...CONFIG, ...more });
    assert.equal(cni, 7);
    assert.deepEqual(
      problems.map((problem) => problem.path),
      [path],
    );
    assert.match(problems[0]?.message ?? '', /^has \d+ entries, more than \d+$/);
  }
  const valid = { 'cni.dev/valid-attachments': long({}, 65_537) };
  assert.match(fault(env('GC'), { ...CONFIG, ...valid }).details, /^[^\n]*has 65537 entries[^\n]*$/);
});

test('property: whatever comes in, the answer is a request or a Fault with problems', () => {
  const keys = `cniVersion name type ipam dns mtu args runtimeConfig prevResult tartan ips mac portMappings
    hostPort ranges routes cni interfaces __proto__ cni.dev/valid-attachments`.split(/\s+/);
  const { tree } = fc.letrec((tie) => ({
    leaf: fc.oneof(fc.constantFrom('1.1.0', 'pods', '10.0.0.1/24', ''), fc.jsonValue(), fc.double()),
    tree: fc.oneof(
      { maxDepth: 4 },
      tie('leaf'),
      fc.array(tie('tree'), { maxLength: 3 }),
      fc.dictionary(fc.constantFrom(...keys), tie('tree'), { maxKeys: 6 }),
    ),
  }));
  const base = fc.constantFrom({}, CONFIG, { ...GC_CONFIG }, { ...CONFIG, prevResult: PREV });
  const stdin = fc.oneof(
    fc.string(),
    tree.map((value) => JSON.stringify(value) ?? ''),
    fc
      .tuple(base, fc.dictionary(fc.constantFrom(...keys), tree))
      .map(([config, more]) => JSON.stringify({ ...config, ...more })),
  );
  const variables = fc.record({
    verb: fc.constantFrom('ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION', ''),
    more: fc.dictionary(fc.constantFrom('CNI_ARGS', 'CNI_IFNAME', 'CNI_CONTAINERID'), fc.string()),
  });
  let accepted = 0;
  fc.assert(
    fc.property(variables, stdin, ({ verb, more }, text) => {
      try {
        parseRequest(env(verb, more), text);
        accepted += 1;
      } catch (error) {
        assert.ok(error instanceof Fault, String(error));
        assert.ok(error.problems.length > 0 && error.problems.length <= 51);
        JSON.parse(encodeError(error, answerVersion(text)));
      }
    }),
    { numRuns: 2000 },
  );
  assert.ok(accepted > 20, `only ${accepted} accepted`);
});
