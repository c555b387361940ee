/**
 * What a logged packet was, in the words of policy: whose it was, who decided and by which rule. The rule is found by
 * asking the program that the kernel has the same question again.
 */
import type { LoggedPacket } from '#kernel/nflog.ts';
import type { FlowDecision, FlowEnd, FlowFacts } from '#model/flow-event.ts';
import { POD_LINK_PREFIX } from '#model/numbers.ts';
import type { DenialMark, LogMark } from '#model/policy-log.ts';
import type { PolicyProgram } from '#model/policy-program.ts';
import type { Direction, OrderedTier, Policy } from '#model/policy.ts';
import type { Crossing, Flow, Step } from '#model/verdict.ts';
import type { Pod, PolicyWorld } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { policyName } from '#policy/book.ts';
import { formatOrigin } from '#model/manifest.ts';
import { type Opinion, simulate } from '#policy/compile/simulate.ts';
import type { PolicyView } from '#policy/inputs/inputs.ts';
import { matchesSelector } from '#model/selector-match.ts';
import { endpointLabels } from '#policy/selector.ts';

export type FlowSources = {
  readonly node: string;
  readonly view: () => Pick<PolicyView, 'book' | 'world'>;
  /** As they are in the kernel. */
  readonly programs: {
    readonly enforced: () => PolicyProgram;
    /** Undefined: nothing is staged. */
    readonly staged: () => PolicyProgram | undefined;
  };
};

/** More policies that isolate an end are not listed. */
const LISTED = 5;

export class Describer {
  readonly #sources: FlowSources;
  #endpoints: PolicyWorld['endpoints'] | undefined;
  #ends = new Map<Address, Named>();
  readonly #byNamespace = new WeakMap<OrderedTier, Map<string, Policy[]>>();

  constructor(sources: FlowSources) {
    this.#sources = sources;
  }

  describe(packet: LoggedPacket, mark: LogMark): FlowFacts {
    const { input, output } = packet;
    const flow = { ...packet.flow, crossings: crossingsOf(packet, this.#sources.node) };
    const { source, destination, sourcePort, destinationPort, icmp, before } = flow;
    const staged = mark.kind === 'staged' ? 'deny' : this.#staged(flow);
    return {
      verdict: mark.kind === 'rule' ? 'logged' : mark.kind,
      ...(mark.kind === 'rule' ? this.#logged(mark.text) : this.#denied(flow, mark)),
      protocol: flow.protocol,
      source: { ...this.#named(source), address: source, ...portOf(sourcePort) },
      destination: { ...this.#named(destination), address: destination, ...portOf(destinationPort) },
      ...(icmp === undefined ? {} : { icmp }),
      ...(before === undefined
        ? {}
        : { before: { address: before.destination, ...portOf(before.destinationPort) } }),
      ...(input === undefined ? {} : { input }),
      ...(output === undefined ? {} : { output }),
      ...(staged === undefined ? {} : { staged }),
    };
  }

  #staged(flow: Flow): 'allow' | 'deny' | undefined {
    const program = this.#sources.programs.staged();
    return program && simulate(program, flow, this.#sources).action;
  }

  #logged(text: string): FlowDecision {
    const step = this.#sources.programs.enforced().logs.get(text);
    return step === undefined ? {} : decisionOf(step);
  }

  /** Without a decision when the policies of now would allow it: they were others. */
  #denied(flow: Flow, mark: DenialMark): FlowDecision & Pick<FlowFacts, 'direction'> {
    const opinion = this.#opinion(flow, mark);
    const direction = mark.direction ?? opinion?.direction;
    if (direction === undefined) return {};
    const step = opinion?.reason?.step;
    if (step === undefined) return { direction };
    const place =
      opinion?.at === undefined
        ? this.#isolation(flow, mark, { step, direction })
        : { at: opinion.at.interface };
    return { direction, ...decisionOf(step), ...place };
  }

  #opinion(flow: Flow, mark: DenialMark): Opinion | undefined {
    const { enforced, staged } = this.#sources.programs;
    const program = mark.kind === 'staged' ? staged() : enforced();
    return program && decidingOpinion(simulate(program, flow, this.#sources).opinions, mark);
  }

  #isolation(flow: Flow, { kind }: DenialMark, decided: Decided): Pick<FlowDecision, 'isolatedBy'> {
    const { step, direction } = decided;
    if (step.policy !== undefined) return {};
    const { book, world } = this.#sources.view();
    const tiers = kind === 'staged' ? (book.pending ?? []) : book.enforced;
    const tier = tiers.find((each) => each.tier.name === step.tier);
    const pod = this.#end(direction === 'egress' ? flow.source : flow.destination).pod;
    if (tier === undefined || pod === undefined) return {};
    const labels = endpointLabels(world, pod);
    const names = this.#candidates(tier, pod.namespace)
      .filter((policy) => policy.isolates[direction] && matchesSelector(policy.subjects, labels))
      .map(policyName);
    return names.length === 0 ? {} : { isolatedBy: names.slice(0, LISTED) };
  }

  /** Policies of a namespace select pods of that namespace only. */
  #candidates(tier: OrderedTier, namespace: string): Policy[] {
    let known = this.#byNamespace.get(tier);
    if (known === undefined) {
      known = Map.groupBy(tier.policies, ({ name }) => name.slice(0, Math.max(name.indexOf('/'), 0)));
      this.#byNamespace.set(tier, known);
    }
    return ['', namespace].flatMap((each) => known.get(each) ?? []);
  }

  #named(address: Address): Pick<FlowEnd, 'kind' | 'name'> {
    const { kind, name } = this.#end(address);
    return { kind, ...(name === undefined ? {} : { name }) };
  }

  #end(address: Address): Named {
    const { world } = this.#sources.view();
    if (world.endpoints !== this.#endpoints) {
      this.#endpoints = world.endpoints;
      this.#ends = podsByAddress(world);
    }
    return this.#ends.get(address) ?? nodeAt(world, address) ?? OUTSIDE;
  }
}

type Decided = { readonly step: Step; readonly direction: Direction };
type Named = Pick<FlowEnd, 'kind' | 'name'> & { readonly pod?: Pod };
const OUTSIDE: Named = { kind: 'outside' };

/** What the packet passed on its way: whose host endpoints are asked as well. */
function crossingsOf({ hook, input, output }: LoggedPacket, node: string): Crossing[] {
  const cross = (link: string | undefined, direction: Direction, forwarded: boolean): Crossing[] => {
    const toPod = link?.startsWith(POD_LINK_PREFIX) === true;
    return link === undefined ? [] : [{ node, interface: link, direction, forwarded, toPod }];
  };
  if (hook === 'forward') return [...cross(input, 'ingress', true), ...cross(output, 'egress', true)];
  return hook === 'output' || hook === 'postrouting'
    ? cross(output, 'egress', false)
    : cross(input, 'ingress', false);
}

/** Pods of the host's network are their node for everyone. */
function podsByAddress({ endpoints }: PolicyWorld): Map<Address, Named> {
  const found = new Map<Address, Named>();
  for (const pod of endpoints) {
    if (pod.kind !== 'pod' || pod.hostNetwork) continue;
    const named: Named = { kind: 'pod', name: `${pod.namespace}/${pod.name}`, pod };
    for (const address of pod.addresses) found.set(address, named);
  }
  return found;
}

function nodeAt({ nodes }: PolicyWorld, address: Address): Named | undefined {
  for (const [name, { addresses }] of nodes) if (addresses.includes(address)) return { kind: 'node', name };
  return undefined;
}

/** Packets of which no direction is known were denied by a rule of a chain. */
function decidingOpinion(opinions: readonly Opinion[], { direction }: DenialMark): Opinion | undefined {
  const denying = opinions.filter(({ action }) => action === 'deny');
  if (direction !== undefined) return denying.find((each) => each.direction === direction);
  return denying.find(({ rule }) => rule !== undefined) ?? denying[0];
}

function decisionOf({ tier, policy, rule, origin }: Step): FlowDecision {
  return {
    tier,
    ...(policy === undefined ? {} : { policy }),
    ...(rule === undefined ? {} : { rule }),
    ...(origin === undefined ? {} : { origin: formatOrigin(origin) }),
  };
}

function portOf(port: number | undefined): { readonly port?: number } {
  return port === undefined ? {} : { port };
}
