/** How other programs' chains end, asked of the kernel: rules of nft and of iptables. */
import assert from 'node:assert/strict';
import { closeSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { inNetns, openNetns, ready } from '#kernel/netns.ts';
import { openNftables, type Nftables } from '#kernel/nftables/nftables.ts';
import { makeNamespace, type Namespace, whyNoKernel } from './namespace.ts';

const skip = whyNoKernel(['ip', 'nft']) ?? false;
const noIptables = whyNoKernel(['iptables-nft']) ?? false;

/** The last rule lets nothing pass. */
const FINAL = [
  'drop',
  'counter drop',
  'reject',
  'counter reject with icmpx admin-prohibited',
  'log prefix "no: " counter drop comment "x y"',
];
const PASSING = [
  'ct state invalid drop',
  'accept',
  'jump later',
  'ip saddr 10.0.0.1 reject',
  'limit rate 5/second drop',
  'counter',
];

describe('how chains of others end', { skip }, () => {
  let netns: Namespace;
  let nftables: Nftables;
  before(async () => {
    await ready;
    netns = makeNamespace('lr-1');
    const fd = openNetns(netns.path);
    nftables = inNetns(fd, openNftables);
    closeSync(fd);
  });
  after(() => {
    nftables?.close();
    netns?.remove();
  });

  const rejecting = (): string[] =>
    nftables
      .filterChains()
      .filter(({ rejects }) => rejects === true)
      .map(({ family, table, chain }) => `${family} ${table} ${chain}`);
  const nft = (text: string): Promise<string> => netns.must(['nft', '-f', '-'], { input: text });

  for (const [rules, ends] of [
    [FINAL, true],
    [PASSING, false],
  ] as const)
    for (const rule of rules)
      test(`${rule}: ${ends ? 'nothing passes' : 'some pass'}`, async () => {
        await nft(`table inet other {
          chain later { }
          chain forward {
            type filter hook forward priority 10; policy accept;
            ct state established accept
            ${rule}
          }
        }`);
        assert.deepEqual(rejecting(), ends ? ['inet other forward'] : []);
        await nft('delete table inet other');
      });

  test('a drop before the last rule, and no rule at all', async () => {
    await nft(`table ip other {
      chain input { type filter hook input priority 0; policy accept; drop; accept; }
      chain forward { type filter hook forward priority 0; policy accept; }
    }`);
    assert.deepEqual(rejecting(), []);
    await nft('delete table ip other');
  });

  test('rules of iptables', { skip: noIptables }, async () => {
    const append = (...words: readonly string[]): Promise<string> =>
      netns.must(['iptables-nft', '-A', 'FORWARD', ...words]);
    await append('-s', '10.0.0.1', '-j', 'REJECT');
    assert.deepEqual(rejecting(), []);
    await append('-m', 'comment', '--comment', 'the rest', '-j', 'REJECT');
    assert.deepEqual(rejecting(), ['ip filter FORWARD']);
    await append('-j', 'ACCEPT');
    assert.deepEqual(rejecting(), []);
    await append('-j', 'DROP');
    assert.deepEqual(rejecting(), ['ip filter FORWARD']);
  });
});
