/**
 * This node's part in IPsec's keys. What always holds: the kernel gets a key once. A journal in the run directory remembers
 * which were given, also over restarts of the agent; a boot, or a journal that cannot be trusted, draws a new nonce, which makes
 * all names new. Where a state is lost (somebody removed it, a peer left and came back) its key is not given again: the node
 * counts one up for that peer, tells it, and both go on with new names.
 *
 * A secret is told to peers once packets sealed by it can be taken in: so none is lost when one is added.
 */
import { createHash, randomBytes } from 'node:crypto';
import { bootId } from '../boot.ts';
import { deriveKey, type IpsecSecrets, readIpsecSecrets } from './ipsec-secrets.ts';
import type { XfrmKeys } from '#kernel/xfrm.ts';
import { toFault } from '#model/fault.ts';
import type { IpsecSelf } from '#model/ipsec.ts';
import type { Settings } from '#model/settings.ts';
import { type Journal, openJournal } from '#stores/journal.ts';

const KEY_BYTES = 36;
const NONCE_BYTES = 16;
/** When states of more peers were lost, a new nonce says it shorter. */
const MOST_AGAIN = 64;

type Entry =
  | { readonly boot: string; readonly nonce: string }
  | { readonly given: string }
  | { readonly unused: string }
  | { readonly again: string; readonly times: number }
  | { readonly announced: readonly string[] };

export type IpsecKeysOptions = {
  readonly node: string;
  /** The file of secrets. */
  readonly path: string;
  readonly journal: string;
  readonly bootId: string;
  /** Peers must be told, and everything planned anew. */
  readonly nudge: () => void;
  readonly warn: (text: string) => void;
};

export class IpsecKeys implements XfrmKeys {
  readonly #options: IpsecKeysOptions;
  readonly #journal: Journal<Entry>;
  readonly #given = new Set<string>();
  readonly #again = new Map<string, number>();
  #nonce = '';
  #secrets: IpsecSecrets;
  #announced: readonly string[] = [];
  #problem: string | undefined;

  /** Throws Fault `io` when the secrets cannot be read. */
  constructor(options: IpsecKeysOptions) {
    this.#options = options;
    this.#secrets = readIpsecSecrets(options.path);
    const { journal, records, problems } = openJournal<Entry>(options.journal, { sync: 'none', version: 1 });
    this.#journal = journal;
    for (const record of records) this.#replay(record);
    const [head] = records;
    const trusted =
      problems.length === 0 && head !== undefined && 'boot' in head && head.boot === options.bootId;
    if (!trusted) this.#renew();
    const kept = this.#announced.filter((id) => trusted && this.#secrets.has(id));
    // Nobody sends to a node that tells none; and after a boot nothing is lost that was not lost already.
    this.#announce(kept.length > 0 ? kept : [...this.#secrets.keys()]);
  }

  #replay(entry: Entry): void {
    if ('nonce' in entry) this.#nonce = entry.nonce;
    else if ('given' in entry) this.#given.add(entry.given);
    else if ('unused' in entry) this.#given.delete(entry.unused);
    else if ('again' in entry) this.#again.set(entry.again, entry.times);
    else this.#announced = entry.announced;
  }

  /** For the plan; `secrets` are those of the file as it was read last. */
  get self(): IpsecSelf {
    return {
      nonce: this.#nonce,
      again: Object.fromEntries(this.#again),
      secrets: [...this.#secrets.keys()],
      announced: this.#announced,
    };
  }

  /** Reads the file again. One that cannot be used changes nothing, and is told of once. */
  reload(): void {
    try {
      this.#secrets = readIpsecSecrets(this.#options.path);
      this.#problem = undefined;
    } catch (error) {
      const fault = toFault(error);
      const text = [fault.message, fault.details].filter((part) => part !== '').join('; ');
      if (text !== this.#problem) this.#options.warn(`${text}: going on with the secrets as they were`);
      this.#problem = text;
    }
    this.#announce(this.#announced.filter((id) => this.#secrets.has(id)));
  }

  /** Whether peers are still to be told of a secret. */
  get hasNews(): boolean {
    return this.#announced.length < this.#secrets.size;
  }

  /** The kernel has a state for every peer and secret. */
  noteProgrammed(): void {
    if (!this.hasNews) return;
    this.#announce([...this.#secrets.keys()]);
    this.#options.nudge();
  }

  #announce(announced: readonly string[]): void {
    if (announced.join() === this.#announced.join() || !this.#note({ announced })) return;
    this.#announced = announced;
  }

  take(name: string): Uint8Array | undefined {
    const secret = this.#secrets.get(name.split(' ')[0] ?? '');
    if (secret === undefined) return undefined;
    const mark = markOf(name);
    if (this.#given.has(mark)) {
      this.#lose(name);
      return undefined;
    }
    if (!this.#note({ given: mark })) return undefined;
    this.#given.add(mark);
    return deriveKey(secret, name, KEY_BYTES);
  }

  /** What cannot be remembered is not done. */
  #note(entry: Entry): boolean {
    return this.#write(() => this.#journal.append(entry));
  }

  #write(work: () => void): boolean {
    try {
      work();
      return true;
    } catch (error) {
      this.#options.warn(toFault(error).message);
      return false;
    }
  }

  giveBack(name: string, code: string): void {
    const mark = markOf(name);
    if (this.#note({ unused: mark })) this.#given.delete(mark);
    if (this.#journal.length > 2 * this.#given.size + 1000) this.#compact();
    if (code === 'EEXIST') this.#lose(name);
  }

  /** Once for a name: the second time it is no longer this node's. */
  #lose(name: string): void {
    const ends = name
      .split(' ')
      .slice(1, 3)
      .map((end) => end.split('/'));
    const own = ends.find(([node]) => node === this.#options.node);
    const peer = ends.find(([node]) => node !== this.#options.node)?.[0];
    if (own === undefined || peer === undefined) return;
    const times = this.#again.get(peer) ?? 0;
    if (own[1] === this.#nonce && own[2] === String(times)) this.rename(peer);
  }

  /** New names for all that is shared with the peer: states were lost, or an SPI is taken by another peer's. */
  rename(peer: string): void {
    const times = (this.#again.get(peer) ?? 0) + 1;
    if (this.#again.size >= MOST_AGAIN) this.#renew();
    else if (this.#note({ again: peer, times })) this.#again.set(peer, times);
    this.#options.nudge();
  }

  #renew(): void {
    this.#nonce = randomBytes(NONCE_BYTES).toString('base64url');
    this.#again.clear();
    this.#given.clear();
    this.#compact();
  }

  /** Where it fails, the old journal still has all that was given by the nonce that it names. */
  #compact(): void {
    const entries: Entry[] = [
      { boot: this.#options.bootId, nonce: this.#nonce },
      ...[...this.#given].map((given) => ({ given })),
      ...[...this.#again].map(([again, times]) => ({ again, times })),
      { announced: this.#announced },
    ];
    this.#write(() => this.#journal.compact(entries));
  }
}

/** Names are long, and there may be thousands. */
function markOf(name: string): string {
  return createHash('sha256').update(name).digest('base64url').slice(0, 22);
}

/** As the settings say where things are. Throws as IpsecKeys. */
export function openIpsecKeys(
  { node, road, paths }: Settings,
  told: Pick<IpsecKeysOptions, 'nudge' | 'warn'>,
): IpsecKeys {
  return new IpsecKeys({
    ...told,
    node: node.name,
    path: road.ipsec.secretsFile,
    journal: `${paths.run}/ipsec.journal`,
    bootId: bootId(),
  });
}
