import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { Fault } from '#model/fault.ts';
import { fromFlannelNetConf } from './net-conf.ts';
import { parseSettings } from './parse.ts';
import { editDistance, nearest } from './suggest.ts';

const PROFILES = { flannel: 'network:\n  ipv4: {range: 10.244.0.0/16}\nwiring: {type: bridge}\n', bare: '' };
const HEAD = 'apiVersion: tartan.dev/v1\nkind: Settings\nnode: {name: a}\n';
const parse = (text: string, overrides: Record<string, unknown> = {}) =>
  parseSettings([{ origin: 'f', text: HEAD + text }], PROFILES, overrides);

/** The problems as lines. */
function problems(text: string, overrides: Record<string, unknown> = {}): string[] {
  try {
    parse(text, overrides);
  } catch (error) {
    assert.ok(error instanceof Fault && error.code === 'settings-invalid');
    return error.details.split('\n');
  }
  return [];
}

test('later layers win, groups merge, lists replace', () => {
  const { settings } = parse('underlay: {mtu: 9000, interfaces: [a, b]}\n', {
    'underlay.interfaces': ['c'],
    'road.vxlan.vni': 5,
  });
  assert.equal(settings.wiring.type, 'bridge', 'from the profile');
  assert.deepEqual([settings.underlay.mtu, settings.underlay.interfaces], [9000, ['c']]);
  assert.deepEqual([settings.road.vxlan.vni, settings.road.vxlan.port], [5, 8472]);
  assert.equal(settings.network.subnets[4]?.min, '10.244.1.0/24');
  assert.ok(Object.isFrozen(settings.road.vxlan));
});

test('one mode for all roads: directRouting is a spelling of it, Never is host-gw', () => {
  const roadOf = (text: string): unknown[] => {
    const { settings, warnings } = parseSettings([{ origin: 'f', text: `${HEAD}road: ${text}` }], PROFILES, {
      'node.name': 'a',
    });
    return [settings.road.type, settings.road.mode, ...warnings.map(({ path }) => path)];
  };
  assert.deepEqual(roadOf('{type: ipip}'), ['ipip', 'Always']);
  assert.deepEqual(roadOf('{type: gre, mode: CrossSubnet}'), ['gre', 'CrossSubnet']);
  assert.deepEqual(roadOf('{type: ipip, mode: Never}'), ['host-gw', 'Always']);
  assert.deepEqual(roadOf('{vxlan: {directRouting: true}}'), ['vxlan', 'CrossSubnet']);
  assert.deepEqual(roadOf('{mode: CrossSubnet}'), ['vxlan', 'CrossSubnet']);
  assert.deepEqual(roadOf('{type: host-gw, mode: Always}'), ['host-gw', 'Always', 'f:4 road.mode']);
  assert.match(
    problems('', { 'road.udp.passwordFile': '/word' })[0] ?? '',
    /passwordFile: is for a cipher, not for plain/,
  );
  const strict = { 'road.type': 'udp', 'road.udp.strict': true };
  assert.match(problems('', strict).join(), /udp\.strict: needs a cipher/);
  assert.deepEqual(problems('', { ...strict, 'road.udp.cipher': 'aes-256-gcm' }), []);
  assert.match(
    problems('', { ...strict, 'road.type': 'vxlan', 'road.udp.cipher': 'aes-256-gcm' }).join(),
    /udp\.strict: needs the road udp, not vxlan/,
  );
  assert.match(
    problems('', { 'road.wireguard.strict': true })[0] ?? '',
    /strict: needs the road wireguard, not vxlan/,
  );
  assert.match(
    problems('', {
      'road.type': 'wireguard',
      'road.mode': 'CrossSubnet',
      'road.wireguard.strict': true,
    })[0] ?? '',
    /strict: would drop what the mode CrossSubnet sends plain/,
  );
  assert.match(
    problems('', { 'road.mode': 'Always', 'road.vxlan.directRouting': true })[0] ?? '',
    /road.mode: Always contradicts road.vxlan.directRouting/,
  );
});

test('null switches a family off, an empty group says nothing', () => {
  const { settings } = parse('underlay:\nnetwork:\n  ipv4: null\n  ipv6: {range: "fd00::/48"}\n');
  assert.deepEqual(Object.keys(settings.network.subnets), ['6']);
});

test('everything that is wrong is told at its line', () => {
  assert.deepEqual(
    problems(
      'roud: 1\nroad:\n  vxlan: {prt: 1, vni: 0}\n  type: x\nunderlay:\n  interfaceRegexes: ["("]\n',
    ).sort(),
    [
      'f:4 roud: unknown setting; did you mean road?',
      'f:6 road.vxlan.prt: unknown setting; did you mean port?',
      'f:6 road.vxlan.vni: must be a whole number from 1 to 16777215',
      'f:7 road.type: must be one of vxlan, host-gw, ipip, gre, fou, layer2, wireguard, ipsec, udp, bgp, bgp-ipip, alloc, auto, not "x"',
      'f:9 underlay.interfaceRegexes.0: Invalid regular expression: /(/: Unterminated group',
    ],
  );
  assert.match(problems('profile: flanel\n')[0] ?? '', /^f:4 profile: .*did you mean flannel\?$/);
  assert.match(problems('a: [\n')[0] ?? '', /^f:\d/);
  assert.match(problems('', { 'road.vxlan.port': 0 })[0] ?? '', /^flag road.vxlan.port: /);
});

const CROSS: readonly (readonly [string, RegExp])[] = [
  ['network: {lease: {ttlSeconds: 60}}', /network.lease.renewBeforeSeconds: must be less than/],
  ['network: {ipv4: {subnetLength: 17}}', /network.ipv4.subnetLength: must be between 18/],
  ['network: {ipv4: {subnetMin: 10.0.0.0}}', /network.ipv4.subnetMin: /],
  ['network: {ipv4: {nodeSubnet: 10.9.0.0/24}}', /network.ipv4.nodeSubnet: 10.9.0.0\/24 is outside/],
  ['profile: bare', /network: needs ipv4.range/],
  [
    'addresses: {type: node-cidr}\nnetwork: {ipv4: {nodeSubnet: 10.244.3.0/24}}',
    /network.ipv4.nodeSubnet: must not be there where addresses.type is node-cidr/,
  ],
  ['kubernetes: {startupTaint: no key}', /kubernetes.startupTaint: must be the key of a taint/],
  ['kubernetes: {flannel: {prefix: flannel}}', /kubernetes.flannel.prefix: must be a domain name/],
  ['addresses: {exclude: [1.0.0.0/8]}', /addresses.exclude.0: .*excludes nothing/],
  ['addresses: {exclude: [10.0.0.0/8]}', /addresses.exclude.0: .*leaves no address/],
  ['underlay: {mtu: 1500}\nwiring: {mtu: 1460}', /wiring.mtu: 1460 does not fit: the road leaves 1450/],
  ['network: {ipv6: {range: "fd00::/48"}}\nwiring: {mtu: 1279}', /wiring.mtu: IPv6 needs at least 1280/],
  ['network: {ipv6: {range: "fd00::/48"}}\nunderlay: {mtu: 1329}', /underlay.mtu: leaves 1279/],
  ['paths: {state: /run/tartan/x}', /paths.state: must not be inside/],
  ['policy: {enforce: true}\nwiring: {dropSpoofed: false}', /wiring.dropSpoofed: must be true/],
  [
    'policy: {failsafe: {inbound: ["tcp:22", "tcp:0x16", "udp:10.0.0.1/8:53"]}}',
    /inbound.1: must be .*inbound.2: must be/s,
  ],
  ['paths: {cniBin: opt}', /paths.cniBin: must be an absolute path/],
];
for (const [text, pattern] of CROSS) {
  test(`refused: ${text.replaceAll('\n', ' ')}`, () =>
    assert.match(problems(`${text}\n`).join('\n'), pattern));
}

test('any YAML-like text gives settings or a Fault with a place for each problem', () => {
  const line = fc.constantFrom(
    'road:',
    '  type: vxlan',
    '  vxlan: {vni: 3}',
    'x: &a [*a]',
    '- 1',
    '{',
    'underlay: 3',
    '? a',
    '"',
    'network: {ipv4: {range: 1.2.3.4/8}}',
    'road: {type: 7}',
    '__proto__: {a: 1}',
    'log: {level: 1e9}',
  );
  fc.assert(
    fc.property(fc.array(fc.oneof(line, fc.string({ maxLength: 12 })), { maxLength: 8 }), (lines) => {
      try {
        parse(lines.join('\n'));
      } catch (error) {
        assert.ok(error instanceof Fault, String(error));
        assert.ok(
          error.problems.length > 0 &&
            error.problems.every((each) => each.path !== '' && each.message !== ''),
        );
      }
    }),
    { numRuns: 300 },
  );
});

test('flannel’s net-conf.json becomes settings', () => {
  const { fragment, warnings } = fromFlannelNetConf(
    '{"network":"10.1.0.0/16","SubnetLen":26,"EnableIPv6":true,"IPv6Network":"fd00::/56","Backend":{"type":"vxlan","VNI":4096,"directRouting":true,"MTU":1400,"MacPrefix":"x"},"Foo":1}',
  );
  assert.deepEqual(
    warnings.map((each) => each.path),
    ['foo', 'Backend.macprefix'],
  );
  const { settings } = parseSettings([], PROFILES, { ...fragment, 'node.name': 'a' });
  assert.equal(settings.network.subnets[4]?.length, 26);
  assert.equal(settings.network.subnets[6]?.range, 'fd00::/56');
  assert.deepEqual(
    [settings.road.vxlan.vni, settings.road.vxlan.directRouting, settings.underlay.mtu],
    [4096, true, 1400],
  );
  const old = fromFlannelNetConf('{"Network":"10.1.0.0/16"}');
  assert.equal(old.fragment['road.type'], 'vxlan');
  assert.match(old.warnings[0]?.message ?? '', /vxlan is taken/);
  for (const bad of ['[]', '{', '{"Backend":3}']) assert.throws(() => fromFlannelNetConf(bad), Fault);
});

test('every backend of flannel is a road, or refused with the reason', () => {
  const read = (backend: object) => {
    const { fragment, warnings } = fromFlannelNetConf(
      JSON.stringify({ Network: '10.1.0.0/16', Backend: backend }),
    );
    const { settings } = parseSettings([], PROFILES, { ...fragment, 'node.name': 'a' });
    return { road: settings.road, mtu: settings.underlay.mtu, warnings: warnings.map(({ path }) => path) };
  };
  const wireguard = read({ Type: 'wireguard', ListenPort: 51_821, MTU: 1420, PSK: 's', Mode: 'auto' });
  assert.deepEqual(
    [wireguard.road.type, wireguard.road.wireguard.port, wireguard.mtu],
    ['wireguard', 51_821, 1420],
  );
  assert.deepEqual(wireguard.warnings, ['Backend.mode', 'Backend.psk']);
  const sealed = read({ Type: 'ipsec', PSK: 's'.repeat(96), UDPEncap: true, ESPProposal: 'aes128gcm16' });
  assert.deepEqual([sealed.road.type, sealed.road.ipsec.udp], ['ipsec', 'always']);
  assert.deepEqual(sealed.warnings, ['Backend.psk', 'Backend.espproposal']);
  const modes = [{}, { DirectRouting: false }, { DirectRouting: true }].map((more) => {
    const { road, warnings } = read({ Type: 'ipip', ...more });
    return [road.type, road.mode, ...warnings];
  });
  assert.deepEqual(modes, [
    ['ipip', 'Always'],
    ['ipip', 'Always'],
    ['ipip', 'CrossSubnet'],
  ]);
  const udp = read({ Type: 'udp', Port: 9000 }).road;
  assert.deepEqual([udp.type, udp.udp], ['udp', { port: 9000, cipher: 'plain', strict: false }]);
  assert.equal(read({ Type: 'host-gw' }).road.type, 'host-gw');
  assert.equal(read({ Type: 'alloc' }).road.type, 'alloc');
  assert.throws(() => read({ Type: 'extension', PreStartupCommand: 'x' }), /what other nodes wrote/);
  assert.throws(() => read({ Type: 'aws-vpc' }), /take `alloc`/);
  assert.throws(() => read({ Type: 'nosuch' }), /is none of vxlan, host-gw/);
});

test('edit distance is a metric, and suggestions are near', () => {
  const word = fc.string({ maxLength: 8 });
  fc.assert(
    fc.property(word, word, word, (a, b, c) => {
      assert.equal(editDistance(a, b), editDistance(b, a));
      assert.equal(editDistance(a, b) === 0, a === b);
      assert.ok(editDistance(a, c) <= editDistance(a, b) + editDistance(b, c));
    }),
  );
  assert.equal(nearest('completelyelse', ['vni', 'port']), undefined);
});
