/** BIRD's answers, as 2.0.12 gave them, read however they are cut; and what is done with passwords. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { readBfd } from './bfd.ts';
import { makeReplyReader, textOf } from './reply.ts';
import { readRoutes } from './routes.ts';
import { problemsOf, redact, rotatedBy, withPasswords } from './secrets.ts';
import { readSessions } from './sessions.ts';

const SESSIONS = `0001 BIRD 2.0.12 ready.
2002-Name       Proto      Table      State  Since         Info
1002-device1    Device     ---        up     2026-11-21 21:04:29  
1006-
1002-mesh4_192_168_1_2 BGP        ---        up     2026-11-21 21:04:30  Established   
1006-  Description:    mesh: n2
   BGP state:          Established
     Neighbor address: 192.168.1.2
     Neighbor AS:      64512
     Local AS:         64512
     Neighbor ID:      192.168.1.2
   Channel ipv4
     State:          UP
     Routes:         3 imported, 1 filtered, 2 exported, 1 preferred
 
1002-peer6_fd00__9 BGP        ---        start  2026-11-21 21:04:29  Active        Socket: Connection refused
1006-  Description:    rack
   BGP state:          Active
     Neighbor address: fd00::9
     Neighbor AS:      65001
     Local AS:         64512
     Last error:       Socket: Connection refused
   Channel ipv6
     State:          DOWN
 
1002-ospf4      OSPF       master4    up     2026-11-21 21:04:29  Running
1006-  Channel ipv4
     Routes:         2 imported, 1 exported, 1 preferred
 
0000 
`;

const ROUTES = `1007-Table master4:
 10.77.1.0/24         blackhole [pods4 2026-11-21 21:04:29] * (250)
1008-	Type: static univ
1007-                     unicast [connected 2026-11-21 21:04:29] (240)
 	dev pods0
1008-	Type: device univ
1007-10.77.2.0/24         unicast [peer4_192_168_1_9 2026-11-21 21:04:36 from 192.168.1.9] * (100) [AS65001i]
 	via 192.168.1.9 on eth0
 	via 192.168.1.8 on eth0 weight 1
1008-	Type: BGP univ
1012-	BGP.origin: IGP
 	BGP.as_path: 65001 65002
 	BGP.next_hop: 192.168.1.9
 	BGP.local_pref: 321
 	BGP.community: (64512,77) (65001,5)
 	BGP.large_community: (64512, 1, 2)
0000 
`;

function replies(text: string) {
  return makeReplyReader().read(text);
}

test('replies are the same however they are cut', () => {
  const text = SESSIONS + ROUTES + '9001 syntax error\n8002-Reading configuration\n8002 x:1:2 wrong\n';
  const whole = replies(text);
  assert.deepEqual(
    whole.map(({ failed }) => failed),
    [false, false, false, true, true],
  );
  assert.equal(textOf(whole[4] ?? { lines: [], failed: false }), 'Reading configuration\nx:1:2 wrong');
  fc.assert(
    fc.property(fc.array(fc.nat(text.length), { maxLength: 20 }), (cuts) => {
      const reader = makeReplyReader();
      const places = [0, ...cuts.sort((a, b) => a - b), text.length];
      const found = places.flatMap((place, index) => reader.read(text.slice(places[index - 1] ?? 0, place)));
      assert.deepEqual(found, whole);
    }),
  );
});

test('sessions', () => {
  const found = readSessions(replies(SESSIONS)[1] ?? { lines: [], failed: true });
  assert.deepEqual(found, [
    {
      name: 'mesh4_192_168_1_2',
      protocol: 'BGP',
      up: true,
      state: 'Established',
      since: '2026-11-21 21:04:30',
      neighbour: '192.168.1.2',
      neighbourAs: 64_512,
      localAs: 64_512,
      neighbourId: '192.168.1.2',
      channels: [{ family: 4, imported: 3, exported: 2, filtered: 1, preferred: 1 }],
    },
    {
      name: 'peer6_fd00__9',
      protocol: 'BGP',
      up: false,
      state: 'Active',
      problem: 'Socket: Connection refused',
      since: '2026-11-21 21:04:29',
      neighbour: 'fd00::9',
      neighbourAs: 65_001,
      localAs: 64_512,
      channels: [{ family: 6, imported: 0, exported: 0, filtered: 0, preferred: 0 }],
    },
    {
      name: 'ospf4',
      protocol: 'OSPF',
      up: true,
      state: 'Running',
      since: '2026-11-21 21:04:29',
      channels: [{ family: 4, imported: 2, exported: 1, filtered: 0, preferred: 1 }],
    },
  ]);
});

test('BFD, over one hop and over several', () => {
  const [reply] = replies(`1020-bfd1:
 IP address                Interface  State      Since         Interval  Timeout
 10.9.9.2                  v0         Down       2026-11-22 05:49:41    1.000    0.000
 10.9.9.2                  ---        Up         2026-11-22 05:49:42    0.200    1.000
 fd00::2                   v0         AdminDown  2026-11-22 05:49:41    0.050    0.000
0000 
`);
  const [since, neighbour] = ['2026-11-22 05:49:41', '10.9.9.2'];
  assert.deepEqual(readBfd(reply ?? { lines: [], failed: true }), [
    { neighbour, interface: 'v0', state: 'Down', since, intervalMs: 1000, timeoutMs: 0 },
    { neighbour, state: 'Up', since: '2026-11-22 05:49:42', intervalMs: 200, timeoutMs: 1000 },
    { neighbour: 'fd00::2', interface: 'v0', state: 'AdminDown', since, intervalMs: 50, timeoutMs: 0 },
  ]);
});

test('routes: several of one prefix, several ways, attributes', () => {
  const found = readRoutes(replies(ROUTES)[0] ?? { lines: [], failed: true }, false);
  const plain = { filtered: false, asPath: [], communities: [] };
  assert.deepEqual(found, [
    { ...plain, prefix: '10.77.1.0/24', from: 'pods4', via: [], kind: 'blackhole', chosen: true },
    {
      ...plain,
      prefix: '10.77.1.0/24',
      from: 'connected',
      via: [{ interface: 'pods0' }],
      kind: 'unicast',
      chosen: false,
    },
    {
      prefix: '10.77.2.0/24',
      from: 'peer4_192_168_1_9',
      via: [
        { gateway: '192.168.1.9', interface: 'eth0' },
        { gateway: '192.168.1.8', interface: 'eth0' },
      ],
      kind: 'unicast',
      chosen: true,
      filtered: false,
      asPath: [65_001, 65_002],
      nextHop: '192.168.1.9',
      localPreference: 321,
      communities: ['64512:77', '65001:5', '64512:1:2'],
    },
  ]);
});

test('passwords stand on the first line alone, and are left out of what is said', () => {
  const passwords = new Map([['password_a', 'geheim $& x']]);
  assert.equal(withPasswords('# first\nsecond', passwords), 'define password_a = "geheim $& x";\nsecond');
  assert.equal(redact('near geheim $& x and geheim $& x', passwords), 'near *** and ***');
  const problem = (password: string): number => problemsOf(new Map([['p', password]])).length;
  assert.deepEqual(
    ['', 'a"b', 'a\nb', 'ä'.repeat(41), 'ä'.repeat(40), 'a b'].map(problem),
    [1, 1, 1, 1, 0, 0],
  );
});

test('sessions whose password is another one: not those that are new, and not those whose password is as it was', () => {
  const of = (sessions: Record<string, string>, passwords: Record<string, string>): string => {
    const bodies = Object.entries(sessions).map(
      ([name, symbol]) => `protocol bgp ${name} {\n  multihop;\n${symbol && `  password ${symbol};\n`}}`,
    );
    return withPasswords(['# first', ...bodies, ''].join('\n'), new Map(Object.entries(passwords)));
  };
  const before = of({ a: 'one', b: 'two', c: '', gone: 'one' }, { one: 'x', two: 'y' });
  assert.deepEqual(rotatedBy(before, before), []);
  assert.deepEqual(rotatedBy(before, of({ a: 'one', b: 'two', c: '', d: 'one' }, { one: 'X', two: 'y' })), [
    'a',
  ]);
  assert.deepEqual(rotatedBy(before, of({ a: 'other', b: '', c: 'one' }, { one: 'x', other: 'x' })), [
    'b',
    'c',
  ]);
});
