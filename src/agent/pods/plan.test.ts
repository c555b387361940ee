import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import type { Bench } from './attachments.ts';
import { newAttachment, planAttachment } from './plan.ts';
import { removeAttachment } from './remove.ts';
import { type AddRequest, parseRequest } from '#cni/request.ts';
import { parseSettings } from '#config/parse.ts';
import type { Attachment } from '#model/attachment.ts';
import { Fault } from '#model/fault.ts';
import { address } from '#net/address.ts';
import { interfaceAddress } from '#net/prefix.ts';

const FLANNEL = readFileSync(new URL('../../../profiles/flannel.yaml', import.meta.url), 'utf8');
const IP = interfaceAddress(address('10.244.3.7'), 24);
const given = { addresses: [IP], gateways: [address('10.244.3.1')] };

function benchOf(extra: string): Bench {
  const text = `apiVersion: tartan.dev/v1\nkind: Settings\nprofile: flannel\nnode: {name: n0}\n${extra}`;
  const { settings } = parseSettings([{ origin: 'test', text }], { flannel: FLANNEL });
  const cluster = { podMtu: () => 1450, self: undefined, notePods: () => {} };
  return { settings, cluster, bootId: 'boot' } as unknown as Bench;
}

function request(config: object): AddRequest {
  const env = {
    CNI_COMMAND: 'ADD',
    CNI_CONTAINERID: 'c1',
    CNI_NETNS: '/n',
    CNI_IFNAME: 'eth0',
    CNI_PATH: '/b',
  };
  const stdin = JSON.stringify({ cniVersion: '1.1.0', name: 'net', type: 'tartan-cni', ...config });
  return parseRequest(env, stdin) as AddRequest;
}

function attach(bench: Bench, config: object): Attachment {
  return newAttachment(bench, request(config), { given, inode: 1 });
}

function hairpin(bench: Bench, config: object): boolean | undefined {
  const [link] = planAttachment(attach(bench, config), bench.settings).host;
  return link?.kind === 'link' ? link.hairpin : undefined;
}

const isField = (error: unknown): boolean => error instanceof Fault && error.code === 'cni-field';
const BRIDGE = (mode: string): string => `wiring: {type: bridge, bridge: {hairpin: ${mode}}}\n`;

test('hairpinMode is this port’s; without it the node’s settings decide', () => {
  for (const [mode, usual] of [['hairpin-veth', true] as const, ['none', false] as const]) {
    const bench = benchOf(BRIDGE(mode));
    assert.equal(hairpin(bench, {}), usual);
    assert.equal(hairpin(bench, { hairpinMode: true }), true);
    assert.equal(hairpin(bench, { hairpinMode: false }), false);
  }
  const promiscuous = benchOf(BRIDGE('promiscuous-bridge'));
  assert.throws(() => attach(promiscuous, { hairpinMode: true }), isField);
  assert.equal(hairpin(promiscuous, { hairpinMode: false }), false);
});

test('ipMasq is refused only where the node cannot do it', () => {
  const off = benchOf(`${BRIDGE('none')}masquerade: {enabled: false}\n`);
  assert.throws(() => attach(off, { ipMasq: true }), isField);
  attach(off, { ipMasq: false });
  const on = benchOf(`${BRIDGE('none')}masquerade: {enabled: true}\n`);
  attach(on, { ipMasq: true });
  attach(on, { ipMasq: false });
});

test('an address rests after its link is gone for as long as the quarantine lasts', async () => {
  const done: string[] = [];
  const rest = Promise.withResolvers<void>();
  const bench = benchOf(BRIDGE('none'));
  const note =
    (what: string): (() => void) =>
    () =>
      void done.push(what);
  const parts = {
    ledger: { put: () => {}, remove: note('forgotten') },
    host: { setNow: () => [] },
    kernel: { flushConntrack: () => Promise.resolve() },
    pools: { release: note('released'), settle: note('settled') },
    reaper: { reap: async () => void done.push('link gone') },
    crash: () => {},
    dismiss: note('dismissed'),
    leaving: new Map(),
    rest: () => rest.promise,
  };
  await removeAttachment({ ...bench, ...parts } as unknown as Bench, attach(bench, {}), {});
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(done, ['released', 'link gone', 'forgotten', 'dismissed']);
  rest.resolve();
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(done.at(-1), 'settled');
});
