/**
 * A wire whose node is judged as a host: its policy table, and packets sent to it, by it and through it as new
 * connections.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { inNetns, openNetns, ready } from '#kernel/netns.ts';
import { openPolicy, type PolicyOptions, type PolicyTable } from '#kernel/nftables/policy/policy.ts';
import type { Flow } from '#model/verdict.ts';
import { type Address, address } from '#net/address.ts';
import type { PolicyCompiler } from '#policy/compile/compiler.ts';
import { diffProgram, isEmptyDelta } from '#policy/compile/diff.ts';
import { waitFor } from './namespace.ts';
import { firstPacket, makeWire, openNode, type Station, stationOf, type Wire } from './policy-wire.ts';

/** How long a packet that must not arrive is waited for. */
const GRACE_MS = 3;
export const NODE = ['192.0.2.1', '2001:db8::1'].map(address);

export class HostWire {
  readonly wire: Wire;
  readonly table: PolicyTable;
  readonly #host: Station;

  static async make(label: string): Promise<HostWire> {
    await ready;
    return new HostWire(await makeWire(label));
  }

  constructor(wire: Wire) {
    this.wire = wire;
    this.#host = openNode(wire.node);
    this.table = this.open();
  }

  /** A table of the node. */
  open(options?: PolicyOptions): PolicyTable {
    const netns = openNetns(this.wire.node.path);
    try {
      return inNetns(netns, () => openPolicy(options));
    } finally {
      closeSync(netns);
    }
  }

  close(): void {
    this.table.close();
    this.#host.close();
    this.wire.remove();
  }

  #station(each: Address): Station {
    const found = stationOf(this.wire, each);
    return found === 'node' ? this.#host : found;
  }

  /** Whether the flow's first packet arrives, where it goes to or at another station. */
  async arrives(
    flow: Flow,
    expected: 'allow' | 'deny' = 'allow',
    to = this.#station(flow.destination),
  ): Promise<boolean> {
    const token = randomBytes(8);
    to.take();
    this.#station(flow.source).send(firstPacket(flow, token));
    const has = (): boolean => to.take().some((packet) => packet.includes(token));
    if (expected === 'allow') return waitFor('the packet', has, 2_000).catch(() => false);
    await sleep(GRACE_MS);
    return has();
  }

  /** The same for a new connection. */
  async begins(flow: Flow, expected: 'allow' | 'deny', to?: Station): Promise<boolean> {
    await this.wire.node.run(['conntrack', '-F']);
    return this.arrives(flow, expected, to).catch((error: unknown) => {
      // What the output hook drops is told to its sender.
      if (expected === 'deny' && (error as { code?: string }).code === 'EPERM') return false;
      throw error;
    });
  }

  /** Everything is in the kernel as it is meant to be. */
  check(compiler: PolicyCompiler, hint: string): void {
    const { intact, program } = this.table.dumpPolicy();
    assert.ok(intact, `${hint}: ${[...program.chains.keys()].join()}`);
    const left = diffProgram(program, compiler.program());
    const isSame = left !== undefined && isEmptyDelta(left);
    assert.ok(isSame, `${hint}: ${JSON.stringify([...(left?.entries ?? [])])}`);
  }
}
