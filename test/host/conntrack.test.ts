/** Deleting conntrack entries, in a network namespace that dies with the process; conntrack(8) makes and counts them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { Conntrack } from '#kernel/conntrack.ts';
import { Cutter } from '#kernel/conntrack-cut.ts';
import type { ConntrackFilter } from '#kernel/kernel.ts';
import { ready } from '#kernel/netns.ts';
import { unshare } from '#kernel/sys.ts';
import type { Flow } from '#model/verdict.ts';
import { address } from '#net/address.ts';

const skip =
  process.getuid?.() !== 0 ? 'needs root' : existsSync('/usr/sbin/conntrack') ? false : 'needs conntrack(8)';
const CLONE_NEWNET = 0x4000_0000;
const conntrack = (...args: string[]): string =>
  execFileSync('conntrack', args, { encoding: 'utf8', stdio: 'pipe' });

/** A connection from `source` to `destination`:`port` that is translated to `pod`:80. */
function create(
  protocol: 'tcp' | 'udp',
  [source, destination, pod]: [string, string, string],
  port: number,
): void {
  const tcp = protocol === 'tcp' ? ['--state', 'ESTABLISHED', '--mark', '65'] : [];
  const original = ['-s', source, '-d', destination, '--sport', String(4000 + port), '--dport', String(port)];
  const reply = ['-r', pod, '-q', source, '--reply-port-src', '80', '--reply-port-dst', String(4000 + port)];
  conntrack('-I', '-p', protocol, '-t', '600', ...original, ...reply, ...tcp);
}
const HOST4 = ['198.51.100.1', '192.0.2.1', '10.0.0.5'] as [string, string, string];
const HOST6 = ['2001:db8::9', '2001:db8::1', 'fd00::5'] as [string, string, string];

function fill(): void {
  unshare(CLONE_NEWNET);
  create('udp', HOST4, 53);
  create('udp', HOST4, 54);
  create('tcp', HOST4, 53);
  create('udp', HOST6, 53);
  create('tcp', HOST6, 443);
}
const count = (): number =>
  ['ipv4', 'ipv6'].flatMap((family) => conntrack('-L', '-f', family).split('\n').filter(Boolean)).length;
await ready;

const CASES: [string, ConntrackFilter[], number][] = [
  ['a port of a protocol, both families', [{ protocol: 'udp', originalDestinationPort: 53 }], 2],
  ['an original destination', [{ originalDestination: address('192.0.2.1') }], 3],
  ['a pod address seen in the reply only', [{ anyAddress: address('fd00::5') }], 2],
  ['a source', [{ anyAddress: address('198.51.100.1') }], 3],
  ['the translated address is no original destination', [{ originalDestination: address('10.0.0.5') }], 0],
  ['several filters', [{ anyAddress: address('fd00::5') }, { protocol: 'tcp' }], 3],
  ['no filter', [], 0],
  ['an empty filter', [{}], 0],
];
for (const [name, filters, deleted] of CASES) {
  test(`flush: ${name}`, { skip }, async () => {
    fill();
    assert.equal(count(), 5);
    const table = new Conntrack((work) => work());
    await table.flush(filters);
    assert.equal(count(), 5 - deleted);
    await table.flush(filters);
    assert.equal(count(), 5 - deleted);
    table.close();
  });
}

test(
  'cut marks what is denied, once, and takes the mark back; other bits and connections stay',
  { skip },
  async () => {
    fill();
    const marks = (): string[] =>
      ['ipv4', 'ipv6']
        .flatMap((family) =>
          [...conntrack('-L', '-f', family).matchAll(/mark=(\d+)/g)].map(([, mark]) => mark ?? ''),
        )
        .sort();
    assert.deepEqual(marks(), ['0', '0', '0', '65', '65']);
    const cutter = new Cutter((work) => work());
    const isTcp = ({ protocol }: Flow): boolean => protocol === 6;
    assert.deepEqual(await cutter.cut(isTcp), { cut: 2, restored: 0 });
    assert.deepEqual(marks(), ['0', '0', '0', '4161', '4161']);
    assert.deepEqual(await cutter.cut(isTcp), { cut: 0, restored: 0 });
    const seen: Flow[] = [];
    const restored = await cutter.cut((flow) => seen.push(flow) < 0);
    assert.deepEqual(restored, { cut: 0, restored: 2 });
    assert.deepEqual(marks(), ['0', '0', '0', '65', '65']);
    const web = seen.find(({ before }) => before?.destinationPort === 443);
    assert.deepEqual(web, {
      protocol: 6,
      source: '2001:db8::9',
      sourcePort: 4443,
      destination: 'fd00::5',
      destinationPort: 80,
      before: { destination: '2001:db8::1', destinationPort: 443 },
    });
    cutter.close();
  },
);
