/** The `loopback` plugin: lo comes up with ADD and goes down with DEL. It keeps no state. */
import { closeSync } from 'node:fs';
import type { Bench, Call } from './attachments.ts';
import { netnsOf } from './container.ts';
import type { AddRequest, DelRequest } from '#cni/request.ts';
import type { CniResult } from '#model/cni-result.ts';
import { Fault } from '#model/fault.ts';
import { keyOf } from '#model/host.ts';
import { address } from '#net/address.ts';
import { interfaceAddress } from '#net/prefix.ts';

const LO = { kind: 'link', type: 'foreign', name: 'lo' } as const;

export function addLoopback(bench: Bench, request: AddRequest, call: Call): CniResult {
  const netns = netnsOf(request.netns, call);
  try {
    using inside = bench.kernel.within(netns);
    const failures = inside.apply([{ op: 'add', key: keyOf(LO), item: LO }]);
    if (failures.length > 0) throw new Fault('kernel', `lo cannot be set up: ${failures[0]?.message}`);
  } finally {
    closeSync(netns);
  }
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

/** The namespace is about to go, and lo with it: there is nothing to take down. */
export function removeLoopback(_bench: Bench, _request: DelRequest): void {}
