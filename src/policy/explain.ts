/**
 * Why a flow is allowed or denied: its way, the verdict at each end, the rule that decided with its place, and all rules
 * that were asked before it. What the kernel's rules say stands beside it where an agent was asked; if they differ, that
 * is the answer.
 */
import type { OrderedTier, RuleBook } from '#model/policy.ts';
import type { Check, Flow, Step, Verdict } from '#model/verdict.ts';
import { endpointName, type PolicyWorld } from '#model/workload.ts';
import { type Family, addressFamily } from '#net/address.ts';
import { type Asked, type Decider, deciderOf } from './deciders.ts';
import { evaluate } from './evaluate.ts';
import type { End } from './flow-text.ts';

export type ExplainedCheck = Omit<Check, 'trail'> & {
  /** Where the endpoint is: whose kernel judges it. */
  readonly node: string;
  readonly decided: Decider;
  /** All that was asked, in order; the last decided. */
  readonly trail: readonly Step[];
  /** With staged policies in force. */
  readonly staged?: { readonly action: 'allow' | 'deny'; readonly decided: Decider };
};

export type Explanation = {
  readonly family: Family;
  readonly flow: Flow;
  readonly action: 'allow' | 'deny';
  /** `shop/web@a`, `node:a`, `node:b`, `shop/db@b`. */
  readonly path: readonly string[];
  readonly checks: readonly ExplainedCheck[];
};

export type View = { readonly book: RuleBook; readonly world: PolicyWorld };

export function explainFlow({ book, world }: View, [from, to]: readonly [End, End], flow: Flow): Explanation {
  const { action, checks }: Verdict = evaluate(book, world, flow);
  return {
    family: addressFamily(flow.source),
    flow,
    action,
    path: pathOf(world, [from, to], flow),
    checks: checks.map((check) => explainCheck({ book, world }, check)),
  };
}

function explainCheck({ book, world }: View, { pending, ...check }: Check): ExplainedCheck {
  const { endpoint, direction } = check;
  const asked = (tiers: readonly OrderedTier[]): Asked => ({
    book: { ...book, enforced: tiers },
    world,
    endpoint,
    direction,
  });
  const found = world.endpoints.find((each) => endpointName(each) === endpoint);
  const node = found === undefined || found.kind === 'network-set' ? '' : found.node;
  const explained = { ...check, node, decided: deciderOf(decisive(check.trail), asked(book.enforced)) };
  if (pending === undefined) return explained;
  const decided = deciderOf(decisive(pending.trail), asked(book.pending ?? []));
  return { ...explained, staged: { action: pending.action, decided } };
}

/** The last step, if it decided. */
function decisive(trail: readonly Step[]): Step | undefined {
  const last = trail.at(-1);
  return last !== undefined && ['allow', 'deny', 'redirect'].includes(last.outcome) ? last : undefined;
}

function pathOf(
  world: PolicyWorld,
  [from, to]: readonly [End, End],
  { source, destination }: Flow,
): string[] {
  const nodeOf = (end: End, address: string): string | undefined =>
    end.pod?.node ??
    [...world.nodes].find(([, { addresses }]) => addresses.some((own) => own === address))?.[0];
  const [first, last] = [nodeOf(from, source), nodeOf(to, destination)];
  const title = (end: End, address: string): string[] => {
    if (end.pod !== undefined) return [`${end.name}@${end.pod.node}`];
    return nodeOf(end, address) === undefined ? [end.name] : [];
  };
  const nodes = [first, last].filter((node) => node !== undefined).map((node) => `node:${node}`);
  return [...title(from, source), ...new Set(nodes), ...title(to, destination)];
}

/** What the kernel of one node says of a flow, as #api/policy.ts has it. */
export type KernelSays = {
  readonly node: string;
  readonly intact: boolean;
  readonly loadedProgramAgrees: boolean;
  readonly enforces: boolean;
  readonly audit: boolean;
  readonly opinions: readonly {
    readonly direction: 'ingress' | 'egress';
    readonly action: 'allow' | 'deny';
    readonly at?: { readonly interface: string; readonly scope: string } | undefined;
    readonly entry?: string | undefined;
    readonly rule?: string | undefined;
    readonly packets?: number | undefined;
    readonly bytes?: number | undefined;
  }[];
};

export type Comparison = {
  readonly node: string;
  /** What the check is about, and what the kernel says: `absent` when it has no rules for the endpoint. */
  readonly endpoint: string;
  readonly direction: 'ingress' | 'egress';
  readonly kernel: 'allow' | 'deny' | 'absent';
  readonly agrees: boolean;
  readonly opinion?: KernelSays['opinions'][number];
};

/**
 * Each check on the node of an agent that enforces policies, beside what its kernel says. Endpoints without rules may do
 * everything. What stays within a pod reaches no kernel rule.
 */
export function compareKernel({ checks }: Explanation, says: KernelSays): Comparison[] {
  if (!says.enforces) return [];
  return checks.flatMap((check): Comparison[] => {
    const { endpoint, direction, node, exempt, action } = check;
    if (node !== says.node || exempt === 'self') return [];
    const isHost = endpoint.startsWith('host ');
    const opinion = says.opinions.find(
      (each) => each.direction === direction && (each.at !== undefined) === isHost,
    );
    // What an agent does not tell of host endpoints is not known.
    if (opinion === undefined && isHost) return [];
    const kernel = opinion?.action ?? 'absent';
    const agrees = action === (kernel === 'absent' ? 'allow' : kernel);
    return [{ node, endpoint, direction, kernel, agrees, ...(opinion === undefined ? {} : { opinion }) }];
  });
}
