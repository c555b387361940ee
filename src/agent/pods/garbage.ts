/**
 * Attachments whose pod is gone and whose DEL never came: their addresses would be held for ever. Two must agree that the pod
 * is gone (docs/decisions/0017-controller.md): the kernel, in which its namespace has been missing for the whole grace, and
 * the API server, asked for that pod directly. Where nobody can be asked nothing is removed.
 */
import { Absences } from '#controller/absences.ts';
import type { Clock } from '#lib/clock.ts';
import { type Attachment, attachmentId, type PodName } from '#model/attachment.ts';
import type { Manifest } from '#model/manifest.ts';
import { isFields } from '#model/manifest-shapes.ts';
import type { Store } from '#stores/store.ts';

export type GarbageOptions = {
  readonly store: Pick<Store, 'get'>;
  readonly clock: Clock;
  readonly node: string;
  readonly graceMs: number;
  /** Whose namespace is gone at this moment. */
  readonly suspects: () => readonly Attachment[];
  readonly collect: (attachment: Attachment, why: string) => Promise<void>;
};

export class Garbage {
  readonly #options: GarbageOptions;
  readonly #absences = new Absences();

  constructor(options: GarbageOptions) {
    this.#options = options;
  }

  /** Throws what the store throws: then it is looked again. */
  async look(): Promise<void> {
    const { suspects, clock, graceMs, collect } = this.#options;
    const now = clock.monotonicMs();
    // Of other attachments nobody knows whose they are, or another program gave the address.
    const known = suspects().filter(
      ({ pod, delegatedIpam }) => pod !== undefined && delegatedIpam === undefined,
    );
    this.#absences.keep(new Set(known.map(attachmentId)));
    const due = known.filter((one) => this.#absences.note(attachmentId(one), '', now) >= graceMs);
    for (const attachment of due) {
      const why = await this.#whyGone(attachment.pod as PodName);
      if (why !== undefined) await collect(attachment, why);
    }
  }

  /** Undefined: it is not. */
  async #whyGone({ namespace, name, uid }: PodName): Promise<string | undefined> {
    const { store, node } = this.#options;
    const found = await store.get('Manifest', `v1/Pod/${namespace}/${name}`);
    const gone = 'its network namespace is gone, and';
    if (found === undefined) return `${gone} Kubernetes has no such pod`;
    const { metadata, spec } = (found.value as Manifest).value as Record<string, unknown>;
    const present = { uid: textOf(metadata, 'uid'), node: textOf(spec, 'nodeName') };
    if (uid !== undefined && (present.uid ?? uid) !== uid)
      return `${gone} Kubernetes has another pod of its name`;
    return (present.node ?? node) === node ? undefined : `${gone} its pod is on node ${present.node}`;
  }
}

function textOf(value: unknown, name: string): string | undefined {
  const text = isFields(value) ? value[name] : undefined;
  return typeof text === 'string' ? text : undefined;
}
