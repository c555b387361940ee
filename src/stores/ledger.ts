import { type Attachment, attachmentId, type AttachmentKey } from '#model/attachment.ts';
import type { Problem } from '#model/fault.ts';
import { openJournal } from './journal.ts';

/**
 * What this node has attached, and previous values of what it changed on the host, kept in a journal: a change is in
 * the file before the call returns, and in memory only if it is in the file. One process has a ledger open.
 */
export type AttachmentLedger = {
  /** Records of the file that could not be read. */
  readonly problems: readonly Problem[];
  put(attachment: Attachment): void;
  /** Removing what is not there writes nothing. */
  remove(key: AttachmentKey): void;
  get(key: AttachmentKey): Attachment | undefined;
  /** In the order in which they were first put. */
  list(): Attachment[];
  /** Small text by name, such as a sysctl's value before it was changed; undefined removes it. */
  setMeta(name: string, value: string | undefined): void;
  /** As setMeta, but in the file with the next change of another kind only: until then nobody needs it there. */
  noteMeta(name: string, value: string): void;
  getMeta(name: string): string | undefined;
  listMeta(): ReadonlyMap<string, string>;
  close(): void;
};

type Entry =
  | { readonly op: 'put'; readonly attachment: Attachment }
  | { readonly op: 'remove'; readonly id: string }
  | { readonly op: 'meta'; readonly name: string; readonly value?: string };

/** Version of the entries above; when it grows, `upgrade` reads the one before. */
const VERSION = 1;
/** Rewritten when the journal is longer than both: so a rewrite pays for many appends. */
const COMPACT = { minimum: 1000, perLive: 4 } as const;

/** Throws Fault `io`. `sync` as for openJournal. */
export function openLedger(path: string, sync: 'none' | 'data' = 'none'): AttachmentLedger {
  const { journal, records, problems } = openJournal<Entry>(path, { sync, version: VERSION });
  const attachments = new Map<string, Attachment>();
  const meta = new Map<string, string>();

  const play = (entry: Entry): void => {
    if (entry.op === 'put') attachments.set(attachmentId(entry.attachment), entry.attachment);
    else if (entry.op === 'remove') attachments.delete(entry.id);
    else if (entry.value === undefined) meta.delete(entry.name);
    else meta.set(entry.name, entry.value);
  };
  const live = (): Entry[] => [
    ...Array.from(meta, ([name, value]) => ({ op: 'meta' as const, name, value })),
    ...Array.from(attachments.values(), (attachment) => ({ op: 'put' as const, attachment })),
  ];
  const noted = new Map<string, Entry>();
  const write = (entry: Entry): void => {
    journal.append(...noted.values(), entry);
    noted.clear();
    play(entry);
    const limit = Math.max(COMPACT.minimum, COMPACT.perLive * (attachments.size + meta.size));
    if (journal.length > limit) journal.compact(live());
  };
  for (const entry of records) play(entry);

  return {
    problems,
    put: (attachment) => write({ op: 'put', attachment }),
    remove(key) {
      const id = attachmentId(key);
      if (attachments.has(id)) write({ op: 'remove', id });
    },
    get: (key) => attachments.get(attachmentId(key)),
    list: () => [...attachments.values()],
    setMeta(name, value) {
      if (meta.get(name) !== value) write({ op: 'meta', name, ...(value === undefined ? {} : { value }) });
    },
    noteMeta(name, value) {
      noted.set(name, { op: 'meta', name, value });
      meta.set(name, value);
    },
    getMeta: (name) => meta.get(name),
    listMeta: () => new Map(meta),
    close: () => journal.close(),
  };
}
