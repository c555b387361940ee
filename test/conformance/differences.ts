/**
 * Where Tartan answers otherwise than Debian's reference plugins (1.1.1), on purpose, each with its reason. The cases
 * take what they expect from this table, so both halves of every line are asserted against the real executables; a
 * line that no case uses, or that is no difference, fails a test.
 */
import type { Side, Subject } from './subject.ts';

type Difference = { readonly why: string } & Readonly<Record<Side, number | string | boolean>>;

export const DIFFERENCES = {
  'error-names-version': {
    why: 'the specification puts cniVersion into the error object; the reference leaves it out',
    reference: false,
    ours: true,
  },
  'path-required': {
    why: 'CNI_PATH is optional in the text for all verbs but GC; the reference skeleton demands it always',
    reference: true,
    ours: false,
  },
  'version-echoed': {
    why: 'VERSION echoes the cniVersion of its input; the reference prints its newest',
    reference: false,
    ours: true,
  },
  'speaks-1.1': { why: 'Debian’s plugins end at 1.0.0: no GC, no STATUS', reference: false, ours: true },
  'unknown-verb-without-id': {
    why: 'an unknown verb is a bad CNI_COMMAND (4); the reference first complains about the container id (3)',
    reference: 3,
    ours: 4,
  },
  'unreadable-version': {
    why: 'a version that is no version cannot be decoded (6); the reference calls it unsupported (1)',
    reference: 1,
    ours: 6,
  },
  'missing-netns': {
    why: 'a namespace that is not there is an unknown container (3), which tells the runtime that DEL is not needed',
    reference: 999,
    ours: 3,
  },
  'second-add': {
    why: 'a repeated ADD with the same configuration and an intact link is answered as before; the reference fails',
    reference: 999,
    ours: 0,
  },
  'bad-arguments': {
    why: 'CNI_ARGS is part of the environment (4); the reference fails untyped',
    reference: 999,
    ours: 4,
  },
  'address-exhaustion': {
    why: 'a full range may have room again after a DEL or GC (11); the reference fails untyped',
    reference: 999,
    ours: 11,
  },
  'bad-range': {
    why: 'a wrong range is invalid configuration (7); the reference fails untyped',
    reference: 999,
    ours: 7,
  },
  'address-taken': {
    why: 'a requested address that is taken is named as such (104)',
    reference: 999,
    ours: 104,
  },
  'bad-port-mapping': {
    why: 'a wrong port mapping is invalid configuration (7); the reference fails untyped',
    reference: 999,
    ours: 7,
  },
  'bad-bandwidth': {
    why: 'a wrong rate is invalid configuration (7); the reference fails untyped',
    reference: 999,
    ours: 7,
  },
  'delegate-missing': {
    why: 'an IPAM plugin that is not on CNI_PATH has a number of its own (105); the reference fails untyped',
    reference: 999,
    ours: 105,
  },
  'delegate-index': {
    why: 'an IPAM result whose address names an interface that it does not list is refused (7); the reference overlooks it',
    reference: 0,
    ours: 7,
  },
  'mac-changed-later': {
    why: 'a MAC that a later plugin changes fails CHECK: neighbour entries and spoof protection know the old one; ask with capability mac',
    reference: true,
    ours: false,
  },
  'options-not-offered': {
    why: 'VLANs, isolated ports, a pod without interface and a promiscuous bridge per pod are refused (2), never overlooked',
    reference: 0,
    ours: 2,
  },
  'foreign-address-on-bridge': {
    why: 'the bridge is Tartan’s own and gets its address back; the reference fails without forceAddress',
    reference: 999,
    ours: 0,
  },
  'failed-delegate-undone': {
    why: 'an IPAM plugin whose ADD failed is told DEL (specification, section 4); the reference leaves that to the runtime',
    reference: false,
    ours: true,
  },
  'address-kept-when-bounced': {
    why: 'keep_addr_on_down is set, so that a pod keeps its IPv6 address when its link goes down and up',
    reference: false,
    ours: true,
  },
  'leftover-after-vanished-netns': {
    why: 'DEL with the namespace gone still withdraws the masquerade rules; the reference leaves them behind',
    reference: true,
    ours: false,
  },
  'lo-of-an-unmounted-netns': {
    why: 'DEL where a runtime unmounted the namespace and left its file has nothing to do; the reference fails',
    reference: 1,
    ours: 0,
  },
  'check-of-host-port': {
    why: 'CHECK passes right after ADD; the reference looks for IPv6 rules with the IPv4 address and never passes',
    reference: false,
    ours: true,
  },
  'rules-per-host-port': {
    why: 'a host port is one element of a map; the reference names it in each chain that it adds rules to',
    reference: 4,
    ours: 1,
  },
  'port-mapping-taken': {
    why: 'one host port for two pods is refused (103); the reference lets the older silently win',
    reference: 0,
    ours: 103,
  },
} as const satisfies Record<string, Difference>;

export type DifferenceName = keyof typeof DIFFERENCES;

/** What this subject is expected to do where the sides differ. */
export function expected(subject: Subject, name: DifferenceName): number | string | boolean {
  return DIFFERENCES[name][subject.side];
}
