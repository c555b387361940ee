/**
 * Pod objects that are gone before their pods are, as when a pod is deleted by force: it keeps its labels as long as it has a
 * link here, or policies that select it by them would let go of what still runs.
 */
import type { Ledger } from '../pods/attachments.ts';
import { podUid } from '#policy/inputs/pod-object.ts';
import type { Keep } from '#stores/last-good.ts';

const NAME = /^v1\/Pod\/([^/]+)\/([^/]+)$/;

export class Lingering {
  readonly #ledger: Pick<Ledger, 'list'>;
  readonly #keep: Pick<Keep, 'get'>;
  readonly #names = new Set<string>();

  constructor(ledger: Pick<Ledger, 'list'>, keep: Pick<Keep, 'get'>) {
    this.#ledger = ledger;
    this.#keep = keep;
  }

  /** The object is gone. Answers whether it stays in force. */
  take(name: string): boolean {
    if (!this.#isAttached(name)) return false;
    this.#names.add(name);
    return true;
  }

  /** The object is there again. */
  drop(name: string): void {
    this.#names.delete(name);
  }

  /** Attachments have gone: these objects need not stay any more. */
  release(): string[] {
    const released = [...this.#names].filter((name) => !this.#isAttached(name));
    for (const name of released) this.#names.delete(name);
    return released;
  }

  /** The very pod that the object was about: another of its name has its own labels. */
  #isAttached(name: string): boolean {
    const [, namespace, pod] = NAME.exec(name) ?? [];
    const uid = pod === undefined ? undefined : podUid(this.#keep.get(name));
    const isIt = ({ pod: own }: ReturnType<Ledger['list']>[number]): boolean =>
      own?.namespace === namespace && own?.name === pod && own?.uid === uid;
    return uid !== undefined && this.#ledger.list().some(isIt);
  }
}
