/** What every Kernel does with states and policies of IPsec; the real one needs ESP. Keys are any, but known by their names. */
import assert from 'node:assert/strict';
import { diff, type Step } from '#model/diff.ts';
import { hostState, type Item, keyOf, type XfrmPolicyItem, type XfrmStateItem } from '#model/host.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import type { Kernel } from './kernel.ts';

const NOTHING = { sysctls: [], foreignLinks: [] };

const state = {
  kind: 'xfrm-state',
  source: address('10.9.0.1'),
  destination: address('10.9.0.2'),
  spi: 0x1234_5678,
  mode: 'tunnel',
  ifId: 7,
  replayWindow: 2048,
  key: 'one',
} as const satisfies XfrmStateItem;
const out = {
  kind: 'xfrm-policy',
  direction: 'out',
  source: prefix('0.0.0.0/0'),
  destination: prefix('10.1.2.0/24'),
  ifId: 7,
  action: 'seal',
  from: state.source,
  to: state.destination,
  mode: 'tunnel',
  spi: state.spi,
} as const satisfies XfrmPolicyItem;

/** One of each way to be. */
const ALL: readonly Item[] = [
  state,
  { ...state, spi: 0x1234_5679, sourcePort: 4500, destinationPort: 4501, key: 'two' },
  { ...state, source: address('fd01::1'), destination: address('fd01::2'), key: 'three' },
  { kind: 'esp-port', local: address('127.0.0.1'), port: 4500 },
  { kind: 'esp-port', local: address('::1'), port: 4501 },
  {
    kind: 'xfrm-state',
    source: state.destination,
    destination: state.source,
    spi: 0xffff_0001,
    mode: 'transport',
    replayWindow: 64,
    key: 'four',
  },
  out,
  { ...out, direction: 'in', source: prefix('10.1.2.0/24'), destination: prefix('0.0.0.0/0') },
  { ...out, direction: 'fwd', source: prefix('fd00:2::/64'), destination: prefix('::/0') },
  {
    kind: 'xfrm-policy',
    direction: 'out',
    source: prefix('10.9.0.1/32'),
    destination: prefix('10.9.0.2/32'),
    protocol: 17,
    port: 8472,
    action: 'seal',
    from: state.source,
    to: state.destination,
    mode: 'transport',
  },
  {
    kind: 'xfrm-policy',
    direction: 'in',
    source: prefix('0.0.0.0/0'),
    destination: prefix('0.0.0.0/0'),
    protocol: 17,
    port: 8472,
    action: 'block',
  },
];

/** The kernel tells nothing of ports. */
const TOLD = ALL.filter(({ kind }) => kind !== 'esp-port');

function converge(kernel: Kernel, items: readonly Item[]): void {
  const wanted = hostState(items);
  assert.deepEqual(kernel.apply(diff(wanted, kernel.observe(NOTHING))), []);
  assert.deepEqual(diff(wanted, kernel.observe(NOTHING)), []);
}

const add = (item: Item): Step => ({ op: 'add', key: keyOf(item), item });
const without = (item: Item): Step => ({ op: 'remove', key: keyOf(item), was: item });

export const XFRM_CONTRACT: Readonly<Record<string, (kernel: Kernel) => void | Promise<void>>> = {
  'what is applied is what is seen, and can be taken away': (kernel) => {
    converge(kernel, ALL);
    for (const item of ALL) {
      const { key: _key, ...seen } = kernel.observe(NOTHING).get(keyOf(item)) as { key?: string };
      const { key: _name, ...asked } = item as { key?: string };
      assert.deepEqual(seen, asked);
    }
    converge(kernel, []);
    assert.equal(kernel.observe(NOTHING).size, 0);
  },
  'a policy moves to another state, a state that differs is made anew': (kernel) => {
    converge(kernel, [state, out]);
    const next = { ...state, spi: 0x1234_0000, key: 'next' };
    converge(kernel, [state, next, { ...out, spi: next.spi }]);
    const { spi: _spi, ...any } = out;
    converge(kernel, [next, any]);
    const steps = diff(hostState([{ ...next, replayWindow: 64, key: 'other' }]), hostState([next]));
    assert.deepEqual(
      steps.map(({ op }) => op),
      ['recreate'],
    );
    assert.deepEqual(kernel.apply(steps), []);
  },
  'a policy that drops takes the place of one that seals': (kernel) => {
    converge(kernel, [out]);
    const { from: _from, to: _to, mode: _mode, spi: _spi, ...packets } = out;
    converge(kernel, [{ ...packets, action: 'block' }]);
  },
  'removing what is gone, and adding what is there, is no failure': (kernel) => {
    assert.deepEqual(kernel.apply(ALL.map(without)), []);
    assert.deepEqual(kernel.apply(ALL.map(add)), []);
    assert.deepEqual(kernel.apply(ALL.map(add)), []);
  },
  'changes are told': async (kernel) => {
    const stop = new AbortController();
    const there = new Map<string, boolean>();
    const following = (async () => {
      for await (const change of kernel.changes(stop.signal)) {
        if (change.type === 'item') there.set(change.key, change.seen !== undefined);
      }
    })();
    const patience = setTimeout(() => stop.abort(), 30_000);
    const told = async (present: boolean): Promise<void> => {
      while (!stop.signal.aborted && !TOLD.every((item) => there.get(keyOf(item)) === present))
        await new Promise((resolve) => setTimeout(resolve, 5));
      for (const item of TOLD) assert.equal(there.get(keyOf(item)), present, keyOf(item));
    };
    await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepEqual(kernel.apply(ALL.map(add)), []);
    await told(true);
    assert.deepEqual(kernel.apply(ALL.map(without)), []);
    await told(false);
    clearTimeout(patience);
    stop.abort();
    await following;
  },
};
