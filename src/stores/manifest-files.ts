import { isUtf8 } from 'node:buffer';
import { setImmediate as breathe, setTimeout as sleep } from 'node:timers/promises';
import { SharedRun } from '#lib/shared-run.ts';
import { splitObjects } from '#model/list-document.ts';
import { readBytes, type Stamp, stampOf } from './files.ts';
import { type FileContent, joinContents, keyOf, readOperators } from './object-file.ts';

/**
 * The operator's files, each as it was when it last came to rest. Who writes a file truncates it and fills it piece by
 * piece; at any moment of that it may be good YAML that says something else, or nothing. So what a file says is believed
 * when it has not been touched for a moment, and for longer where it looks unfinished: when it has problems, has lost
 * objects, is shorter than it was, or does not end with a line.
 *
 *     touched ──quietMs──▶ read ──looks finished──▶ believed
 *        ▲                   └──────unfinishedMs──────▲
 *        └──── touched again: from the beginning ─────┘
 */
export type ManifestHooks = {
  /** The file is there. */
  readonly found: (path: string) => void;
  readonly vanished: (path: string) => void;
  /** Does so in steps, between which there may be other work. */
  readonly believe: (path: string, believed: Believed) => Iterable<void>;
  readonly believed: (path: string) => Believed | undefined;
  /** It has been touched all the time for so long that somebody should know. */
  readonly restless: (path: string) => void;
};

export type Believed = { readonly digest: string; readonly stamp?: Stamp; readonly content: FileContent };

/** For how long a file has to rest. Milliseconds. */
export type Rest = { readonly quietMs: number; readonly unfinishedMs: number };
export const REST: Rest = { quietMs: 100, unfinishedMs: 500 };
const RESTLESS_MS = 5000;
/** Files that are due in so short a time are looked at together. */
const TOGETHER_MS = 20;
const MAX_BYTES = 64 << 20;
/** Other work of this process waits no longer than about this. */
const BUSY_MS = 8;

type Moving = {
  readonly stamp: Stamp;
  /** Of the monotonic clock: since when it has been in this state, and when it was first touched. */
  readonly sinceMs: number;
  readonly firstMs: number;
  readonly isTold: boolean;
  dueMs: number;
  read?: Read | undefined;
};
type Read = { readonly content: FileContent; readonly isWhole: boolean };
type Piece = { readonly line: number; readonly content: FileContent };

export class ManifestFiles {
  readonly #hooks: ManifestHooks;
  readonly #rest: Rest;
  readonly #moving = new Map<string, Moving>();
  /** What documents of a file said, by their text: of 10,000 in one file one changes at a time. */
  readonly #pieces = new Map<string, ReadonlyMap<string, Piece>>();
  readonly #looks = new SharedRun<string>((paths) => this.#lookAtAll(paths));
  #timer: NodeJS.Timeout | undefined;
  #busySinceMs = 0;
  #isClosed = false;

  constructor(hooks: ManifestHooks, rest: Rest) {
    this.#hooks = hooks;
    this.#rest = rest;
  }
  close(): void {
    this.#isClosed = true;
    clearTimeout(this.#timer);
  }
  forget(path: string): void {
    this.#moving.delete(path);
    this.#pieces.delete(path);
  }
  /** Something may have happened to these files, or they may be gone. */
  look(paths: Iterable<string>): Promise<void> {
    return this.#looks.ask(paths);
  }
  /** Resolves when all files rest, or when some have not for long. */
  async settled(): Promise<void> {
    const deadline = performance.now() + RESTLESS_MS;
    while (this.#moving.size > 0 && !this.#isClosed && performance.now() < deadline) await sleep(TOGETHER_MS);
  }

  async #lookAtAll(paths: Iterable<string>): Promise<void> {
    this.#busySinceMs = performance.now();
    for (const path of paths) {
      if (this.#isClosed) return;
      await this.#lookAt(path);
      await this.#breathe();
    }
    this.#schedule();
  }
  async #breathe(): Promise<void> {
    if (performance.now() - this.#busySinceMs < BUSY_MS) return;
    await breathe();
    this.#busySinceMs = performance.now();
  }
  #schedule(): void {
    clearTimeout(this.#timer);
    let dueMs = Infinity;
    for (const moving of this.#moving.values()) dueMs = Math.min(dueMs, moving.dueMs);
    if (dueMs === Infinity || this.#isClosed) return;
    const lookAgain = (): void => {
      const now = performance.now();
      void this.look([...this.#moving].filter(([, moving]) => moving.dueMs <= now).map(([path]) => path));
    };
    this.#timer = setTimeout(lookAgain, Math.max(dueMs - performance.now(), 0) + TOGETHER_MS).unref();
  }

  async #lookAt(path: string): Promise<void> {
    const stamp = stampOf(path);
    if (stamp === undefined) {
      this.#moving.delete(path);
      return this.#hooks.vanished(path);
    }
    this.#hooks.found(path);
    if (this.#hooks.believed(path)?.digest === stamp.text) return void this.#moving.delete(path);
    const moving = this.#track(path, stamp);
    const isResting = (ms: number): boolean => {
      moving.dueMs = moving.sinceMs + ms;
      return performance.now() >= moving.dueMs;
    };
    if (!isResting(this.#rest.quietMs)) return;
    const read = (moving.read ??= await this.#read(path, stamp));
    // It changed just now, as the next look will tell.
    if (read === undefined) return void (moving.dueMs += this.#rest.quietMs);
    if (!this.#looksFinished(path, stamp, read) && !isResting(this.#rest.unfinishedMs)) return;
    this.#moving.delete(path);
    for (const _ of this.#hooks.believe(path, { digest: stamp.text, stamp, content: read.content })) {
      await this.#breathe();
    }
  }
  #looksFinished(path: string, { size }: Stamp, { content, isWhole }: Read): boolean {
    const believed = this.#hooks.believed(path);
    if (!isWhole || content.problems.length > 0 || size < (believed?.stamp?.size ?? 0)) return false;
    if (believed === undefined) return true;
    const names = new Set(content.objects.map(keyOf));
    return believed.content.objects.every((object) => names.has(keyOf(object)));
  }
  async #read(path: string, stamp: Stamp): Promise<Read | undefined> {
    if (stamp.size > MAX_BYTES) return problem(`larger than ${MAX_BYTES} bytes`);
    const bytes = await readBytes(path, stamp);
    if (bytes === undefined)
      return stampOf(path)?.text === stamp.text ? problem('cannot be read') : undefined;
    if (!isUtf8(bytes)) return problem('not in UTF-8');
    const before = this.#pieces.get(path);
    const pieces = new Map<string, Piece>();
    const contents: FileContent[] = [];
    for (const written of splitObjects(bytes, (start, end) => bytes.toString('utf8', start, end))) {
      const known = before?.get(written.text);
      const content = known?.line === written.line ? known.content : readOperators(path, written);
      pieces.set(written.text, { line: written.line, content });
      contents.push(content);
      await this.#breathe();
    }
    this.#pieces.set(path, pieces);
    return { content: joinContents(contents), isWhole: endsWhole(bytes) };
  }
  #track(path: string, stamp: Stamp): Moving {
    const present = this.#moving.get(path);
    if (present?.stamp.text === stamp.text) return present;
    const now = performance.now();
    const moving =
      present === undefined
        ? { stamp, sinceMs: now - this.#restedMs(path, stamp), firstMs: now, isTold: false, dueMs: now }
        : { ...this.#complain(path, present), stamp, sinceMs: now, dueMs: now, read: undefined };
    this.#moving.set(path, moving);
    return moving;
  }
  /** A file that was not seen before, or took another's place, may have been at rest for long. */
  #restedMs(path: string, { inode, mtimeMs }: Stamp): number {
    if (this.#hooks.believed(path)?.stamp?.inode === inode) return 0;
    return Math.max(Date.now() - mtimeMs, 0);
  }
  #complain(path: string, moving: Moving): Moving {
    if (moving.isTold || performance.now() - moving.firstMs < RESTLESS_MS) return moving;
    this.#hooks.restless(path);
    return { ...moving, isTold: true };
  }
}

function problem(message: string): Read {
  return { content: { objects: [], problems: [{ line: 1, message }] }, isWhole: true };
}

/** Nothing is missing at its end as far as can be told: it ends with a line, or with the bracket that it began with. */
function endsWhole(bytes: Buffer): boolean {
  const [first, last] = [bytes.at(0), bytes.at(-1)];
  return last === 0x0a || (first === 0x7b && last === 0x7d);
}
