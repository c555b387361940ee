/**
 * Where this node enforces no policies and others may: what they must know of its pods. In Kubernetes policies are there whether or
 * not a provider enforces them, and a cluster changes from one to the other node by node: pods of nodes that enforce nothing yet (or
 * no more) are selected by policies of those that do.
 */
import type { AgentParts } from '../parts.ts';
import { readsManifests } from '../kubernetes/node-objects.ts';
import { startPublisher } from './publisher.ts';
import { workloadsOf } from './workloads.ts';
import type { Manifest } from '#model/manifest.ts';
import { createInputs } from '#policy/inputs/inputs.ts';

/** Told of the ledger's changes. */
export type PodListener = {
  /** It has one more. */
  readonly admit: () => void;
  /** It has one less. */
  readonly dismiss: () => void;
};

const POD = 'v1/Pod';

/** Reads this node's own Pod objects; labels are theirs. */
export function startReporter(parts: AgentParts): PodListener {
  const { settings, feeds, ledger } = parts;
  const node = settings.node.name;
  const inputs = createInputs({ node });
  const publisher = startPublisher(parts);
  const tell = (): void => {
    // What was told before this agent began is better than pods without their labels.
    if (objects.synced) publisher.publish({ node, pods: inputs.told() });
  };
  const look = (): void => {
    inputs.setOwn(workloadsOf(ledger.list()));
    tell();
  };
  const listener = {
    onChange: (name: string, object: { readonly value: unknown } | undefined): void => {
      if (!name.startsWith(`${POD}/`)) return;
      inputs.setManifest(name, object?.value as Manifest | undefined);
      tell();
    },
    onSynced: tell,
  };
  const objects = feeds.follow('Manifest', listener, readsManifests(settings) ? undefined : POD);
  look();
  return { admit: look, dismiss: look };
}
