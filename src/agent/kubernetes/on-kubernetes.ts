/** What an agent does on Kubernetes besides having its objects there; on other stores, as much of it as there is. */
import type { AgentParts } from '../parts.ts';
import { NodeObjects, type NodeObjectsOptions } from './node-objects.ts';
import { OwnNode } from './own-node.ts';
import { createPodGate } from './pod-gate.ts';
import type { Policies } from '../policy/policies.ts';
import type { PodName } from '#model/attachment.ts';
import type { NodeAdvert } from '#model/world.ts';
import { families } from '#net/per-family.ts';
import type { Self } from '#backends/backend.ts';
import type { Feed } from '#stores/feed.ts';
import { nodeSubject, startEventSender } from '#stores/kubernetes/event-sender.ts';
import type { RelayUse } from '#stores/relay/relays.ts';

export type OnKubernetesOptions = Pick<NodeObjectsOptions, 'onChange' | 'onPeer'> & {
  readonly parts: AgentParts;
  /** Adverts, as the feed has them. */
  readonly nodes: Feed;
  readonly isReady: () => boolean;
};

export class OnKubernetes {
  readonly nodes: NodeObjects;
  readonly #own: OwnNode | undefined;
  readonly #sender: Promise<void> | undefined;
  readonly #node: string;
  readonly #adverts: Feed;
  readonly #parts: AgentParts;

  constructor(options: OnKubernetesOptions) {
    const { parts } = options;
    this.#adverts = options.nodes;
    this.#parts = parts;
    const { nodeApi: api, settings, events, log } = parts;
    const node = settings.node.name;
    this.#node = node;
    if (api !== undefined) {
      this.#own = new OwnNode({ ...options, api, advert: () => this.#told(node) });
      if (settings.kubernetes.events) {
        const onError = (error: unknown): void =>
          log.warn({ error: String(error) }, 'Events were not sent; trying again');
        const { note, stopped } = startEventSender({ ...parts, api, subject: nodeSubject(node), onError });
        events.onAdd = note;
        this.#sender = stopped;
      }
    }
    this.nodes = new NodeObjects({
      ...options,
      onChange: () => {
        options.onChange();
        this.#own?.nudge();
      },
    });
  }

  /** What the node's agent tells of it stands before what flannel does. */
  advertOf(node: string): NodeAdvert | undefined {
    return this.#told(node) ?? this.nodes.peer(node);
  }

  #told(node: string): NodeAdvert | undefined {
    return this.#adverts.objects.get(node)?.value as NodeAdvert | undefined;
  }

  /** Where an operator has the node announce other addresses than its own, as he told flannel. */
  say(self: Self | undefined): Partial<NodeAdvert> {
    const overwritten = this.#own === undefined ? {} : this.nodes.overwritten();
    if (self === undefined || families(overwritten).length === 0) return {};
    return { addresses: { ...self.underlay.announced, ...overwritten } };
  }

  /** Undefined: no relay is asked for. */
  relayUse(): RelayUse | undefined {
    return this.#parts.store.relayUse?.();
  }

  /** Resolves when policies can know the pod's labels. Throws Fault `pod-unknown`. */
  async awaitPod(pod: PodName, policies: Policies | undefined): Promise<void> {
    const { settings, store, clock } = this.#parts;
    if (settings.store.type !== 'kubernetes' || policies === undefined) return;
    const gate = createPodGate({
      node: this.#node,
      clock,
      store,
      known: (name) => policies.manifest(name),
      learn: (name, manifest) => policies.setManifest(name, manifest),
    });
    await gate(pod);
  }

  /** The node became ready, or tells something else of itself. */
  nudge(): void {
    this.#own?.nudge();
  }

  notReady(): string[] {
    return this.#own?.isMissing === true ? [`Kubernetes has no Node ${this.#node}`] : [];
  }

  /** Tartan is taken from the node. Answers what was changed, and what could not be. */
  async leave(): Promise<{ readonly removed: readonly string[]; readonly failed: readonly string[] }> {
    try {
      return { removed: (await this.#own?.leave()) ?? [], failed: [] };
    } catch (error) {
      return { removed: [], failed: [`Node ${this.#node}: ${String(error)}`] };
    }
  }

  get stopped(): Promise<unknown> {
    return Promise.all([this.#own?.stopped, this.#sender]);
  }
}
