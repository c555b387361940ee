import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Host } from '../host/host.ts';
import { IpsecKeys } from './ipsec-keys.ts';
import { IpsecRoad } from './ipsec-road.ts';
import type { Item } from '#model/host.ts';

const lineOf = (secret: number): string => `s${secret} ${Buffer.alloc(32, secret).toString('base64')}\n`;
const STATE = 'xfrm-state 192.0.2.1 0x12345678';

type Scene = {
  readonly road: IpsecRoad;
  readonly host: Pick<Host, 'onPass' | 'onDissent'> & { wanted: Map<string, Item>; seen: Map<string, Item> };
  readonly resyncs: () => number;
  readonly secrets: (...which: number[]) => void;
};

function inScene(work: (scene: Scene) => void): void {
  const directory = mkdtempSync(join(tmpdir(), 'tartan-ipsec-'));
  const path = join(directory, 'secrets');
  const place = { node: 'a', path, journal: join(directory, 'journal'), bootId: 'boot' };
  const secrets = (...which: number[]): void =>
    writeFileSync(path, which.map(lineOf).join(''), { mode: 0o600 });
  try {
    let resyncs = 0;
    const road = new IpsecRoad((nudge) => new IpsecKeys({ ...place, nudge, warn: () => {} }));
    const host = {
      onPass: undefined,
      onDissent: undefined,
      wanted: new Map(),
      seen: new Map(),
    } as Scene['host'];
    road.follow({ host, resync: () => (resyncs += 1) });
    work({ road, host, resyncs: () => resyncs, secrets });
  } finally {
    rmSync(directory, { recursive: true });
  }
}

test('without a file of secrets the reason is told once', () =>
  inScene(({ road, secrets }) => {
    assert.throws(() => road.self(), /cannot be read/);
    assert.equal(road.self(), undefined);
    secrets(1);
    assert.equal(road.self()?.announced.length, 1);
  }));

test('peers hear of a secret after the pass that gave the kernel all its states', () =>
  inScene(({ road, host, resyncs, secrets }) => {
    secrets(1);
    road.self();
    assert.equal(host.onPass?.(), undefined, 'nothing is new');
    secrets(2, 1);
    const told = () => road.self()?.announced.map((each) => each.slice(0, 2));
    assert.deepEqual(told(), ['s1']);
    host.wanted.set(STATE, { kind: 'xfrm-state' } as Item);
    host.onPass?.()?.();
    assert.deepEqual([told(), resyncs()], [['s1'], 0]);
    host.seen.set(STATE, { kind: 'xfrm-state' } as Item);
    host.onPass?.()?.();
    assert.deepEqual([told(), resyncs()], [['s2', 's1'], 1]);
  }));

test('of two peers with one SPI the second gets new names, other quarrels are not ours', () =>
  inScene(({ road, host, resyncs, secrets }) => {
    secrets(1);
    road.self();
    host.onDissent?.({ key: 'route 254 10.1.0.0/24 512', holder: 'peer/b', refused: 'peer/c' });
    assert.deepEqual([road.self()?.again, resyncs()], [{}, 0]);
    host.onDissent?.({ key: STATE, holder: 'peer/b', refused: 'peer/c' });
    assert.deepEqual([road.self()?.again, resyncs()], [{ c: 1 }, 1]);
  }));
