/**
 * All that there is of one kind, in the order in which it was told, each line serialized once however many read it. A line
 * whose object has changed since is taken out: so the log is as long as there are objects, to read it from its beginning is
 * to get a snapshot, and who reads slowly hears the last of each object and not what was between. A reader costs no memory
 * but its place.
 */
import { given } from '#lib/given.ts';
import { Bridge } from '#stores/relay/bridge.ts';
import { type Line, type Known, patchOf, type Told } from '#stores/relay/lines.ts';
import type { StoreEvent, Version } from '#stores/store.ts';

type Entry = {
  readonly at: number;
  readonly name?: string;
  readonly version?: Version;
  /** Of a put: so many bytes its value takes, which stands last in the text. */
  readonly bytes?: number;
  readonly patch?: { readonly since: number; readonly text: Buffer };
  /** Undefined: nothing is to be said here any more. */
  text: Buffer | undefined;
  before: Entry | undefined;
  /** Stays when the entry is taken out: who stands there goes on from there. */
  next: Entry | undefined;
};

/** So many removals are remembered for who reads slowly; who is behind by more is cut. */
const REMEMBERED = 1000;
/** What stands behind the value of a put. */
const END = '}}\n'.length;
/** A patch that is hardly shorter is not worth it. */
const WORTH = 0.5;

export class RelayLog {
  /** Stands before everything. */
  readonly #head: Entry = { at: 0, text: undefined, before: undefined, next: undefined };
  #last: Entry = this.#head;
  readonly #live = new Map<string, Entry>();
  /** Removals and complaints, which are no part of a snapshot. */
  readonly #passing: Entry[] = [];
  readonly #bridge = new Bridge();
  /** Who begins has to read from behind the last removal that was forgotten, or from the beginning. */
  forgottenAt = 0;
  /** All there is has been told. */
  isSynced = false;
  /** Why nothing is heard of the store; undefined: all is well. */
  away: string | undefined;

  get last(): Entry {
    return this.#last;
  }
  get size(): number {
    return this.#live.size;
  }

  /** Not of a loss: after that another log begins. */
  take(event: StoreEvent): void {
    if (event.type === 'gap' && this.isSynced) this.away = event.reason;
    for (const each of this.#bridge.pass(event)) {
      if (each.type === 'put') this.#put(each.object);
      else if (each.type === 'removed') this.#remove(each.name);
      else if (each.type === 'malformed') {
        const { type: _, line, ...malformed } = each;
        this.#pass(textOf({ malformed: { ...malformed, ...given('line', line) } }));
      } else [this.isSynced, this.away] = [true, undefined];
    }
  }

  read(known: Known): Cursor {
    return new Cursor(this, this.#head, known);
  }

  #put({ name, version, origin, value, expiresAtMs }: Told): void {
    const before = this.#live.get(name);
    const json = JSON.stringify(value);
    const head = { name, version, origin, ...given('expiresAtMs', expiresAtMs) };
    const text = textOf({ put: { ...head, value } });
    const patch = before && patchFrom(before, head, json);
    const isWorth = patch !== undefined && patch.text.length < text.length * WORTH;
    const bytes = Buffer.byteLength(json);
    this.#live.set(name, this.#append({ name, version, bytes, text, ...(isWorth ? { patch } : {}) }));
    if (before !== undefined) takeOut(before);
  }
  #remove(name: string): void {
    const before = this.#live.get(name);
    this.#live.delete(name);
    this.#pass(textOf({ removed: name }));
    if (before !== undefined) takeOut(before);
  }
  #pass(text: Buffer): void {
    this.#passing.push(this.#append({ text }));
    if (this.#passing.length <= REMEMBERED) return;
    const forgotten = this.#passing.shift();
    if (forgotten === undefined) return;
    this.forgottenAt = forgotten.at;
    takeOut(forgotten);
  }
  #append(entry: Pick<Entry, 'name' | 'version' | 'bytes' | 'patch'> & { readonly text: Buffer }): Entry {
    const last: Entry = { ...entry, at: this.#last.at + 1, before: this.#last, next: undefined };
    this.#last.next = last;
    this.#last = last;
    return last;
  }
}

function patchFrom(before: Entry, head: Omit<Told, 'value'>, json: string): Entry['patch'] {
  const { version, at, text, bytes = 0 } = before;
  if (version === undefined || text === undefined) return undefined;
  const value = text.subarray(text.length - END - bytes, text.length - END).toString('utf8');
  return { since: at, text: textOf({ patch: { ...head, from: version, ...patchOf(value, json) } }) };
}

/** Never the last one, which the next must be found from. */
function takeOut(entry: Entry): void {
  entry.text = undefined;
  if (entry.before !== undefined) entry.before.next = entry.next;
  if (entry.next !== undefined) entry.next.before = entry.before;
  entry.before = undefined;
}

export function textOf(line: Line): Buffer {
  return Buffer.from(`${JSON.stringify(line)}\n`);
}

/** One reader's place in the log. */
export class Cursor {
  readonly #log: RelayLog;
  /** Where the log ended when this one began. */
  readonly #begin: number;
  #known: Known | undefined;
  #place: Entry;
  /** All up to here was there when it was read last. */
  #seen: number;
  #isSynced = false;
  #away: string | undefined;

  constructor(log: RelayLog, place: Entry, known: Known) {
    this.#log = log;
    this.#place = place;
    this.#known = known;
    this.#begin = log.last.at;
    this.#seen = this.#begin;
  }

  /** A removal that it was to hear of has been forgotten. */
  get isLost(): boolean {
    return this.#log.forgottenAt > Math.max(this.#place.at, this.#begin);
  }
  get isSynced(): boolean {
    return this.#isSynced;
  }

  /** What comes next: at least that many bytes, unless there are no more. Empty: nothing. */
  take(bytes: number): Buffer[] {
    const texts: Buffer[] = [];
    const [from, seen] = [this.#place.at, this.#seen];
    let taken = 0;
    for (let entry = this.#place.next; entry !== undefined && taken < bytes; entry = entry.next) {
      this.#place = entry;
      const text = this.#textOf(entry, from, seen);
      if (text === undefined) continue;
      texts.push(text);
      taken += text.length;
    }
    this.#seen = this.#log.last.at;
    if (this.#place === this.#log.last) this.#tellState(texts);
    return texts;
  }

  /** A patch is for who has been told of what it changes: that stood before its place, and was there when it read. */
  #textOf({ at, name, version, text, patch }: Entry, from: number, seen: number): Buffer | undefined {
    if (name === undefined) return at > this.#begin ? text : undefined;
    if (this.#known !== undefined && this.#known[name] === version) return textOf({ same: name });
    return patch !== undefined && at > seen && patch.since <= from ? patch.text : text;
  }
  #tellState(texts: Buffer[]): void {
    const { away, isSynced } = this.#log;
    if (isSynced && !this.#isSynced) {
      this.#isSynced = true;
      this.#known = undefined;
      texts.push(textOf({ synced: true }));
    }
    if (away === this.#away) return;
    this.#away = away;
    texts.push(textOf({ away: away ?? null }));
  }
}
