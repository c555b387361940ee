/** Network policy of this node, fed from the stores; or, where it is switched off, what is left of it removed. */
import { PolicyNames } from '../policy-names/names.ts';
import { collectSoon } from '../heap.ts';
import type { AgentParts } from '../parts.ts';
import { type Flows, startFlows } from '../policy-flows/start.ts';
import type { PoliciesOptions } from './options.ts';
import { Policies } from './policies.ts';
import { startPublisher } from './publisher.ts';
import { type PodListener, startReporter } from './reporter.ts';
import { removePolicyTables } from './tables.ts';
import { readAnswers } from '#kernel/answers.ts';
import type { Manifest } from '#model/manifest.ts';
import type { Underlay } from '#model/underlay.ts';
import type { NodeWorkloads } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { prefixAddress } from '#net/prefix.ts';
import { isOfRoutingAlone } from '#routing/frontends/index.ts';

export type StartOptions = {
  readonly parts: AgentParts;
  /** All nodes' adverts have been read. */
  readonly areNodesKnown: () => boolean;
  /** The node that a block leads to with the address. */
  readonly routedTo: PoliciesOptions['routedTo'];
};

/** Without policies and flows: policy is off. Without who listens: nobody has to know of the pods. */
export type Policing = {
  readonly policies?: Policies;
  readonly flows?: Flows;
  readonly podListener?: PodListener;
};

export function startPolicies({ parts, areNodesKnown, routedTo }: StartOptions): Policing {
  const { keep, kernel, feeds, settings } = parts;
  if (keep === undefined) return startWithout(parts);
  const names: PolicyNames = new PolicyNames({
    ...parts,
    table: () => policies.table,
    readAnswers: (options) => readAnswers((work) => work(), options),
    onLearned: () => policies.relearn(),
    registry: parts.metrics.registry,
  });
  const policies: Policies = new Policies({
    ...parts,
    keep,
    names,
    routedTo,
    linkOf: (address) => linkOf(kernel.underlay(), address),
    isSynced: () => manifests.synced && workloads.synced && areNodesKnown(),
    onOwnPods: (pods) => publisher.publish(pods),
    onLoaded: (view) => {
      flows.staged.load(view);
      collectSoon();
    },
    onLeave: () => flows.staged.remove(),
  });
  const flows = startFlows({ parts, policies });
  const isElsewhere = (name: string): boolean => settings.routing.enabled && isOfRoutingAlone(name);
  const manifests = feeds.follow('Manifest', {
    onChange: (name, object) => {
      if (!isElsewhere(name)) policies.setManifest(name, object?.value as Manifest | undefined);
    },
    onSynced: () => policies.forgetOthers(manifests.objects),
  });
  const workloads = feeds.follow('Workloads', {
    onChange: (name, object) => policies.setWorkloads(name, object?.value as NodeWorkloads | undefined),
    onSynced: () => policies.nudge(),
  });
  const publisher = startPublisher({ ...parts, published: workloads });
  return { policies, flows, podListener: policies };
}

function startWithout(parts: AgentParts): Policing {
  if (removePolicyTables(parts.kernel).length > 0)
    parts.events.add('info', 'policy is off: the table of policies is removed');
  return parts.settings.store.type === 'kubernetes' ? { podListener: startReporter(parts) } : {};
}

function linkOf({ links }: Underlay, address: Address): string | undefined {
  return links.find((link) => link.addresses.some((one) => prefixAddress(one.address) === address))?.name;
}
