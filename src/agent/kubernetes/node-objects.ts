/**
 * Nodes as Kubernetes knows them (v1 Node, from whatever store has them): whose which podCIDR is, and which nodes flannel
 * still runs on. What an agent tells of its node stands before what flannel does.
 */
import { isDeepStrictEqual } from 'node:util';
import type { AgentParts } from '../parts.ts';
import {
  type AnnotatedNode,
  type Annotations,
  overwrittenAddresses,
  readFlannelNode,
} from '#ipam/flannel-node.ts';
import { readPodCidrs } from '#ipam/pod-cidr.ts';
import { listProblems } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import type { NodeAdvert, SubnetClaim } from '#model/world.ts';
import type { Address } from '#net/address.ts';
import { familyValues, type PerFamily } from '#net/per-family.ts';
import type { Prefix } from '#net/prefix.ts';
import type { Feed, Listener } from '#stores/feed.ts';

export type NodeObjectsOptions = {
  readonly parts: Pick<AgentParts, 'settings' | 'feeds' | 'complaints'>;
  /** The own Node object, or anybody's subnets, are others now. */
  readonly onChange: () => void;
  /** flannel runs on that node, or (undefined) does no more. */
  readonly onPeer: (name: string, advert: NodeAdvert | undefined) => void;
};

const NAME = /^v1\/Node\/([^/]+)$/;

export class NodeObjects {
  readonly #options: NodeObjectsOptions;
  /** By node. */
  readonly #subnets = new Map<string, PerFamily<Prefix>>();
  readonly #peers = new Map<string, NodeAdvert>();
  /** What is wrong with nodes of flannel's. */
  readonly #problems = new Map<string, string>();
  readonly #feed: Feed | undefined;
  #own: unknown;
  #ownAnnotations: Annotations = {};

  constructor(options: NodeObjectsOptions) {
    this.#options = options;
    const { settings, feeds } = options.parts;
    if (!readsNodes(settings)) return;
    const listener: Listener = {
      onChange: (name, object) => {
        const node = NAME.exec(name)?.[1];
        if (node !== undefined) this.#set(node, (object?.value as Manifest | undefined)?.value);
      },
      onSynced: options.onChange,
    };
    this.#feed = feeds.follow('Manifest', listener, readsManifests(settings) ? undefined : 'v1/Node');
  }

  get synced(): boolean {
    return this.#feed?.synced ?? true;
  }

  /** The object of this node; undefined: there is none, or nobody asks for it. */
  get own(): unknown {
    return this.#own;
  }

  /** What is announced in place of this node's own addresses. */
  overwritten(): PerFamily<Address> {
    const { settings } = this.#options.parts;
    const { flannel } = settings.kubernetes;
    return flannel.peers ? overwrittenAddresses(this.#ownAnnotations, flannel.prefix) : {};
  }

  /** Where nodes have the subnets that Kubernetes gives them. */
  claims(): SubnetClaim[] {
    if (this.#options.parts.settings.addresses.type !== 'node-cidr') return [];
    return [...this.#subnets].flatMap(([node, subnets]) =>
      familyValues(subnets).map((subnet) => ({ node, subnet, reserved: true })),
    );
  }

  /** As flannel tells of the node. */
  peer(name: string): NodeAdvert | undefined {
    return this.#peers.get(name);
  }

  #set(name: string, value: unknown): void {
    const node = value === undefined ? undefined : annotatedNode(name, value);
    let isNews = this.#setSubnets(name, node?.subnets);
    if (name !== this.#options.parts.settings.node.name) this.#setPeer(name, node);
    else {
      isNews ||= !isDeepStrictEqual(this.#own, value);
      [this.#own, this.#ownAnnotations] = [value, node?.annotations ?? {}];
    }
    if (isNews) this.#options.onChange();
  }

  /** Answers whether they are others. */
  #setSubnets(name: string, subnets: PerFamily<Prefix> | undefined): boolean {
    const before = this.#subnets.get(name);
    if (subnets === undefined) this.#subnets.delete(name);
    else this.#subnets.set(name, subnets);
    return !isDeepStrictEqual(before, subnets);
  }

  #setPeer(name: string, node: AnnotatedNode | undefined): void {
    const before = this.#peers.get(name);
    const peer = node && this.#read(node);
    if (JSON.stringify(before) === JSON.stringify(peer)) return;
    if (peer === undefined) this.#peers.delete(name);
    else this.#peers.set(name, peer);
    this.#options.onPeer(name, peer);
  }

  #read(node: AnnotatedNode): NodeAdvert | undefined {
    const { settings, complaints } = this.#options.parts;
    if (!seesFlannel(settings)) return undefined;
    const read = readFlannelNode(node, {
      prefix: settings.kubernetes.flannel.prefix,
      vxlanPort: settings.road.vxlan.port,
      outer: settings.network.subnets[4] === undefined ? 6 : 4,
    });
    const problems = Array.isArray(read) ? listProblems(read).join('; ') : '';
    // Nodes are told of again each few minutes.
    if (problems !== '' && this.#problems.get(node.name) !== problems)
      complaints.add(`${problems}; flannel’s node is no peer`);
    if (problems === '') this.#problems.delete(node.name);
    else this.#problems.set(node.name, problems);
    return Array.isArray(read) ? undefined : read;
  }
}

type Settings = AgentParts['settings'];

function seesFlannel({ store, kubernetes }: Settings): boolean {
  return store.type === 'kubernetes' && kubernetes.flannel.peers;
}

/** Whether an agent with these settings asks for Node objects at all. */
export function readsNodes(settings: Settings): boolean {
  return settings.addresses.type === 'node-cidr' || seesFlannel(settings);
}

/** Somebody else in the agent reads what the operator writes. */
export function readsManifests({ policy, routing, addresses }: Settings): boolean {
  return policy.enforce || routing.enabled || addresses.type === 'blocks';
}

/** As much of a Node object as is asked for here. */
function annotatedNode(name: string, value: unknown): AnnotatedNode {
  const { annotations } = ((value as { metadata?: unknown }).metadata ?? {}) as { annotations?: unknown };
  const given = typeof annotations === 'object' && annotations !== null ? Object.entries(annotations) : [];
  const texts = given.filter((entry): entry is [string, string] => typeof entry[1] === 'string');
  return { name, annotations: Object.fromEntries(texts), subnets: readPodCidrs(value).subnets };
}
