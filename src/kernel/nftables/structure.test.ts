import assert from 'node:assert/strict';
import { test } from 'node:test';
import { changesHooks, declarations, listedBody, recreateTable, reloadTable } from './structure.ts';

const BODY = `
set peers4 { type ipv4_addr; }
map hostports4 { type inet_proto . inet_service : ipv4_addr . inet_service; }
# chain comment { is no declaration
chain input {
  type filter hook input priority filter; policy accept;
  udp dport { 8472, 8473 } ip saddr != @peers4 drop comment "chain x { set"
  meta mark set 0x2000 jump other
}
chain other { return; }`;

test('declarations are those of the top level', () => {
  assert.deepEqual(
    [...declarations(BODY)],
    [
      ['peers4', { kind: 'set', base: false }],
      ['hostports4', { kind: 'map', base: false }],
      ['input', { kind: 'chain', base: true }],
      ['other', { kind: 'chain', base: false }],
    ],
  );
});

test('a listing without its braces is a body', () => {
  const body = listedBody(`table inet tartan {\n${BODY}\n}\n`);
  assert.deepEqual(declarations(body), declarations(BODY));
});

test('a reload deletes what vanished, chains before sets, and keeps the rest', () => {
  const item = { kind: 'nft-table', family: 'inet', body: 'chain a { return; }' } as const;
  const commands = reloadTable(
    item,
    declarations('set s { type ipv4_addr; }\nchain b { }\nchain a { }'),
  ).split('\n');
  assert.deepEqual(commands.slice(0, 4), [
    'add table inet tartan',
    'flush table inet tartan',
    'delete chain inet tartan b',
    'delete set inet tartan s',
  ]);
  assert.ok(!commands.some((command) => command.startsWith('delete chain inet tartan a')));
});

test('a chain that gets on a hook is told apart', () => {
  const item = { kind: 'nft-table', family: 'inet', body: BODY } as const;
  assert.equal(changesHooks(item, declarations(BODY)), false);
  assert.equal(changesHooks(item, declarations('chain input { return; }')), true);
});

test('a new table keeps the elements of the sets that it still has', () => {
  const item = { kind: 'nft-table', family: 'inet', body: BODY } as const;
  const commands = recreateTable(item, [
    { kind: 'nft-element', set: 'peers4', key: ['192.0.2.1'] },
    { kind: 'nft-element', set: 'podsources4', key: ['tt1', '10.0.0.1'] },
    { kind: 'nft-element', set: 'hostports4', key: ['tcp', '80'], data: ['10.0.0.1', '8080'] },
  ]);
  assert.match(commands, /add element inet tartan peers4 \{ 192\.0\.2\.1 \}/);
  assert.match(commands, /add element inet tartan hostports4 \{ tcp \. 80 : 10\.0\.0\.1 \. 8080 \}/);
  assert.doesNotMatch(commands, /podsources4/);
});
