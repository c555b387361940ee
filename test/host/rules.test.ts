/**
 * The rules that are planned are rules that nft loads, and they do to real packets what they say. Everything happens in
 * namespaces of this test: `host` (with the rules), `pod` and `peer`, each behind a veth pair.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { execPath, getuid, pid } from 'node:process';
import { after, before, test } from 'node:test';
import { tablesOf } from './tables.ts';

const skip = getuid?.() === 0 ? false : 'needs root for network namespaces';
const [HOST, POD, PEER] = ['host', 'pod', 'peer'].map((name) => `cf-rules-${pid}-${name}`) as [
  string,
  string,
  string,
];

function run(command: string): string {
  const [file = '', ...args] = command.split(' ');
  return execFileSync(file, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] });
}
const inside = (netns: string, command: string): string => run(`ip netns exec ${netns} ${command}`);
function nft(netns: string, text: string, ...flags: string[]): void {
  const result = spawnSync('ip', ['netns', 'exec', netns, 'nft', ...flags, '-f', '-'], {
    input: text,
    encoding: 'utf8',
  });
  assert.equal(result.status, 0, `${result.stderr}\n${text}`);
}

before(() => {
  if (skip !== false) return;
  for (const netns of [HOST, POD, PEER]) run(`ip netns add ${netns}`);
  run(`ip link add ttpod netns ${HOST} type veth peer name eth0 netns ${POD}`);
  run(`ip link add eth0 netns ${HOST} type veth peer name eth0 netns ${PEER}`);
  for (const [netns, link] of [
    [HOST, 'lo'],
    [HOST, 'ttpod'],
    [HOST, 'eth0'],
    [POD, 'eth0'],
    [PEER, 'eth0'],
  ]) {
    run(`ip -n ${netns} link set ${link} up`);
  }
  run(`ip -n ${HOST} address add 192.0.2.1/24 dev eth0`);
  run(`ip -n ${PEER} address add 192.0.2.2/24 dev eth0`);
  run(`ip -n ${HOST} address add 10.244.1.1/24 dev ttpod`);
  run(`ip -n ${POD} address add 10.244.1.2/24 dev eth0`);
  run(`ip -n ${POD} address add 10.244.1.3/24 dev eth0`);
  run(`ip -n ${POD} route add default via 10.244.1.1`);
  for (const [netns, link, six] of [
    [HOST, 'eth0', '2001:db8::1/64'],
    [PEER, 'eth0', '2001:db8::2/64'],
    [HOST, 'ttpod', 'fd00:244:0:1::1/64'],
    [POD, 'eth0', 'fd00:244:0:1::2/64'],
    [POD, 'eth0', 'fd00:244:0:1::3/64'],
  ]) {
    run(`ip -n ${netns} address add ${six} dev ${link} nodad`);
  }
  run(`ip -n ${POD} route add default via fd00:244:0:1::1`);
  for (const key of ['net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1']) {
    inside(HOST, `sysctl -qw ${key}`);
  }
});
after(() => {
  if (skip !== false) return;
  for (const netns of [HOST, POD, PEER]) run(`ip netns del ${netns}`);
});

const SIX = { 'network.ipv6.range': 'fd00:244::/48' };
const VARIANTS: Record<string, Readonly<Record<string, unknown>>> = {
  flannel: { profile: 'flannel' },
  kubenet: { profile: 'kubenet' },
  'dual stack': { profile: 'flannel', ...SIX },
  'IPv6 only, promiscuous': { profile: 'kubenet', ...SIX, 'network.ipv4': null },
  'nothing on': {
    profile: 'kubenet',
    'road.type': 'alloc',
    'wiring.type': 'routed',
    'wiring.dropSpoofed': false,
    'masquerade.enabled': false,
    'forward.accept': false,
  },
};
for (const [name, overrides] of Object.entries(VARIANTS)) {
  test(`nft accepts the tables of: ${name}`, { skip }, () => nft(HOST, tablesOf(overrides), '-c'));
}

/** Does one UDP datagram (bytes in hexadecimal) arrive at `address:port` of the other namespace? Answers the source seen there. */
function sends(
  [from, source]: readonly [string, string],
  to: string,
  target: string,
  bytes = '78',
): string | undefined {
  const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(target) ?? [];
  const type = host.includes(':') ? 'udp6' : 'udp4';
  const send = `const s=require('dgram').createSocket('${type}');
    s.bind(0,'${source}',()=>s.send(Buffer.from('${bytes}','hex'),${port},'${host}',()=>s.close()))`;
  const receive = `const s=require('dgram').createSocket('${type}');
    s.on('message',(_,from)=>{console.log(from.address);s.close();process.exit()});
    s.bind(${to === POD ? 9000 : port},()=>{
      require('child_process').spawnSync('ip',['netns','exec','${from}',process.execPath,'-e',${JSON.stringify(send)}]);
      setTimeout(()=>s.close(),500)})`;
  const args = ['netns', 'exec', to, execPath, '-e', receive];
  const seen = execFileSync('ip', args, { encoding: 'utf8' }).trim();
  return seen === '' ? undefined : seen;
}
/** Flags, then the VNI in the upper three bytes. */
const vxlanHeader = (vni: number): string => `08000000${vni.toString(16).padStart(6, '0')}00`;

test('packets fare as the rules say', { skip }, async (t) => {
  const elements = (...lines: string[]): void =>
    nft(HOST, lines.map((line) => `add element inet tartan ${line}\n`).join(''));
  nft(HOST, tablesOf({ profile: 'flannel', 'wiring.type': 'routed', ...SIX }));
  elements('podsources4 { "ttpod" . 10.244.1.2 }', 'hostports4 { udp . 7000 : 10.244.1.2 . 9000 }');
  elements('podsources6 { "ttpod" . fd00:244:0:1::2 }', 'hostports6 { udp . 7000 : fd00:244:0:1::2 . 9000 }');

  await t.test('a pod may use its own source, and is masqueraded', () => {
    assert.equal(sends([POD, '10.244.1.2'], PEER, '192.0.2.2:5000'), '192.0.2.1');
    assert.equal(sends([POD, 'fd00:244:0:1::2'], PEER, '2001:db8::2:5000'), '2001:db8::1');
  });
  await t.test('and no other', () => {
    assert.equal(sends([POD, '10.244.1.3'], PEER, '192.0.2.2:5000'), undefined);
    assert.equal(sends([POD, 'fd00:244:0:1::3'], PEER, '2001:db8::2:5000'), undefined);
  });
  await t.test('a pod cannot send to the tunnel port, of a node or of its own', () => {
    assert.equal(sends([POD, '10.244.1.2'], PEER, '192.0.2.2:8472'), undefined);
    assert.equal(sends([POD, '10.244.1.2'], HOST, '192.0.2.1:8472'), undefined);
    assert.equal(sends([POD, 'fd00:244:0:1::2'], PEER, '2001:db8::2:8472'), undefined);
  });
  await t.test('our VNI is taken only from known peers, another VNI is not our business', () => {
    assert.equal(sends([PEER, '192.0.2.2'], HOST, '192.0.2.1:8472', vxlanHeader(1)), undefined);
    assert.equal(sends([PEER, '192.0.2.2'], HOST, '192.0.2.1:8472', vxlanHeader(2)), '192.0.2.2');
    elements('peers4 { 192.0.2.2 }');
    assert.equal(sends([PEER, '192.0.2.2'], HOST, '192.0.2.1:8472', vxlanHeader(1)), '192.0.2.2');
    assert.equal(sends([PEER, '2001:db8::2'], HOST, '2001:db8::1:8472', vxlanHeader(1)), undefined);
    elements('peers6 { 2001:db8::2 }');
    assert.equal(sends([PEER, '2001:db8::2'], HOST, '2001:db8::1:8472', vxlanHeader(1)), '2001:db8::2');
  });
  await t.test(
    'a host port leads to the pod: from outside with the client’s address, hairpin and 127.0.0.1 masqueraded',
    () => {
      assert.equal(sends([PEER, '192.0.2.2'], POD, '192.0.2.1:7000'), '192.0.2.2');
      inside(HOST, 'sysctl -qw net.ipv4.conf.ttpod.route_localnet=1');
      assert.equal(sends([POD, '10.244.1.2'], POD, '192.0.2.1:7000'), '10.244.1.1');
      assert.equal(sends([HOST, '127.0.0.1'], POD, '127.0.0.1:7000'), '10.244.1.1');
      assert.equal(sends([PEER, '192.0.2.2'], POD, '192.0.2.1:7001'), undefined);
      assert.equal(sends([PEER, '2001:db8::2'], POD, '2001:db8::1:7000'), '2001:db8::2');
      assert.equal(sends([POD, 'fd00:244:0:1::2'], POD, '2001:db8::1:7000'), 'fd00:244:0:1::1');
    },
  );
});
