/** Token buckets and redirects, in network namespaces that die with the process; tc(8) and real packets judge them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { setTxChecksumOffload, txChecksumOffload } from '#kernel/ethtool.ts';
import { LinkNames } from '#kernel/netlink/names.ts';
import { openNetlink } from '#kernel/netlink/socket.ts';
import { ready } from '#kernel/netns.ts';
import { applyShaping, observeShaping } from '#kernel/shaper.ts';
import { unshare } from '#kernel/sys.ts';
import { diff, type Step } from '#model/diff.ts';
import { hostState, type Item, keyOf, type RedirectItem, type ShaperItem } from '#model/host.ts';

const skip = process.getuid?.() === 0 ? false : 'needs root';
const CLONE_NEWNET = 0x4000_0000;
const run = (command: string): string => {
  const [program = '', ...args] = command.split(' ');
  return execFileSync(program, args, { encoding: 'utf8', stdio: 'pipe' });
};
const add = (item: Item): Step => ({ op: 'add', key: keyOf(item), item });
const remove = (was: Item): Step => ({ op: 'remove', key: keyOf(was), was });
const shaper = (rate: number, burst: number, link = 'kb0'): ShaperItem => ({
  kind: 'shaper',
  link,
  rate,
  burst,
});
const redirect = (to: string): RedirectItem => ({ kind: 'redirect', link: 'kb0', to });

type Namespace = Parameters<typeof applyShaping>[0];
function within(work: (namespace: Namespace) => void): void {
  unshare(CLONE_NEWNET);
  run('ip link add kb0 type veth peer name kb1');
  for (const name of ['kbi0', 'kbi1']) run(`ip link add ${name} type ifb`);
  for (const name of ['kb0', 'kb1', 'kbi0', 'kbi1']) run(`ip link set ${name} up`);
  using socket = openNetlink();
  work({ socket, names: new LinkNames(socket.fd) });
}
await ready;

test('a bucket is seen as it was wanted, whatever rate and burst', { skip }, () => {
  within((namespace) => {
    const buckets: [number, number][] = [
      [8_000_000, 20_000],
      [1_000_003, 1],
      [1_000_000, 268_435_455],
      [8, 1600],
      [9_999_999_999, 131_071],
      [80_000_000_001, 999_999],
    ];
    for (const [rate, burst] of buckets) {
      const item = shaper(rate, burst);
      assert.deepEqual(applyShaping(namespace, [add(item)]), []);
      assert.deepEqual(observeShaping(namespace), [item]);
    }
    applyShaping(namespace, [add(shaper(8_000_000, 20_000))]);
    assert.match(run('tc qdisc show dev kb0'), /qdisc tbf 7a70: root .*rate 8Mbit burst 20000b lat 25ms/);
    run('tc qdisc change dev kb0 root handle 7a70: tbf rate 8mbit burst 90000 limit 45000');
    assert.equal(
      diff(hostState([shaper(8_000_000, 20_000)]), hostState(observeShaping(namespace))).length,
      1,
    );
  });
});

test('only what is ours is seen and removed; removing twice is fine', { skip }, () => {
  within((namespace) => {
    run('tc qdisc add dev kb1 root handle 7: tbf rate 8mbit burst 20000 latency 25ms');
    applyShaping(namespace, [add(shaper(8_000_000, 20_000))]);
    assert.deepEqual(observeShaping(namespace), [shaper(8_000_000, 20_000)]);
    const removals = [remove(shaper(8_000_000, 20_000)), remove(shaper(8_000_000, 20_000, 'kb1'))];
    assert.deepEqual(applyShaping(namespace, [...removals, ...removals, remove(redirect('kbi0'))]), []);
    assert.doesNotMatch(run('tc qdisc show dev kb0'), /tbf/);
    assert.match(run('tc qdisc show dev kb1'), /tbf 7: root/);
  });
});

test('a redirect is seen, changed, and lost with its target', { skip }, () => {
  within((namespace) => {
    for (const to of ['kbi0', 'kbi1', 'kbi1']) {
      assert.deepEqual(applyShaping(namespace, [add(redirect(to))]), []);
      assert.deepEqual(observeShaping(namespace), [redirect(to)]);
    }
    assert.match(run('tc filter show dev kb0 ingress'), /mirred \(Egress Redirect to device kbi1\)/);
    run('ip link del kbi1');
    assert.notDeepEqual(observeShaping(namespace), [redirect('kbi1')]);
    applyShaping(namespace, [add(redirect('kbi0'))]);
    assert.deepEqual(observeShaping(namespace), [redirect('kbi0')]);
    assert.deepEqual(applyShaping(namespace, [remove(redirect('kbi0'))]), []);
    assert.deepEqual(observeShaping(namespace), []);
    assert.doesNotMatch(run('tc qdisc show dev kb0'), /ingress/);
  });
});

test('a redirect lives beside somebody’s clsact', { skip }, (t) => {
  within((namespace) => {
    try {
      run('tc qdisc add dev kb0 clsact');
    } catch {
      return t.skip('the kernel has no clsact');
    }
    assert.deepEqual(applyShaping(namespace, [add(redirect('kbi0'))]), []);
    assert.deepEqual(observeShaping(namespace), [redirect('kbi0')]);
    assert.deepEqual(applyShaping(namespace, [remove(redirect('kbi0'))]), []);
    assert.match(run('tc qdisc show dev kb0'), /clsact/);
  });
});

test('what cannot be done is told', { skip }, () => {
  within((namespace) => {
    const codes = applyShaping(namespace, [
      add(shaper(7, 1000)),
      add(shaper(8000, 0)),
      add(shaper(8000, 1000, 'kb9')),
      add(redirect('kb9')),
    ]).map(({ code }) => code);
    assert.deepEqual(codes, ['EINVAL', 'EINVAL', 'ENODEV', 'ENODEV']);
  });
});

test('redirected packets go through the ifb and its bucket', { skip }, () => {
  within((namespace) => {
    applyShaping(namespace, [add(shaper(1_000_000, 4000, 'kbi0')), add(redirect('kbi0'))]);
    run('ip addr add 192.0.2.1/24 dev kb1');
    run('ip neigh add 192.0.2.2 lladdr 02:00:00:00:00:02 dev kb1');
    let sent: RegExpExecArray | null = null;
    // A busy machine may send more slowly than the bucket fills.
    for (let attempt = 0; attempt < 20 && !(Number(sent?.[4]) > 0); attempt += 1) {
      try {
        run('ping -q -c 20 -i 0.002 -s 1400 -W 0.1 192.0.2.2');
      } catch {
        // Nobody answers.
      }
      sent = /tbf 7a70: .*\n Sent (\d+) bytes (\d+) pkt \(dropped (\d+), overlimits (\d+)/.exec(
        run('tc -s qdisc show dev kbi0'),
      );
    }
    assert.ok(Number(sent?.[2]) >= 2 && Number(sent?.[4]) > 0, `bucket statistics: ${sent?.[0]}`);
  });
});

test('transmit checksum offload is switched off and on', { skip }, () => {
  within(() => {
    assert.equal(txChecksumOffload('kb0'), true);
    setTxChecksumOffload('kb0', false);
    assert.equal(txChecksumOffload('kb0'), false);
    assert.equal(txChecksumOffload('kb1'), true);
    setTxChecksumOffload('kb0', true);
    assert.equal(txChecksumOffload('kb0'), true);
    assert.throws(() => txChecksumOffload('kb9'), { code: 'ENODEV' });
  });
});
