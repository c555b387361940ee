/**
 * Network policy as a data plane runs it: a few maps and some short chains, as plain texts that can be compared, shown
 * and loaded. #policy/compile/ makes it and says what it means, the kernel's loader brings it into nf_tables and reads
 * it back; the rules that ask the maps never change.
 *
 *     own address ──▶ subject      peer address ──▶ peer (by address), net (by prefix)
 *     pair: subject . peer . net ──▶ program, or else alone: subject ──▶ program
 *     program . protocol . port ──▶ verdict, or else the next of ports, protocol, rest
 *
 * Of host endpoints, at each gate, the subject is found by interface; and as packets of all addresses pass there, their
 * own end is classed as well:
 *
 *     interface ──▶ subject;   place: subject . peer . net of the own end ──▶ another subject, where rules ask about it
 */
import type { Family } from '#net/address.ts';
import type { Direction, HostScope } from './policy.ts';
import type { Step } from './verdict.ts';

export const POLICY_TABLE = 'tartan-policy';
/** Of the same build, asked behind the other: what would be denied with the staged policies in force. Drops nothing. */
export const STAGED_POLICY_TABLE = 'tartan-policy-staged';
/** NFLOG group of what was denied, and of what rules with action `log` saw (./policy-log.ts has the texts). */
export const POLICY_LOG_GROUP = 84;

/** Shows DNS answers to who learns names from them. Drops nothing. */
export const ANSWERS_TABLE = 'tartan-policy-answers';
/** NFQUEUE or NFLOG group of these answers. */
export const ANSWERS_GROUP = 85;

/** `zero` is not in texts: kernels want it in front (#kernel/nftables/policy/structure.ts says why). */
export type PolicyField = 'zero' | 'ipv4' | 'ipv6' | 'number' | 'protocol' | 'port' | 'interface';

export type PolicyMapType = {
  readonly key: readonly PolicyField[];
  /** The last field of keys is a range `from-to`, both inclusive. */
  readonly ranges?: true;
  readonly value: readonly PolicyField[] | 'verdict';
  /** What is not there has the value 0. */
  readonly zero?: true;
  /** The key `*` stands for all that are not there. */
  readonly any?: true;
  /** Entries count the packets that they decided. */
  readonly counted?: true;
};

/** Where packets meet policies of host endpoints. */
export type Gate =
  | 'untracked-ingress'
  | 'untracked-egress'
  | 'pre-dnat-ingress'
  | 'local-ingress'
  | 'local-egress'
  | 'forward-ingress'
  | 'forward-egress';

/** Undefined where no policy of the scope sees packets of the direction. */
export function gateOf(scope: HostScope, direction: Direction): Gate | undefined {
  return scope === 'pre-dnat'
    ? direction === 'ingress'
      ? `${scope}-${direction}`
      : undefined
    : `${scope}-${direction}`;
}

export const gateMap = <G extends Gate>(gate: G, family: Family): `${G}${Family}` => `${gate}${family}`;

const INTERFACES = { key: ['interface'], value: ['number'], any: true } as const;

/**
 * Numbers are made by the compiler and mean nothing by themselves. `egressN`, `ingressN`: own address → subject;
 * absent: nothing selects the address, everything may pass. Addresses that sets name one by one are in `peerN`,
 * prefixes in `netN`; an address can be in both.
 */
export const POLICY_MAPS = {
  egress4: { key: ['ipv4'], value: ['number'] },
  egress6: { key: ['ipv6'], value: ['number'] },
  ingress4: { key: ['ipv4'], value: ['number'] },
  ingress6: { key: ['ipv6'], value: ['number'] },
  peer4: { key: ['ipv4'], value: ['number'], zero: true },
  peer6: { key: ['ipv6'], value: ['number'], zero: true },
  net4: { key: ['ipv4'], value: ['number'], zero: true, ranges: true },
  net6: { key: ['ipv6'], value: ['number'], zero: true, ranges: true },
  /** Subject → program for peers without a pair. */
  alone: { key: ['zero', 'number'], value: ['number'] },
  /** Subject, peer, net → program. */
  pair: { key: ['zero', 'number', 'number', 'number'], value: ['number'] },
  port: { key: ['zero', 'number', 'protocol', 'port'], value: 'verdict', counted: true },
  ports: { key: ['zero', 'number', 'protocol', 'port'], value: 'verdict', ranges: true, counted: true },
  protocol: { key: ['zero', 'number', 'protocol'], value: 'verdict', counted: true },
  rest: { key: ['zero', 'number'], value: 'verdict', counted: true },
  'untracked-ingress4': INTERFACES,
  'untracked-ingress6': INTERFACES,
  'untracked-egress4': INTERFACES,
  'untracked-egress6': INTERFACES,
  'pre-dnat-ingress4': INTERFACES,
  'pre-dnat-ingress6': INTERFACES,
  'local-ingress4': INTERFACES,
  'local-ingress6': INTERFACES,
  'local-egress4': INTERFACES,
  'local-egress6': INTERFACES,
  'forward-ingress4': INTERFACES,
  'forward-ingress6': INTERFACES,
  'forward-egress4': INTERFACES,
  'forward-egress6': INTERFACES,
  place: { key: ['zero', 'number', 'number', 'number'], value: ['number'] },
} as const satisfies Record<string, PolicyMapType>;

export type PolicyMapName = keyof typeof POLICY_MAPS;
export const POLICY_MAP_NAMES = Object.keys(POLICY_MAPS) as readonly PolicyMapName[];

/** Entries by key: `port 12 6 80` → `deny`. Verdicts are Decided or the name of a chain. */
export type PolicyEntries = ReadonlyMap<string, string>;

/**
 * `allow`: whoever is to be asked next is asked, and when all have been, the packet passes. At gates for untracked and
 * pre-DNAT policy, being allowed by a rule means more: `early` is allowed by the later gates of the same crossing as
 * well, `untracked` besides goes on without connection tracking.
 */
export type Decided = 'allow' | 'deny' | 'early' | 'untracked';

/**
 * Chains that are hooked in only while a gate is open. In programs they have no rules: the kernel's loader knows them.
 * Those with `early` heed what gates for untracked and pre-DNAT policy have said, and stand only beside those.
 */
export const HOOKS = [
  'host-raw',
  'host-raw-output',
  'host-mangle',
  'host-input',
  'host-input-early',
  'host-forward',
  'host-forward-early',
  'host-output',
  'host-output-early',
  'host-postrouting',
  'host-postrouting-early',
] as const;
export type Hook = (typeof HOOKS)[number];

/** Inclusive. */
export type Span = readonly [from: number, to: number];

/**
 * One rule of a chain. `x`, `y`: destination and source port (`ports`), or type and code (`icmp`). Without a verdict
 * it only logs, and the next rule is asked.
 */
export type ChainRule = {
  readonly of?: 'ports' | 'icmp';
  readonly x?: Span;
  readonly y?: Span;
  readonly log?: string;
  readonly verdict?: Decided;
};

/** What decided, for the reader; Infinity-free and small, as there are many. */
export type Reason = {
  /** `exempt`: node to own pod, or a failsafe port. `profiles`, or the name of a tier; absent: no tier decided. */
  readonly step?: Step;
  readonly exempt?: 'own-node' | 'failsafe';
  /** Rules with action `log` that matched before. */
  readonly logs: readonly Step[];
};

export type PolicyProgram = {
  readonly entries: PolicyEntries;
  readonly chains: ReadonlyMap<string, readonly ChainRule[]>;
  /** By entry that has a verdict, and by `chain index` for rules of chains. Empty when it was read from a kernel. */
  readonly reasons: ReadonlyMap<string, Reason>;
  /** Rules by the text that they log (ChainRule.log). Empty when it was read from a kernel. */
  readonly logs: ReadonlyMap<string, Step>;
};

/** Changes that take effect as one. Chains never change under a name: they come and go. */
export type PolicyDelta = {
  readonly entries: ReadonlyMap<string, { readonly was?: string; readonly value?: string }>;
  readonly addChains: ReadonlyMap<string, readonly ChainRule[]>;
  readonly removeChains: readonly string[];
};
