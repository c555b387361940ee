/**
 * What netlink does to a program under load, for real: events that did not fit the socket's buffer, tables that change
 * while they are read, calls that a signal ends, and transactions that meet another program's.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { closeSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Host } from '#agent/host/host.ts';
import type { Change, Kernel } from '#kernel/kernel.ts';
import { openKernel } from '#kernel/linux.ts';
import { openNetns, ready } from '#kernel/netns.ts';
import { readAddress, RTM_GETADDR } from '#kernel/netlink/address.ts';
import { MessageWriter, NLM_F_DUMP } from '#kernel/netlink/message.ts';
import { openNetlink } from '#kernel/netlink/socket.ts';
import { inNetns } from '#kernel/netns.ts';
import { close, NETLINK_ROUTE, netlinkSocket, recv, setIntOption } from '#kernel/sys.ts';
import { diff } from '#model/diff.ts';
import { hostState, type Item, keyOf, type NftElementItem, type NftTableItem } from '#model/host.ts';
import { declareSet } from '#model/nft-sets.ts';
import { prefix } from '#net/prefix.ts';
import { makeNamespace, type Namespace, waitFor, whyNoKernel } from './namespace.ts';

const skip = whyNoKernel(['ip', 'nft']) ?? false;
const log = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} };
/** Of netlinkSocket: more than fits into its receive buffer, which holds some 20,000 events. */
const STORM = 60_000;

const blackhole = (number: number): Item => ({
  kind: 'route',
  type: 'blackhole',
  prefix: prefix(`10.66.${number}.0/24`),
  table: 254,
  metric: 512,
});

describe('netlink under load', { skip }, () => {
  let netns: Namespace;
  let fd: number;
  let kernel: Kernel & Disposable;
  let directory: string;
  before(async () => {
    await ready;
    netns = makeNamespace('ar-nl');
    netns.ip('link add eth0 type veth peer name eth0p');
    netns.ip('link set eth0 up');
    netns.ip('link set eth0p up');
    netns.ip('addr add 10.9.0.1/24 dev eth0');
    fd = openNetns(netns.path);
    kernel = openKernel().within(fd);
    directory = mkdtempSync(join(tmpdir(), 'ar-nl-'));
  });
  after(() => {
    kernel?.[Symbol.dispose]();
    if (fd !== undefined) closeSync(fd);
    netns?.remove();
    rmSync(directory, { recursive: true, force: true });
  });

  /** Commands of `ip`, one a line, as a file for `ip -batch`. */
  function batch(name: string, lines: readonly string[]): string {
    const file = join(directory, name);
    writeFileSync(file, `${lines.join('\n')}\n`);
    return file;
  }

  /** A shell that goes on inside until it is ended. */
  async function meanwhile<T>(script: string, work: () => Promise<T>): Promise<T> {
    const child: ChildProcess = netns.start(['sh', '-c', script]);
    const gone = new Promise((resolve) => child.once('exit', resolve));
    try {
      return await work();
    } finally {
      child.kill('SIGKILL');
      await gone;
    }
  }

  test('events that were lost (ENOBUFS): told as resync, then the host is as wanted again', async () => {
    const stop = new AbortController();
    const told: Change[] = [];
    const host = new Host({ kernel, brake: { share: 1, minimum: 1 }, log, nudge: () => {}, reap: () => {} });
    const wanted = [1, 2, 3].map(blackhole);
    host.set('test', wanted);
    host.allowRemovals();
    assert.equal(await host.pass(), 'ok');
    const following = (async () => {
      for await (const change of kernel.changes(stop.signal)) {
        told.push(change);
        host.onChange(change);
      }
    })();
    await new Promise((resolve) => setTimeout(resolve, 50));

    // The loop does not turn while they run, as if this process had no time.
    const routes = Array.from(
      { length: STORM },
      (_, n) => `10.${100 + (n >> 16)}.${(n >> 8) & 255}.${n & 255}`,
    );
    const storm = batch(
      'storm',
      routes.map((ip) => `route add blackhole ${ip}/32 metric 7`),
    );
    execFileSync('ip', ['-n', netns.name, '-batch', storm]);
    netns.ip('route del blackhole 10.66.2.0/24 metric 512');
    netns.ip('route add blackhole 10.66.9.0/24 metric 512 proto 84');
    assert.equal(told.length, 0);

    await waitFor('the loss to be noticed', () => told.some(({ type }) => type === 'resync'));
    assert.ok(told.length < STORM, `${told.length} changes were told`);
    await host.pass();
    const settled = (): boolean =>
      diff(hostState(wanted), kernel.observe({ sysctls: [], foreignLinks: [] })).length === 0;
    assert.ok(settled(), 'what was lost is made again, what was left over is gone');

    netns.ip('route del blackhole 10.66.3.0/24 metric 512');
    const key = keyOf(blackhole(3));
    await waitFor('events after the loss', () =>
      told.some((change) => change.type === 'item' && change.key === key && change.seen === undefined),
    );
    await host.pass();
    assert.ok(settled());
    stop.abort();
    await following;
    execFileSync('ip', ['-n', netns.name, 'route', 'flush', 'metric', '7']);
  });

  test('a table that changes while it is read (NLM_F_DUMP_INTR) is read again', async () => {
    const stable = Array.from({ length: 2000 }, (_, n) => `172.20.${n >> 8}.${n & 255}/32`);
    execFileSync('ip', [
      '-n',
      netns.name,
      '-batch',
      batch(
        'stable',
        stable.map((ip) => `addr add ${ip} dev eth0`),
      ),
    ]);
    // Those of scope host stand before all others in the kernel's list, so that every change moves the rest.
    const script = `while :; do ip addr add 172.31.0.1/32 dev eth0 scope host; ip addr del 172.31.0.1/32 dev eth0; done`;
    const socket = inNetns(fd, () => openNetlink());
    const writer = new MessageWriter();
    let repeated = 0;
    await meanwhile(script, async () => {
      const end = Date.now() + 60_000;
      while (repeated < 5 && Date.now() < end) {
        writer.clear();
        writer.begin(RTM_GETADDR, NLM_F_DUMP);
        writer.put32(0);
        writer.put32(0);
        writer.end();
        const attempts = new Set<number>();
        const rows = socket.dump(writer, (message) => {
          attempts.add(message.seq);
          return readAddress(message);
        });
        // After eight tries it is taken as it is, and the events tell the rest.
        if (attempts.size > 1 && attempts.size < 8) {
          repeated += 1;
          const seen = rows.map(({ address }) => String(address)).filter((one) => one.startsWith('172.20.'));
          assert.deepEqual(seen.toSorted(), stable.toSorted(), 'each address once');
        }
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
    });
    socket[Symbol.dispose]();
    assert.ok(repeated >= 5, `${repeated} dumps were repeated`);
  });

  test('a call that a signal ends (EINTR) is made again', async () => {
    const LINK_GROUP = 1;
    const [SOL_NETLINK, NETLINK_ADD_MEMBERSHIP] = [270, 1];
    const events = inNetns(fd, () => netlinkSocket(NETLINK_ROUTE));
    setIntOption(events, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, LINK_GROUP);
    const caught = new Promise((resolve) => process.once('SIGWINCH', resolve));
    const script = `sleep 0.3; kill -WINCH ${process.pid}; sleep 0.3; ip -n ${netns.name} link set eth0 mtu 1400`;
    const child = spawn('sh', ['-c', script], { stdio: 'ignore' });
    try {
      const size = recv(events, Buffer.alloc(8192), 8192, 0);
      assert.ok(size > 0, 'the event that came after the signal');
      await caught;
    } finally {
      close(events);
      await new Promise((resolve) => child.once('exit', resolve));
    }
  });

  test('transactions beside another program’s (ERESTART, EINTR) all take effect', async () => {
    const item: NftTableItem = { kind: 'nft-table', family: 'inet', body: declareSet('peers4') };
    const elements = Array.from({ length: 500 }, (_, n): NftElementItem => {
      return { kind: 'nft-element', set: 'peers4', key: [`192.0.${n >> 8}.${n & 255}`] };
    });
    const all = hostState([item, ...elements]);
    const script = 'while :; do nft add table ip other; nft delete table ip other; done';
    await meanwhile(script, async () => {
      await waitFor('the other program', async () => (await netns.must(['nft', 'list', 'tables'])) !== '');
      for (let round = 0; round < 20; round += 1) {
        const interest = { sysctls: [], foreignLinks: [] };
        const seen = [...kernel.observe(interest).values()].filter(({ kind }) => kind.startsWith('nft'));
        assert.deepEqual(kernel.apply(diff(round % 2 === 0 ? all : new Map(), hostState(seen))), []);
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
    });
    assert.deepEqual(kernel.apply(diff(all, new Map())), []);
    const left = [...kernel.observe({ sysctls: [], foreignLinks: [] }).values()];
    assert.equal(left.filter(({ kind }) => kind === 'nft-element').length, elements.length);
  });
});
