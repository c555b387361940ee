/**
 * Objects of nodes that seem to be gone. After the grace each is asked: a mark is written into it, which its node would write
 * over, as it does with everything of its own that is not as it wrote it. Nothing else than silence since then is taken for an answer, and
 * the removal is for that very version.
 *
 *     seems gone ──grace──▶ asked ──answer time──▶ removed
 *          ▲                  │ written by anybody
 *          └──────────────────┘
 */
import { Absences } from './absences.ts';
import type { FencedStore } from './fence.ts';
import type { Clock } from '#lib/clock.ts';
import { toFault } from '#model/fault.ts';
import type { Questioned } from '#model/world.ts';
import type { StateKind, Stored, Version } from '#stores/store.ts';

export type InquestOptions = {
  readonly kind: StateKind;
  readonly store: FencedStore;
  readonly clock: Clock;
  /** Of this process. */
  readonly identity: string;
  readonly graceMs: number;
  /** A node that can reach the store answers by then. */
  readonly answerMs: number;
  readonly onRemoved: (object: Stored) => void;
};

type Question = { readonly before: Version; readonly version: Version; readonly atMs: number };

export class Inquest {
  readonly #options: InquestOptions;
  readonly #absences = new Absences();
  readonly #asked = new Map<string, Question>();

  constructor(options: InquestOptions) {
    this.#options = options;
  }

  /** Of all whose node seems to be gone at this moment, those that are to be asked, or have been. */
  due(suspects: readonly Stored[]): Stored[] {
    const { clock, graceMs } = this.#options;
    const now = clock.monotonicMs();
    const names = new Set(suspects.map(({ name }) => name));
    this.#absences.keep(names);
    for (const name of this.#asked.keys()) if (!names.has(name)) this.#asked.delete(name);
    return suspects.filter(({ name, version }) => {
      const missingMs = this.#absences.note(name, version, now);
      const question = this.#asked.get(name);
      if (question?.version === version || question?.before === version) return true;
      this.#asked.delete(name);
      return missingMs >= graceMs;
    });
  }

  /** Asks, or removes if it was asked long ago. `isGone` looks again, directly. Throws what the store throws, and NotLeading. */
  async pursue({ name, version }: Stored, isGone: () => Promise<boolean>): Promise<void> {
    const { kind, store, clock, answerMs } = this.#options;
    const question = this.#asked.get(name);
    if (question !== undefined && clock.monotonicMs() - question.atMs < answerMs) return;
    const present = await store.get(kind, name);
    // Written by its node, or by another that has it now.
    if (present?.version !== (question?.version ?? version) || !(await isGone())) {
      this.#asked.delete(name);
      return;
    }
    await (question === undefined ? this.#ask(present) : this.#remove(present)).catch((error: unknown) => {
      if (toFault(error).code !== 'store-conflict') throw error;
      this.#asked.delete(name);
    });
  }

  async #ask({ name, value, version, expiresAtMs }: Stored): Promise<void> {
    const { kind, store, clock, identity } = this.#options;
    const questioned: Questioned = { ...(value as object), questioned: identity };
    const left =
      expiresAtMs === undefined ? {} : { ttlSeconds: Math.max(1, (expiresAtMs - clock.nowMs()) / 1000) };
    const asked = await store.put(kind, name, questioned, { expect: version, ...left });
    this.#asked.set(name, { before: version, version: asked.version, atMs: clock.monotonicMs() });
  }

  async #remove(object: Stored): Promise<void> {
    const { kind, store, onRemoved } = this.#options;
    const { name, version } = object;
    await store.remove(kind, name, { expect: version });
    this.#asked.delete(name);
    onRemoved(object);
  }
}
