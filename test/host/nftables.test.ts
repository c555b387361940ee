/** nf_tables by libnftables and raw netlink, in a network namespace that dies with the process. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import type { Change } from '#kernel/kernel.ts';
import { ready } from '#kernel/netns.ts';
import { openNftables } from '#kernel/nftables/nftables.ts';
import { close, NETLINK_NETFILTER, netlinkSocket, recvNow, unshare } from '#kernel/sys.ts';
import { diff, type Step } from '#model/diff.ts';
import { hostState, type Item, keyOf, type NftElementItem, type NftTableItem } from '#model/host.ts';
import { declareSet, NFT_SETS, type NftSetName } from '#model/nft-sets.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const CLONE_NEWNET = 0x4000_0000;
const NFNLGRP_NFTABLES = 7;

const nft = (...args: string[]): string => execFileSync('nft', args, { encoding: 'utf8', stdio: 'pipe' });
const add = (item: Item): Step => ({ op: 'add', key: keyOf(item), item });
const remove = (was: Item): Step => ({ op: 'remove', key: keyOf(was), was });
const peer = (address: string): NftElementItem => ({ kind: 'nft-element', set: 'peers4', key: [address] });
const hostPort = (port: number, ...data: string[]): NftElementItem => ({
  kind: 'nft-element',
  set: 'hostports4',
  key: ['tcp', String(port)],
  data,
});

const sets = (family: 'inet' | 'bridge'): string =>
  (Object.keys(NFT_SETS) as NftSetName[])
    .filter((name) => NFT_SETS[name].family === family)
    .map(declareSet)
    .join('\n');
const table = (rules: string, more = ''): NftTableItem => ({
  kind: 'nft-table',
  family: 'inet',
  body: `${sets('inet')}\n${more}\nchain input {\n type filter hook input priority filter - 1; policy accept;\n ${rules}\n}`,
});
const first = table('ip saddr != @peers4 udp dport 8472 counter drop');
const second = table(
  'ip saddr @peers4 accept\nudp dport { 8472, 8473 } drop\njump more',
  'chain more { return; }',
);

/** A fresh namespace for one test, with the events that it makes. */
function within(work: (nf: ReturnType<typeof openNftables>, events: () => Change[]) => void): void {
  unshare(CLONE_NEWNET);
  const fd = netlinkSocket(NETLINK_NETFILTER, [NFNLGRP_NFTABLES]);
  const buffer = Buffer.alloc(1 << 20);
  const nf = openNftables();
  const events = (): Change[] => {
    const changes: Change[] = [];
    for (let size = recvNow(fd, buffer); size >= 0; size = recvNow(fd, buffer)) {
      changes.push(...nf.changes(buffer.subarray(0, size)));
    }
    return changes;
  };
  try {
    work(nf, events);
  } finally {
    nf.close();
    close(fd);
  }
}
await ready;

test('what was wanted is what is seen, for every set and both families', { skip }, () => {
  within((nf) => {
    const bridge: NftTableItem = { kind: 'nft-table', family: 'bridge', body: sets('bridge') };
    const sample = {
      ipv4_addr: '10.1.2.3',
      ipv6_addr: 'fd00::1:2',
      ether_addr: '02:00:00:00:00:01',
      ifname: 'tt0123456789abc',
      inet_proto: 'sctp',
      inet_service: '65535',
    } as const;
    const elements = (Object.keys(NFT_SETS) as NftSetName[]).map((set): NftElementItem => {
      const type: (typeof NFT_SETS)[NftSetName] = NFT_SETS[set];
      const key = type.key.map((field) => sample[field]);
      return 'data' in type
        ? { kind: 'nft-element', set, key, data: type.data.map((field) => sample[field]) }
        : { kind: 'nft-element', set, key };
    });
    const wanted = hostState([first, bridge, ...elements]);
    assert.deepEqual(nf.apply(diff(wanted, new Map())), []);
    assert.deepEqual(diff(wanted, hostState(nf.observe())), []);
    assert.match(
      nft('list', 'table', 'bridge', 'tartan'),
      /"tt0123456789abc" \. 02:00:00:00:00:01 \. 10\.1\.2\.3/,
    );
    assert.match(nft('list', 'table', 'inet', 'tartan'), /sctp \. 65535 : 10\.1\.2\.3 \. 65535/);
    assert.deepEqual(nf.apply(diff(new Map(), hostState(nf.observe()))), []);
    assert.equal(nft('list', 'ruleset'), '');
  });
});

test('a new structure keeps the elements; drift and another process’s table show', { skip }, () => {
  within((nf) => {
    nf.apply([add(first), add(peer('192.0.2.1')), add(hostPort(80, '10.0.0.1', '8080'))]);
    const elements = [peer('192.0.2.1'), hostPort(80, '10.0.0.1', '8080')];
    for (const next of [second, first]) {
      assert.deepEqual(nf.apply([{ op: 'replace', key: keyOf(next), item: next, was: first }]), []);
      assert.deepEqual(nf.observe(), [next, ...elements]);
    }
    assert.doesNotMatch(nft('list', 'ruleset'), /chain more/);
    nft('add', 'rule', 'inet', 'tartan', 'input', 'drop');
    assert.notDeepEqual(nf.observe()[0], first);
    assert.equal(diff(hostState([first, ...elements]), hostState(nf.observe())).length, 1);
    nf.apply([add(first)]);
    assert.deepEqual(nf.observe(), [first, ...elements]);
    const other = openNftables();
    assert.equal(diff(hostState([first, ...elements]), hostState(other.observe())).length, 1);
    other.close();
  });
});

test(
  'a set of another type, or a chain that leaves its hook: made anew, with the elements that fit',
  { skip },
  () => {
    within((nf) => {
      nft(
        'table inet tartan { set peers4 { type ipv6_addr; elements = { ::1 }; }; chain input { return; }; }',
      );
      assert.deepEqual(nf.apply([add(first)]), []);
      assert.deepEqual(nf.apply([add(peer('192.0.2.1')), add(hostPort(80, '10.0.0.1', '8080'))]), []);
      const elements = [peer('192.0.2.1'), hostPort(80, '10.0.0.1', '8080')];
      nft('delete set inet tartan podsources4; add set inet tartan podsources4 { type ipv4_addr; }');
      assert.deepEqual(nf.apply([add(first)]), []);
      assert.deepEqual(nf.observe(), [first, ...elements]);
      nft('delete chain inet tartan input; add chain inet tartan input');
      assert.deepEqual(nf.apply([add(first)]), []);
      assert.deepEqual(nf.observe(), [first, ...elements]);
      assert.match(nft('list', 'chain', 'inet', 'tartan', 'input'), /type filter hook input/);
      nft('add chain inet tartan more { type filter hook forward priority 0; policy drop; }');
      assert.deepEqual(nf.apply([add(second)]), []);
      assert.doesNotMatch(nft('list', 'chain', 'inet', 'tartan', 'more'), /hook/);
      nf.apply([add(first)]);
      const wrong = table('this is no nft');
      assert.equal(nf.apply([add(wrong)])[0]?.code, 'EINVAL');
      assert.deepEqual(nf.observe()[0], first);
    });
  },
);

test('refused elements are named; the others are applied', { skip }, () => {
  within((nf) => {
    nf.apply([add(first), add(peer('192.0.2.1')), add(hostPort(80, '10.0.0.1', '1'))]);
    const bad = { ...peer('192.0.2.300') };
    const noSet: NftElementItem = {
      kind: 'nft-element',
      set: 'portsources4',
      key: ['tt1', '02:00:00:00:00:01', '10.0.0.1'],
    };
    const failures = nf.apply([
      remove(peer('192.0.2.9')),
      add(peer('192.0.2.1')),
      add(peer('192.0.2.2')),
      add(bad),
      add(noSet),
      add(hostPort(80, '10.0.0.2', '2')),
      { op: 'replace', key: '', item: hostPort(81, '10.0.0.3', '3'), was: hostPort(81, '10.0.0.4', '4') },
    ]);
    assert.deepEqual(
      failures.map(({ step, code }) => [step.op === 'add' && step.item, code]),
      [
        [bad, 'EINVAL'],
        [noSet, 'ENOENT'],
      ],
    );
    const seen = hostState(nf.observe());
    const wanted = [
      first,
      peer('192.0.2.1'),
      peer('192.0.2.2'),
      hostPort(80, '10.0.0.2', '2'),
      hostPort(81, '10.0.0.3', '3'),
    ];
    assert.deepEqual(diff(hostState(wanted), seen), []);
    assert.equal(seen.size, wanted.length);
  });
});

test('40,000 elements in one transaction, and all refused when the table is missing', { skip }, () => {
  within((nf) => {
    const many = Array.from({ length: 40_000 }, (_, n) => peer(`10.${n >> 14}.${(n >> 7) & 127}.${n & 127}`));
    const codes = nf.apply(many.map(add)).map(({ code }) => code);
    assert.equal(codes.length, many.length);
    assert.deepEqual([...new Set(codes)], ['ENOENT']);
    nf.apply([add(first)]);
    assert.deepEqual(nf.apply(many.map(add)), []);
    assert.equal(nf.observe().length, many.length + 1);
    assert.deepEqual(nf.apply(many.map(remove)), []);
    assert.deepEqual(nf.observe(), [first]);
  });
});

test('a rule in somebody else’s chain: at the top, once, found again, removed', { skip }, () => {
  within((nf, events) => {
    const rule = {
      kind: 'foreign-rule',
      family: 'ip',
      table: 'filter',
      chain: 'DOCKER-USER',
      rule: 'ip saddr 10.0.0.0/8 counter accept',
      comment: 'tartan forward',
    } as const;
    assert.equal(nf.apply([add(rule)])[0]?.code, 'ENOENT');
    assert.deepEqual(nf.apply([remove(rule)]), []);
    nf.apply([add(rule)]);
    nft('add table ip filter; add chain ip filter DOCKER-USER; add rule ip filter DOCKER-USER drop');
    assert.deepEqual(events(), [{ type: 'resync' }], 'the chain that was missing came');
    assert.deepEqual(nf.apply([add(rule), add(rule)]), []);
    assert.deepEqual(nf.observe(), [rule]);
    assert.match(
      nft('list', 'ruleset'),
      /DOCKER-USER \{\s+ip saddr 10\.0\.0\.0\/8 counter[^\n]* accept comment "tartan forward"\s+drop/,
    );
    const other = openNftables();
    assert.equal(diff(hostState([rule]), hostState(other.observe())).length, 1);
    assert.deepEqual(other.apply(diff(hostState([rule]), hostState(other.observe()))), []);
    assert.deepEqual(other.observe(), [rule]);
    other.close();
    assert.deepEqual(nf.apply([remove(rule)]), []);
    assert.doesNotMatch(nft('list', 'ruleset'), /tartan/);
  });
});

test('events: ours are nothing, others’ on what is ours ask for another look', { skip }, () => {
  within((nf, events) => {
    const settle = (): void => {
      nf.apply([add(second), add(peer('192.0.2.1')), remove(peer('192.0.2.1'))]);
    };
    settle();
    assert.deepEqual(events(), []);
    nft('add table ip other; add chain ip other c; add set ip other s { type ipv4_addr; }');
    nft('add element ip other s { 192.0.2.1 }');
    assert.deepEqual(events(), []);
    for (const command of [
      'add element inet tartan peers4 { 192.0.2.7 }',
      'delete element inet tartan peers4 { 192.0.2.7 }',
      'flush chain inet tartan input',
      'flush ruleset',
    ]) {
      nft(command);
      assert.deepEqual([...new Set(events().map(({ type }) => type))], ['resync'], command);
      settle();
      assert.deepEqual(events(), []);
    }
  });
});

test('the sockets stay in the namespace that they were opened in', { skip }, () => {
  within((nf) => {
    nf.apply([add(first)]);
    unshare(CLONE_NEWNET);
    assert.equal(nft('list', 'ruleset'), '');
    assert.deepEqual(nf.apply([add(peer('192.0.2.1'))]), []);
    assert.deepEqual(nf.observe(), [first, peer('192.0.2.1')]);
    assert.equal(nft('list', 'ruleset'), '');
  });
});
