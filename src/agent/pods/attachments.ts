/**
 * CNI requests of one node. What always holds:
 * - the ledger names everything before the kernel has it (`planned`), and until the kernel no longer has it (`deleting`);
 * - requests about one container run one after the other, others side by side;
 * - whatever an ADD did is undone when it fails.
 */
import type { AddressAllocator } from '../addresses/allocator.ts';
import { bootId } from '../boot.ts';
import { checkAttached } from './check.ts';
import type { Cluster } from '../roads/cluster.ts';
import type { Place } from '../crash.ts';
import { delegate, delegateRest } from './delegated.ts';
import type { Host } from '../host/host.ts';
import { addLoopback, checkLoopback, removeLoopback } from './loopback.ts';
import type { Events, Logger } from '#lib/log.ts';
import { chainedKey, planAttachment } from './plan.ts';
import { hasOtherThan } from './pods-here.ts';
import type { Reaper } from './reaper.ts';
import { addAttachment } from './add.ts';
import { removeAttachment, undoAttachment } from './remove.ts';
import { Serial } from './serial.ts';
import type { Message } from '#cni/message.ts';
import {
  type AddRequest,
  answerVersion,
  type CheckRequest,
  type DelRequest,
  type GcRequest,
  parseRequest,
  type StatusRequest,
} from '#cni/request.ts';
import { encodeResult } from '#cni/result.ts';
import { encodeVersion } from '#cni/version.ts';
import { findLeaks, type Leak } from '#ipam/leak.ts';
import { given } from '#lib/given.ts';
import type { Kernel } from '#kernel/kernel.ts';
import { type Attachment, attachmentId, type PodName } from '#model/attachment.ts';
import { Fault, type Problem, toFault } from '#model/fault.ts';
import { IFB_PREFIX, POD_LINK_PREFIX } from '#model/numbers.ts';
import type { Settings } from '#model/settings.ts';
import type { openLedger } from '#stores/ledger.ts';

export type Ledger = ReturnType<typeof openLedger>;

/** What ADD, DEL, CHECK and GC work with. */
export type Bench = {
  readonly settings: Settings;
  readonly kernel: Kernel;
  readonly host: Host;
  readonly cluster: Cluster;
  readonly pools: AddressAllocator;
  readonly ledger: Ledger;
  readonly reaper: Reaper;
  /** By id, attachments that DEL has answered for but that are not gone yet, link and entry. */
  readonly leaving: Map<string, Promise<void>>;
  readonly events: Events;
  readonly log: Logger;
  readonly bootId: string;
  /** Why pods cannot be added now, one sentence each. */
  readonly notReady: () => string[];
  /** Resolves when an address whose link is gone now has rested long enough; undefined: at once. */
  readonly rest: () => Promise<void> | undefined;
  /** Waits until as much of the pod is known as its policies need. Throws Fault `pod-unknown`. */
  readonly known: (pod: PodName) => Promise<void>;
  /** The ledger has one more: its policies are in the kernel when this returns, or it throws. */
  readonly admit: () => void;
  /** The ledger has one less. */
  readonly dismiss: () => void;
  /** Told of every enumerated place that ADD and DEL pass. */
  readonly crash: (place: Place) => void;
};

/** The environment of a request as a delegated plugin gets it. */
export type Call = {
  readonly env: Readonly<Record<string, string>>;
  readonly stdin: string;
  /** The CNI executable's process, which lives until it is answered; absent for a spooled request. */
  readonly pid?: number;
};

export function sourceOf(attachment: Attachment): string {
  return `pod/${attachmentId(attachment)}`;
}

export class Attachments {
  readonly #bench: Bench;
  readonly #serial = new Serial();
  readonly #inFlight = new Set<string>();
  /** Done once before the first ADD: DELs that were spooled. */
  beforeFirstAdd: () => Promise<void> = () => Promise.resolve();
  #spool: Promise<void> | undefined;

  constructor(bench: Omit<Bench, 'bootId' | 'leaving'>) {
    this.#bench = { ...bench, leaving: new Map(), bootId: bootId() };
  }

  /** Ids of attachments that a request is working on. */
  get inFlight(): ReadonlySet<string> {
    return this.#inFlight;
  }

  /** The cniVersion in which an error about this message is answered. */
  readonly versionOf = (message: Message): ReturnType<typeof answerVersion> => answerVersion(message.stdin);

  /** Answers one request with its standard output; throws a Fault for the runtime to read. */
  readonly handle = async (message: Message, pid?: number): Promise<string> => {
    const request = parseRequest(message.env, message.stdin);
    const caller = pid === undefined ? {} : { pid };
    const call: Call = { env: cniVariables(message.env), stdin: message.stdin, ...caller };
    if (request.verb === 'VERSION') return encodeVersion(request.requested);
    if (request.verb === 'ADD') return this.#add(request, call);
    await this.#serve(request, call);
    return '';
  };

  /** The verbs that answer with nothing. */
  async #serve(request: DelRequest | CheckRequest | GcRequest | StatusRequest, call: Call): Promise<void> {
    switch (request.verb) {
      case 'DEL':
        return this.#del(request, call);
      case 'CHECK':
        return request.plugin === 'tartan'
          ? checkAttached(this.#bench, request, call)
          : checkLoopback(this.#bench, request, call);
      case 'GC':
        return this.#gc(request, call);
      case 'STATUS':
        this.#status();
        return delegateRest(request, call);
    }
  }

  async #add(request: AddRequest, call: Call): Promise<string> {
    if (request.plugin === 'loopback')
      return encodeResult(addLoopback(this.#bench, request, call), request.version);
    this.#spool ??= this.beforeFirstAdd();
    await this.#spool;
    const reasons = this.#bench.notReady();
    if (reasons.length > 0) throw new Fault('not-ready', `this node is not ready: ${reasons.join('; ')}`);
    const result = await this.#exclusively(attachmentId(request.key), request.key.containerId, () =>
      addAttachment(this.#bench, request, call),
    );
    return encodeResult(result, request.version);
  }

  async #del(request: DelRequest, call: Call): Promise<void> {
    if (request.plugin === 'loopback') return removeLoopback(this.#bench, request, call);
    await this.#exclusively(attachmentId(request.key), request.key.containerId, async () => {
      for (const key of [chainedKey(request.key), request.key]) {
        const attachment = this.#bench.ledger.get(key);
        if (attachment !== undefined) await removeAttachment(this.#bench, attachment, call);
      }
      // Last: once its plugin has answered the address is others', and by then nothing leads to it.
      if (request.delegatedIpam !== undefined) await delegate(request.delegatedIpam, call);
    });
  }

  async #gc(request: GcRequest, call: Call): Promise<void> {
    const problems: Problem[] = [];
    const collect = async ({ attachment, why }: Leak): Promise<void> => {
      const id = attachmentId(attachment);
      try {
        await this.#remove(attachment, `GC removes ${id}: ${why}`, call);
      } catch (error) {
        problems.push({ path: id, message: toFault(error).message });
      }
    };
    await Promise.all(this.#invalid(request).map(collect));
    await delegateRest(request, call).catch((error: unknown) => {
      problems.push({ path: 'ipam', message: toFault(error).message });
    });
    if (problems.length > 0) throw new Fault('kernel', 'not everything could be collected', { problems });
  }

  /** Nobody asks for it, and nobody will. Throws as DEL. */
  collect(attachment: Attachment, why: string): Promise<void> {
    return this.#remove(attachment, `${attachmentId(attachment)} is removed: ${why}`, { env: {}, stdin: '' });
  }

  #remove(attachment: Attachment, text: string, call: Call): Promise<void> {
    return this.#exclusively(attachmentId(attachment), attachment.containerId, async () => {
      // A request that came before may have removed it, and even added it anew.
      if (this.#bench.ledger.get(attachment) !== attachment) return;
      this.#bench.events.add('warning', text, given('pod', attachment.pod));
      await removeAttachment(this.#bench, attachment, call);
    });
  }

  #invalid({ name, valid }: GcRequest): Leak[] {
    const { ledger, bootId } = this.#bench;
    const attachments = ledger.list();
    const inFlight = this.#inFlight;
    const chained = chainedKey({ network: name, containerId: '', ifname: '' }).network;
    return [chained, name].flatMap((network) =>
      findLeaks({ attachments, bootId, inFlight, gc: { network, valid } }),
    );
  }

  #status(): void {
    const reasons = this.#bench.notReady();
    const all = [...reasons, ...this.#bench.pools.problems()];
    if (all.length > 0) throw new Fault('node-unavailable', `no pod can be added now: ${all.join('; ')}`);
  }

  async #exclusively<T>(id: string, containerId: string, task: () => Promise<T>): Promise<T> {
    this.#inFlight.add(id);
    try {
      return await this.#serial.run(containerId, task);
    } finally {
      this.#inFlight.delete(id);
    }
  }

  /**
   * Takes over what a predecessor left. Attachments of another boot are gone with it; what was cut short is undone
   * (a runtime sends ADD or DEL again); the rest is claimed as it was, so that nothing of it is touched.
   */
  recover(): void {
    const { ledger, bootId, log } = this.#bench;
    for (const attachment of ledger.list()) {
      if (attachment.bootId !== bootId) ledger.remove(attachment);
      else if (attachment.phase !== 'ready') undoAttachment(this.#bench, attachment);
    }
    this.claim();
    log.info({ attachments: ledger.list().length }, 'attachments taken over');
  }

  /** Claims what every pod needs of the host; again when pods of the other wiring came or went. */
  claim(): void {
    const { ledger, host, settings } = this.#bench;
    const legacyPods = hasOtherThan(settings.wiring.type, ledger);
    for (const attachment of ledger.list())
      if (attachment.phase === 'ready')
        host.set(sourceOf(attachment), planAttachment(attachment, settings, legacyPods).host);
  }
}

/** Only what the protocol defines: the agent's own environment is nobody's business. */
function cniVariables(env: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(env).filter(([name]) => name.startsWith('CNI_')));
}

/** Whether a link has a name that only pods' links have. */
export function isPodLink(name: string): boolean {
  return name.startsWith(POD_LINK_PREFIX) || name.startsWith(IFB_PREFIX);
}
