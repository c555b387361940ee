/** What the log of flows tells: packets that policies denied, would deny, or were asked to log, with both workloads. */
import type { Address } from '#net/address.ts';
import type { DenialKind } from './policy-log.ts';
import type { Direction } from './policy.ts';

/** A workload, a node, or whoever else has the address. `name` is `shop/web` for pods. */
export type FlowEnd = {
  readonly kind: 'pod' | 'node' | 'outside';
  readonly name?: string;
  readonly address: Address;
  /** For protocols with ports. The source's is that of the first packet. */
  readonly port?: number;
};

/**
 * `denied`; `audit`: denied, but it passed, as the node only audits; `staged`: it passed, and would be denied with the
 * staged policies in force; `logged`: a rule with action `log` matched.
 */
export const FLOW_VERDICTS = ['denied', 'audit', 'staged', 'logged'] as const satisfies readonly (
  | DenialKind
  | 'logged'
)[];
export type FlowVerdict = (typeof FLOW_VERDICTS)[number];

/** What decided. Absent fields: no rule did, but the default of the tier; or policies are others by now. */
export type FlowDecision = {
  readonly tier?: string;
  /** `NetworkPolicy shop/web`. */
  readonly policy?: string;
  readonly rule?: string;
  /** Where the rule is written: `web.yaml:12 spec.ingress.0`. */
  readonly origin?: string;
  /** Interface of the host endpoint whose policies they are; absent: they are a pod's. */
  readonly at?: string;
  /** Policies that select the end, for which the tier's default denies what none of its rules allows. */
  readonly isolatedBy?: readonly string[];
};

export type FlowFacts = FlowDecision & {
  readonly verdict: FlowVerdict;
  /** Whose rules decided: egress the source's, ingress the destination's. */
  readonly direction?: Direction;
  /** IP protocol number. */
  readonly protocol: number;
  readonly source: FlowEnd;
  readonly destination: FlowEnd;
  readonly icmp?: { readonly type: number; readonly code: number };
  /** What the source asked for, where the node sent it on to somebody else: a service, a host port. */
  readonly before?: { readonly address: Address; readonly port?: number };
  /** Links that the packet came by and would leave by. */
  readonly input?: string;
  readonly output?: string;
  /** What it would be with the staged policies in force; absent while nothing is staged. */
  readonly staged?: 'allow' | 'deny';
};

/** Packets that are the same but for their source port, and came within a second. */
export type FlowEvent = FlowFacts & {
  /** ISO 8601, of the first. */
  readonly time: string;
  readonly count: number;
};

/** `lost`: so many could not be told, as there were too many for the agent, or for this reader. */
export type FlowLine =
  | { readonly event: FlowEvent }
  | { readonly lost: number; readonly at: 'agent' | 'reader' }
  /** Why nothing is told. */
  | { readonly problem: string };

/** All that is given must hold. */
export type FlowFilter = {
  /** Of either end. */
  readonly namespace?: string | undefined;
  /** Either end: `shop/web`, or `web` of any namespace. */
  readonly pod?: string | undefined;
  /** That decided or isolates: `NetworkPolicy shop/web`, `shop/web` or `web`. */
  readonly policy?: string | undefined;
  readonly verdicts?: readonly FlowVerdict[] | undefined;
};

export function matchesFlow(event: FlowFacts, { namespace, pod, policy, verdicts }: FlowFilter): boolean {
  const pods = [event.source, event.destination].flatMap(({ kind, name }) =>
    kind === 'pod' && name !== undefined ? [name] : [],
  );
  const policies = [event.policy, ...(event.isolatedBy ?? [])].filter((each) => each !== undefined);
  return (
    (verdicts === undefined || verdicts.includes(event.verdict)) &&
    (namespace === undefined || pods.some((name) => name.startsWith(`${namespace}/`))) &&
    (pod === undefined || pods.some((name) => isCalled(name, pod))) &&
    (policy === undefined || policies.some((name) => isCalled(name, policy)))
  );
}

/** By its whole name, or by what stands behind a blank or slash of it. */
function isCalled(name: string, word: string): boolean {
  if (!name.endsWith(word)) return false;
  const before = name.at(-word.length - 1);
  return name.length === word.length || before === '/' || before === ' ';
}
