/** Network policy of this node, fed from the stores; or, where it is switched off, what is left of it removed. */
import type { AgentParts } from '../parts.ts';
import { type Feed, startFeed } from '../feed.ts';
import { type Flows, startFlows } from '../policy-flows/start.ts';
import { Complaints } from './complaints.ts';
import { Policies } from './policies.ts';
import { startPublisher } from './publisher.ts';
import { removePolicyTables } from './tables.ts';
import type { Manifest } from '#model/manifest.ts';
import type { Underlay } from '#model/underlay.ts';
import type { NodeWorkloads } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import { prefixAddress } from '#net/prefix.ts';
import { isOfRoutingAlone } from '#routing/frontends/index.ts';
import type { Stored, StoreKind } from '#stores/store.ts';

export type StartOptions = {
  readonly parts: AgentParts;
  /** All nodes' adverts have been read. */
  readonly areNodesKnown: () => boolean;
};

export type Started = { readonly policies: Policies; readonly flows: Flows };

/** Undefined: policy is off. */
export function startPolicies({ parts, areNodesKnown }: StartOptions): Started | undefined {
  const { keep, kernel, store, clock, signal, log, settings } = parts;
  if (keep === undefined) {
    if (removePolicyTables(kernel).length > 0)
      parts.events.add('info', 'policy is off: the table of policies is removed');
    return undefined;
  }
  const complaints = new Complaints(parts.events, clock, signal);
  const follow = followerOf(parts, complaints);
  const policies: Policies = new Policies({
    ...parts,
    complaints,
    keep,
    linkOf: (address) => linkOf(kernel.underlay(), address),
    isSynced: () => manifests.synced && workloads.synced && areNodesKnown(),
    onOwnPods: (pods) => publisher.publish(pods),
    onLoaded: (view) => flows.staged.load(view),
    onLeave: () => flows.staged.remove(),
  });
  const flows = startFlows({ parts, policies });
  const manifests = follow(
    'Manifest',
    (name, value) => {
      const isElsewhere = settings.routing.enabled && isOfRoutingAlone(name);
      if (!isElsewhere) policies.setManifest(name, value as Manifest | undefined);
    },
    ({ objects }) => policies.forgetOthers(objects),
  );
  const workloads = follow('Workloads', (name, value) =>
    policies.setWorkloads(name, value as NodeWorkloads | undefined),
  );
  const publisher = startPublisher({ store, clock, signal, log, published: workloads });
  publisher.publish(policies.ownPods());
  return { policies, flows };
}

function linkOf({ links }: Underlay, address: Address): string | undefined {
  return links.find((link) => link.addresses.some((one) => prefixAddress(one.address) === address))?.name;
}

type Follow = (
  kind: StoreKind,
  set: (name: string, value: unknown) => void,
  /** All that the store has has been set. */
  onSynced?: (feed: Feed) => void,
) => Feed;

function followerOf({ store, clock, log, signal, settings }: AgentParts, complaints: Complaints): Follow {
  return (kind, set, onSynced = () => {}) => {
    const onChange = (name: string, object: Stored | undefined): void => set(name, object?.value);
    const feed: Feed = startFeed({
      store,
      kind,
      clock,
      log,
      signal,
      onChange,
      onSynced: () => {
        for (const [name, object] of feed.objects) onChange(name, object);
        onSynced(feed);
      },
      onMalformed: (text) => complaints.add(`not read: ${text}`),
      self: settings.node.name,
    });
    return feed;
  };
}
