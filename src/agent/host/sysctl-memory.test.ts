import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { SysctlMemory } from './sysctl-memory.ts';
import { FakeKernel } from '#kernel/fake.ts';
import type { Step } from '#model/diff.ts';
import { keyOf, type SysctlItem } from '#model/host.ts';

const FORWARD = 'net/ipv4/ip_forward';
const POD = 'net/ipv4/conf/tt0123456789/route_localnet';
const sysctl = (key: string, value: string): SysctlItem => ({ kind: 'sysctl', key, value });
const write = (...items: SysctlItem[]): Step[] =>
  items.map((item) => ({ op: 'add', key: keyOf(item), item }));

test('the first value survives restarts, is written back by purge, and is forgotten then', () => {
  const state = mkdtempSync(join(tmpdir(), 'ag-sysctl-'));
  const values = new Map([
    [FORWARD, '0'],
    [POD, '0'],
  ]);
  const kernel = new FakeKernel();
  const open = (): SysctlMemory => new SysctlMemory(state, (key) => values.get(key));
  try {
    open()
      .watch(kernel)
      .apply(write(sysctl(FORWARD, '1'), sysctl(POD, '1'), sysctl('net/none', '1')));
    values.set(FORWARD, '1');
    const later = open();
    later.watch(kernel).apply(write(sysctl(FORWARD, '2')));
    assert.deepEqual([...later.list()], [[FORWARD, '0']]);

    assert.deepEqual(later.restore(kernel), []);
    const seen = kernel.observe({ sysctls: [FORWARD], foreignLinks: [] }).get(keyOf(sysctl(FORWARD, '')));
    assert.deepEqual(seen, sysctl(FORWARD, '0'));
    assert.equal(open().list().size, 0);
    assert.ok(!existsSync(join(state, 'sysctls.json')));
  } finally {
    rmSync(state, { recursive: true });
  }
});

test('what nobody wants any more has its first value again at once', () => {
  const state = mkdtempSync(join(tmpdir(), 'ag-sysctl-'));
  try {
    const kernel = new FakeKernel();
    const memory = new SysctlMemory(state, () => '1');
    const wanted = sysctl('net/ipv4/conf/eth0/rp_filter', '2');
    const watched = memory.watch(kernel);
    watched.apply(write(wanted));
    watched.apply([{ op: 'remove', key: keyOf(wanted), was: wanted }]);
    const seen = kernel.observe({ sysctls: [wanted.key], foreignLinks: [] }).get(keyOf(wanted));
    assert.deepEqual(seen, { ...wanted, value: '1' });
    assert.equal(memory.list().size, 0);
  } finally {
    rmSync(state, { recursive: true });
  }
});

test('what cannot be written back stays remembered', () => {
  const state = mkdtempSync(join(tmpdir(), 'ag-sysctl-'));
  try {
    const memory = new SysctlMemory(state, () => '0');
    memory.watch(new FakeKernel()).apply(write(sysctl(FORWARD, '1'), sysctl('net/gone', '1')));
    class ReadOnly extends FakeKernel {
      override apply(steps: readonly Step[]): ReturnType<FakeKernel['apply']> {
        return steps.map((step) => ({
          step,
          code: step.key.includes('gone') ? 'ENOENT' : 'EROFS',
          message: '',
        }));
      }
    }
    assert.deepEqual(
      memory.restore(new ReadOnly()).map(({ code }) => code),
      ['EROFS'],
    );
    assert.deepEqual([...new SysctlMemory(state, () => undefined).list()], [[FORWARD, '0']]);
  } finally {
    rmSync(state, { recursive: true });
  }
});
