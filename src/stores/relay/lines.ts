/**
 * What a relay says of one kind of objects, in lines of JSON: what there is, `synced`, then what changes. A reader who has
 * told what it knows hears of what is the same by name only.
 */
import { Fault } from '#model/fault.ts';
import type { StoreEvent, Stored, StoreKind, Version, WatchOptions } from '../store.ts';

export type Told = Omit<Stored, 'kind'>;
/** The value's JSON is that of version `from`, but for `cut` characters from `at` on, which are `add` now. */
export type Patch = Omit<Told, 'value'> & {
  readonly from: Version;
  readonly at: number;
  readonly cut: number;
  readonly add: string;
};
type Malformed = Omit<Extract<StoreEvent, { readonly type: 'malformed' }>, 'type' | 'line'> & {
  readonly line?: number;
};
export type Line =
  | { readonly put: Told }
  | { readonly patch: Patch }
  /** The object of that name is as the reader has told that it knows it. */
  | { readonly same: string }
  | { readonly removed: string }
  | { readonly malformed: Malformed }
  | { readonly synced: true }
  /** Nothing is heard from the store, for that reason; null: it answers again, and what was missed has been told. */
  | { readonly away: string | null }
  /** The store has lost its data. The last line. */
  | { readonly lost: string };

/** What a reader knows: versions by name. */
export type Known = Readonly<Record<string, Version>>;

/** Of the relay's clock when it began to speak, in milliseconds: `expiresAtMs` is by it. */
export const NOW_HEADER = 'tartan-now';
/** In certificates of relays, whatever their address. */
export const SERVER_NAME = 'relay.tartan.dev';

const PREFIX = '/v1/watch/';

export type Wanted = { readonly kind: StoreKind } & WatchOptions;

export function formatPath({ kind, only, except }: Wanted): string {
  const query = new URLSearchParams(Object.entries({ only, except }).filter(isGiven));
  return `${PREFIX}${kind}${query.size === 0 ? '' : `?${query.toString()}`}`;
}
function isGiven(entry: [string, string | undefined]): entry is [string, string] {
  return entry[1] !== undefined;
}

/** Undefined: it names nothing. Whether there is such a kind is not looked at. */
export function parsePath(path: string): Wanted | undefined {
  if (!path.startsWith(PREFIX)) return undefined;
  const [kind = '', query = ''] = path.slice(PREFIX.length).split('?');
  const values = new URLSearchParams(query);
  const [only, except] = [values.get('only') ?? undefined, values.get('except') ?? undefined];
  return { kind: kind as StoreKind, only, except };
}

/** Throws Fault `store-malformed`, also for what a later release may say: to pass it over would be to miss something. */
export function parseLine(text: string): Line {
  const line = parseJson(text);
  const [word, ...more] = Object.keys(line ?? {});
  if (word !== undefined && more.length === 0 && WORDS.has(word)) return line as Line;
  throw new Fault('store-malformed', `a relay has said ${JSON.stringify(text.slice(0, 80))}`);
}
const WORDS: ReadonlySet<string> = new Set([
  'put',
  'patch',
  'same',
  'removed',
  'malformed',
  'synced',
  'away',
  'lost',
]);

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return undefined;
  }
}

/** As short as one piece can say it. */
export function patchOf(before: string, now: string): Pick<Patch, 'at' | 'cut' | 'add'> {
  const shorter = Math.min(before.length, now.length);
  let at = 0;
  while (at < shorter && before[at] === now[at]) at += 1;
  let same = 0;
  while (same < shorter - at && before.at(-1 - same) === now.at(-1 - same)) same += 1;
  return { at, cut: before.length - same - at, add: now.slice(at, now.length - same) };
}

/** Undefined: the patch is for another value. */
export function patched(value: unknown, { at, cut, add }: Pick<Patch, 'at' | 'cut' | 'add'>): unknown {
  const before = JSON.stringify(value);
  return parseJson(before.slice(0, at) + add + before.slice(at + cut));
}
