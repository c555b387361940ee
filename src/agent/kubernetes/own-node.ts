/**
 * What this node's Node object says of its network. What always holds:
 * - it is read before it is written, and nothing is written that is there already;
 * - the condition and the taint change when the node is ready and when Tartan leaves it, never when the agent restarts;
 * - nothing that pods need waits for it.
 */
import type { AgentParts } from '../parts.ts';
import { type Annotations, flannelAnnotations } from '#ipam/flannel-node.ts';
import { type Reconciler, startReconciler } from '#lib/reconciler.ts';
import type { Clock } from '#lib/clock.ts';
import type { Settings } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import { annotatedBy, type NodeApi, type NodeObject } from '#stores/kubernetes/node-object.ts';

export type OwnNodeOptions = {
  readonly parts: Pick<AgentParts, 'settings' | 'clock' | 'signal' | 'log' | 'events'>;
  readonly api: NodeApi;
  /** Pods can be added, or could once. */
  readonly isReady: () => boolean;
  /** What the node tells the others, as the store has it; undefined while it has none. */
  readonly advert: () => NodeAdvert | undefined;
};

/** The object is looked at again so often, should no watch have told of a change. */
const RESYNC_MS = 300_000;
const CONDITION = 'NetworkUnavailable';
const UP = { status: 'False', reason: 'TartanIsUp', message: 'Tartan is ready on this node' } as const;
const GONE = {
  status: 'True',
  reason: 'TartanHasLeft',
  message: 'Tartan was removed from this node',
} as const;

export class OwnNode {
  readonly #options: OwnNodeOptions;
  readonly #loop: Reconciler;
  #isMissing = false;
  #hasLeft = false;
  /** The annotations that the object has had since this agent began. */
  #annotated: string | undefined;

  constructor(options: OwnNodeOptions) {
    this.#options = options;
    const { clock, signal, log } = options.parts;
    this.#loop = startReconciler({
      clock,
      signal,
      resyncMs: RESYNC_MS,
      pass: () => this.#pass(),
      onError: (error) =>
        log.warn({ error: String(error) }, 'this node’s Node object is not up to date; trying again'),
    });
  }

  nudge(): void {
    this.#loop.nudge();
  }
  get stopped(): Promise<void> {
    return this.#loop.stopped;
  }

  /** The name is nobody's: an operator must see that. */
  get isMissing(): boolean {
    return this.#isMissing;
  }

  /** Tartan is taken from the node. Answers what was changed, for people. Throws as the API's client. */
  leave(): Promise<string[]> {
    this.#hasLeft = true;
    return leaveNode(this.#options.parts, this.#options.api);
  }

  /** Before it is ready there is nothing to write but what flannel's nodes must know, once it is known. */
  async #pass(): Promise<'ok' | 'retry'> {
    // The first begins while the agent, which is asked below, is being put together.
    await Promise.resolve();
    const { api, isReady, parts, advert } = this.#options;
    const wanted = this.#wanted();
    const isSaid = wanted === undefined || JSON.stringify(wanted) === this.#annotated;
    if (this.#hasLeft) return 'ok';
    if (isSaid && !isReady()) return 'retry';
    const node = await api.get();
    this.#noteMissing(node === undefined);
    if (node === undefined) return 'retry';
    if (wanted !== undefined) await this.#annotate(node, wanted);
    if (!isReady()) return 'retry';
    // Who carries packets in its place says himself when he does.
    if (advert()?.road !== 'alloc') await setCondition(parts, api, { node, wanted: UP });
    return this.#removeTaint(node);
  }

  #noteMissing(isMissing: boolean): void {
    const { settings, events } = this.#options.parts;
    if (isMissing && !this.#isMissing)
      events.add(
        'error',
        `Kubernetes has no Node ${settings.node.name}: node.name must be what it calls this node`,
      );
    this.#isMissing = isMissing;
  }

  /** Undefined: it has no advert yet, and what an agent before this one wrote is right still. */
  #wanted(): Annotations | undefined {
    const { advert, parts } = this.#options;
    const { peers, prefix } = parts.settings.kubernetes.flannel;
    const told = advert();
    return told && (peers ? flannelAnnotations(told, prefix) : {});
  }

  async #annotate(node: NodeObject, wanted: Annotations): Promise<void> {
    const present = node.metadata.annotations ?? {};
    const isRight = Object.entries(wanted).every(([key, value]) => present[key] === value);
    const isClean = annotatedBy(node).every((key) => key in wanted);
    if (!isRight || !isClean) await this.#options.api.annotate(wanted);
    this.#annotated = JSON.stringify(wanted);
  }

  async #removeTaint(node: NodeObject): Promise<'ok' | 'retry'> {
    const { api, parts } = this.#options;
    const key = parts.settings.kubernetes.startupTaint;
    if (!(node.spec?.taints ?? []).some((taint) => taint.key === key)) return 'ok';
    if (!(await api.removeTaint(node, key))) return 'retry';
    parts.events.add('info', `the node is ready: its taint ${key} is taken off`);
    return 'ok';
  }
}

type Wanted = Pick<typeof UP | typeof GONE, 'status' | 'reason' | 'message'>;

/** What others say of it stays, when it comes to the same. */
async function setCondition(
  { settings, clock }: { readonly settings: Settings; readonly clock: Clock },
  api: NodeApi,
  { node, wanted }: { readonly node: NodeObject; readonly wanted: Wanted },
): Promise<boolean> {
  const present = node.status?.conditions?.find(({ type }) => type === CONDITION);
  if (!settings.kubernetes.condition || present?.status === wanted.status) return false;
  const now = `${new Date(clock.nowMs()).toISOString().slice(0, 19)}Z`;
  await api.setCondition({ type: CONDITION, ...wanted, lastTransitionTime: now, lastHeartbeatTime: now });
  return true;
}

/** May be repeated. Answers what was changed, for people; throws as the API's client. */
export async function leaveNode(
  about: { readonly settings: Settings; readonly clock: Clock },
  api: NodeApi,
): Promise<string[]> {
  const node = await api.get();
  if (node === undefined) return [];
  const told: string[] = [];
  if (await setCondition(about, api, { node, wanted: GONE })) told.push(`${CONDITION} is True`);
  if (annotatedBy(node).length > 0) {
    await api.annotate({});
    told.push('flannel’s annotations are gone');
  }
  return told.map((what) => `Node ${about.settings.node.name}: ${what}`);
}
