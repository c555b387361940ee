import { mkdirSync } from 'node:fs';
import { dirname } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import type { Problem } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import { openJournal } from './journal.ts';

/**
 * The operator's objects as this node last accepted them, kept in a journal: a file that is broken while the agent is
 * away leaves the next agent with what was good. One process has it open.
 *
 * Written without waiting for the disk: a process that dies loses nothing. A host that dies may lose the last seconds,
 * and with it the pods that they were about.
 */
export type Keep = {
  /** Records of the file that could not be read. */
  readonly problems: readonly Problem[];
  get(name: string): Manifest | undefined;
  /** Writes nothing where it is kept already. Throws Fault `io`; what was kept is then kept still. */
  put(name: string, manifest: Manifest): void;
  /** Removing what is not there writes nothing. */
  remove(name: string): void;
  /** In the order in which they were first put. */
  entries(): Iterable<readonly [name: string, manifest: Manifest]>;
  close(): void;
};

type Entry =
  | { readonly op: 'put'; readonly name: string; readonly manifest: Manifest }
  | { readonly op: 'remove'; readonly name: string };

/** Version of the entries above. */
const VERSION = 1;
/** Rewritten when the journal is longer than both: so a rewrite pays for many appends. */
const COMPACT = { minimum: 1000, perLive: 3 } as const;

/** Throws Fault `io`, also for a file of another version. */
export function openKeep(path: string): Keep {
  mkdirSync(dirname(path), { recursive: true });
  const { journal, records, problems } = openJournal<Entry>(path, { sync: 'none', version: VERSION });
  const kept = new Map<string, Manifest>();

  const play = (entry: Entry): void => {
    if (entry.op === 'put') kept.set(entry.name, entry.manifest);
    else kept.delete(entry.name);
  };
  const live = (): Entry[] => Array.from(kept, ([name, manifest]) => ({ op: 'put', name, manifest }));
  const write = (entry: Entry): void => {
    journal.append(entry);
    play(entry);
    if (journal.length > Math.max(COMPACT.minimum, COMPACT.perLive * kept.size)) journal.compact(live());
  };
  for (const entry of records) play(entry);

  return {
    problems,
    get: (name) => kept.get(name),
    put(name, manifest) {
      const present = kept.get(name);
      if (present === undefined || !isSame(present, manifest)) write({ op: 'put', name, manifest });
      // One of two that are the same is enough: the caller's has others who hold it.
      else kept.set(name, manifest);
    },
    remove(name) {
      if (kept.has(name)) write({ op: 'remove', name });
    },
    entries: () => kept.entries(),
    close: () => journal.close(),
  };
}

/** Equal texts are equal values; values without text are looked at. */
function isSame(one: Manifest, other: Manifest): boolean {
  const [a, b] = [one.written, other.written];
  if (one.source !== other.source || a?.line !== b?.line || a?.text !== b?.text) return false;
  return a !== undefined || isDeepStrictEqual(one.value, other.value);
}
