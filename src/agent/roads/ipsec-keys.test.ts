/**
 * Two nodes with real journals and a kernel in memory, and everything that may happen to them in any order: reboots, killed
 * agents, lost states, lost or cut journals, secrets that come and go, adverts that come late or are old ones again.
 */
import assert from 'node:assert/strict';
import { appendFileSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { IpsecKeys } from './ipsec-keys.ts';
import type { Self } from '#backends/backend.ts';
import { ipsec } from '#backends/ipsec.ts';
import { type ItemKey, keyOf, type XfrmStateItem } from '#model/host.ts';
import type { IpsecNode } from '#model/ipsec.ts';
import type { Leg } from '#model/leg.ts';
import type { Settings } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import { type Address, address } from '#net/address.ts';
import { prefix, type Prefix } from '#net/prefix.ts';

const SETTINGS = { road: { ipsec: { port: 4500, udp: 'auto', strict: true } } } as Settings;
const SECRETS = [1, 2, 3].map((id) => `s${id} ${Buffer.alloc(32, id).toString('base64')}`);

type Installed = { readonly item: XfrmStateItem; readonly bytes: string };

class Node {
  readonly name: string;
  readonly address: Address;
  readonly subnet: Prefix;
  readonly #directory: string;
  readonly kernel = new Map<ItemKey, Installed>();
  /** Every key that the kernel was ever given for sending. */
  readonly sealed: string[] = [];
  #boot = 0;
  /** The agent asked for another round. */
  restless = false;
  keys: IpsecKeys;
  readonly told: IpsecNode[] = [];

  constructor(directory: string, name: string, number: number) {
    this.#directory = directory;
    this.name = name;
    this.address = address(`192.0.2.${number}`);
    this.subnet = prefix(`10.1.${number}.0/24`);
    this.secrets([0]);
    this.keys = this.#open();
  }
  get journal(): string {
    return join(this.#directory, `${this.name}.journal`);
  }
  #open(): IpsecKeys {
    return new IpsecKeys({
      node: this.name,
      path: join(this.#directory, `${this.name}.secrets`),
      journal: this.journal,
      bootId: `boot ${this.#boot}`,
      nudge: () => (this.restless = true),
      warn: () => {},
    });
  }
  secrets(which: readonly number[]): void {
    const text = which.map((each) => `${SECRETS[each]}\n`).join('');
    writeFileSync(join(this.#directory, `${this.name}.secrets`), text, { mode: 0o600 });
  }
  restart(): void {
    this.keys = this.#open();
  }
  reboot(): void {
    this.#boot += 1;
    this.kernel.clear();
    this.restart();
  }
  get self(): Self {
    const own = { 4: this.address };
    const underlay = { link: 'eth0', mtu: 1500, local: own, announced: own, connected: [], why: '' };
    return {
      name: this.name,
      subnets: { 4: this.subnet },
      underlay,
      settings: SETTINGS,
      ipsec: this.keys.self,
    };
  }
  tell(): NodeAdvert {
    const told = ipsec.advertise?.(this.self).ipsec;
    assert.ok(told !== undefined);
    this.told.push(told);
    return this.advert(told);
  }
  advert(told: IpsecNode): NodeAdvert {
    const { name, address: own, subnet } = this;
    return {
      name,
      addresses: { 4: own },
      subnets: { 4: subnet },
      road: 'ipsec',
      ipsec: told,
      mtu: 1500,
      ready: true,
    };
  }
  plan(peer: NodeAdvert): XfrmStateItem[] {
    const leg = { prefix: peer.subnets[4] } as Leg;
    if (ipsec.mismatch?.(this.self, peer) !== undefined) return [];
    const items = ipsec.planPeer?.(this.self, peer, [leg]) ?? [];
    return items.filter((item) => item.kind === 'xfrm-state');
  }
  /** What the host's pass does; answers whether all is as planned. */
  apply(wanted: readonly XfrmStateItem[]): boolean {
    const keys = new Set(wanted.map(keyOf));
    for (const key of this.kernel.keys()) if (!keys.has(key)) this.kernel.delete(key);
    for (const item of wanted) {
      if (this.kernel.has(keyOf(item))) continue;
      const bytes = this.keys.take(item.key);
      if (bytes === undefined) continue;
      const hex = Buffer.from(bytes).toString('hex');
      this.kernel.set(keyOf(item), { item, bytes: hex });
      if (item.source === this.address) this.sealed.push(hex);
    }
    return wanted.every((item) => this.kernel.has(keyOf(item)));
  }
}

type Deed = (nodes: readonly [Node, Node], seen: Map<Node, NodeAdvert>, pick: number) => void;

function pass(node: Node, peer: NodeAdvert | undefined): void {
  node.keys.reload();
  if (peer !== undefined && node.apply(node.plan(peer))) node.keys.noteProgrammed();
}

const DEEDS: Readonly<Record<string, Deed>> = {
  hear: ([a, b], seen) => void seen.set(b, a.tell()),
  pass: ([a], seen) => pass(a, seen.get(a)),
  'hear an old one': ([a, b], seen, pick) => {
    const old = a.told[pick % Math.max(1, a.told.length)];
    if (old !== undefined) seen.set(b, a.advert(old));
  },
  'peer goes': ([a]) => void a.apply([]),
  'lose a state': ([a], _seen, pick) => {
    const key = [...a.kernel.keys()][pick % Math.max(1, a.kernel.size)];
    if (key !== undefined) a.kernel.delete(key);
  },
  flush: ([a]) => a.kernel.clear(),
  restart: ([a]) => a.restart(),
  reboot: ([a]) => a.reboot(),
  'lose the journal': ([a]) => {
    rmSync(a.journal);
    a.restart();
  },
  'cut the journal': ([a], _seen, pick) => {
    truncateSync(a.journal, Math.max(0, readFileSync(a.journal).length - (pick % 40) - 1));
    appendFileSync(a.journal, 'x\n');
    a.restart();
  },
  'other secrets': ([a], _seen, pick) => a.secrets([[0], [0, 1], [1], [1, 2], [2, 0]][pick % 5] ?? [0]),
};

function settle(nodes: readonly [Node, Node]): void {
  for (let round = 0; round < 12; round += 1) {
    for (const node of nodes) {
      node.secrets([0, 1]);
      node.restless = false;
    }
    const [a, b] = nodes;
    const [toB, toA] = [a.tell(), b.tell()];
    pass(a, toA);
    pass(b, toB);
    if (round > 2 && !a.restless && !b.restless) return;
  }
  assert.fail('the two never come to rest');
}

function assertTalk(from: Node, to: Node): void {
  const out = [...from.kernel.values()].filter(({ item }) => item.source === from.address);
  assert.equal(out.length, 2, 'a state for each secret');
  for (const { item, bytes } of out) assert.equal(to.kernel.get(keyOf(item))?.bytes, bytes);
}

test('a key never seals twice, whatever happens, and two nodes that hear each other talk', () => {
  const deed = fc.record({
    // What makes states comes often, or there are none to lose.
    what: fc.constantFrom(...Object.keys(DEEDS), ...Array<string>(5).fill('pass'), 'hear', 'hear'),
    first: fc.boolean(),
    pick: fc.nat(1000),
  });
  fc.assert(
    fc.property(fc.array(deed, { minLength: 10, maxLength: 40, size: 'max' }), (deeds) => {
      const directory = mkdtempSync(join(tmpdir(), 'tartan-ipsec-'));
      try {
        const nodes = [new Node(directory, 'a', 1), new Node(directory, 'b', 2)] as const;
        const seen = new Map<Node, NodeAdvert>();
        for (const { what, first, pick } of deeds)
          DEEDS[what]?.(first ? nodes : [nodes[1], nodes[0]], seen, pick);
        settle(nodes);
        for (const node of nodes) assert.equal(new Set(node.sealed).size, node.sealed.length);
        assertTalk(nodes[0], nodes[1]);
        assertTalk(nodes[1], nodes[0]);
      } finally {
        rmSync(directory, { recursive: true });
      }
    }),
    { numRuns: 30 },
  );
});

test('a secret is told once the kernel can receive by it, and no longer when it is gone', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tartan-ipsec-'));
  try {
    const node = new Node(directory, 'a', 1);
    const names = () => node.keys.self.announced.map((each) => each.slice(0, 2));
    node.secrets([0, 1]);
    node.keys.reload();
    assert.deepEqual([names(), node.keys.hasNews], [['s1'], true]);
    node.restart();
    assert.deepEqual(names(), ['s1'], 'a restart tells no more');
    node.keys.noteProgrammed();
    assert.deepEqual([names(), node.keys.hasNews], [['s1', 's2'], false]);
    node.secrets([1]);
    node.keys.reload();
    assert.deepEqual(names(), ['s2']);
    writeFileSync(join(directory, 'a.secrets'), 'damaged\n');
    node.keys.reload();
    assert.deepEqual(names(), ['s2'], 'a damaged file changes nothing');
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('when many states are lost, one nonce says it', () => {
  const directory = mkdtempSync(join(tmpdir(), 'tartan-ipsec-'));
  try {
    const node = new Node(directory, 'a', 1);
    const { nonce } = node.keys.self;
    for (let peer = 0; peer < 64; peer += 1) node.keys.rename(`peer-${peer}`);
    assert.equal(Object.keys(node.keys.self.again).length, 64);
    assert.equal(node.keys.self.nonce, nonce);
    node.keys.rename('one-more');
    assert.deepEqual(node.keys.self.again, {});
    assert.notEqual(node.keys.self.nonce, nonce);
  } finally {
    rmSync(directory, { recursive: true });
  }
});
