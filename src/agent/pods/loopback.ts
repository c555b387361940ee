/** The `loopback` plugin: lo comes up with ADD and goes down with DEL. It keeps no state. */
import { closeSync } from 'node:fs';
import type { Bench, Call } from './attachments.ts';
import { netnsOf } from './container.ts';
import type { AddRequest, CheckRequest, DelRequest } from '#cni/request.ts';
import type { Kernel } from '#kernel/kernel.ts';
import type { CniResult } from '#model/cni-result.ts';
import { Fault } from '#model/fault.ts';
import { keyOf, satisfies } from '#model/host.ts';
import { address } from '#net/address.ts';
import { interfaceAddress } from '#net/prefix.ts';

const LO = { kind: 'link', type: 'foreign', name: 'lo' } as const;

export function addLoopback(bench: Bench, request: AddRequest, call: Call): CniResult {
  inside(bench, netnsOf(request.netns, call), (kernel) => {
    const failures = kernel.apply([{ op: 'add', key: keyOf(LO), item: LO }]);
    if (failures.length > 0) throw new Fault('kernel', `lo cannot be set up: ${failures[0]?.message}`);
  });
  if (request.prevResult !== undefined) return request.prevResult;
  return {
    interfaces: [{ name: 'lo', mac: '00:00:00:00:00:00', sandbox: request.netns }],
    ips: [
      { address: interfaceAddress(address('127.0.0.1'), 8), interface: 0 },
      { address: interfaceAddress(address('::1'), 128), interface: 0 },
    ],
    routes: [],
    dns: {},
  };
}

/** A namespace that is already gone has no lo to take down. */
export function removeLoopback(bench: Bench, request: DelRequest, call: Call): void {
  let netns: number;
  try {
    netns = netnsOf(request.netns, call);
  } catch {
    return;
  }
  inside(bench, netns, (kernel) =>
    kernel.apply([{ op: 'replace', key: keyOf(LO), item: { ...LO, down: true }, was: LO }]),
  );
}

/** Throws Fault `attachment-broken` when lo is down. */
export function checkLoopback(bench: Bench, request: CheckRequest, call: Call): void {
  const seen = inside(bench, netnsOf(request.netns, call), (kernel) =>
    kernel.observe({ sysctls: [], foreignLinks: ['lo'] }).get(keyOf(LO)),
  );
  if (seen === undefined || !satisfies(seen, LO)) throw new Fault('attachment-broken', 'lo is down');
}

function inside<T>(bench: Bench, netns: number, work: (kernel: Kernel) => T): T {
  try {
    using kernel = bench.kernel.within(netns);
    return work(kernel);
  } finally {
    closeSync(netns);
  }
}
