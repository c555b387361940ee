import { hash } from 'node:crypto';
import {
  closeSync,
  constants,
  fstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  readSync,
  statSync,
} from 'node:fs';
import { watch as watchFile, type FSWatcher } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setImmediate as breathe } from 'node:timers/promises';
import type { Clock } from '#lib/clock.ts';
import { SharedRun } from '#lib/shared-run.ts';
import {
  type FileContent,
  type FileObject,
  MAX_FILE_BYTES,
  parseObjects,
  parseOperators,
} from './object-file.ts';
import { ObjectIndex } from './object-index.ts';
import {
  STATE_KINDS,
  type StateKind,
  STORE_KINDS,
  type StoreEvent,
  type Stored,
  type StoreKind,
} from './store.ts';

/**
 * The files of a directory store as this process last saw them, kept up to date by inotify and a slow rescan. A file
 * that vanishes is believed after a moment, and not at all when everything beside it vanished too (a mount that went
 * away, a directory that was moved): that is a gap, which ends when there are files again.
 */
export type ViewOptions = { readonly clock: Clock; readonly rescanMs: number };

/** `digest`: of the text, which is not kept: it would be half of what an agent with thousands of peers remembers. */
type Known = { readonly digest: string; readonly content: FileContent };
type Listener = (kind: StoreKind | undefined, event: StoreEvent) => void;

/** Removals are looked at together when none has come for so long. */
const SETTLE_MS = 50;
/** Editors write in several steps. */
const DEBOUNCE_MS = 30;
const GAP_RESCAN_MS = 500;
/** Files read between two turns of the event loop. */
const BATCH = 100;

export class DirectoryView {
  readonly root: string;
  readonly index: ObjectIndex;
  /** Joined once: both are asked about every file. */
  readonly #manifests: string;
  readonly #kinds: ReadonlyMap<string, StateKind>;
  readonly #options: ViewOptions;
  readonly #emit: Listener;
  readonly #known = new Map<string, Known>();
  readonly #vanished = new Set<string>();
  /** Groups (directories of which files vanished all at once), by path. */
  readonly gaps = new Map<string, string>();
  readonly #watchers = new Map<string, { watcher: FSWatcher; inode: number }>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #scans = new SharedRun<never>(() => this.#scan());
  #closed = false;

  constructor(root: string, options: ViewOptions, emit: Listener) {
    this.root = root;
    this.#manifests = join(root, 'manifests');
    this.#kinds = new Map(STATE_KINDS.map((kind) => [join(root, 'state', kind), kind]));
    this.#options = options;
    this.#emit = emit;
    this.index = new ObjectIndex(options.clock, (kind, event) => {
      if (!this.isGap(kind)) emit(kind, event);
    });
    for (const directory of this.#kinds.keys()) mkdirSync(directory, { recursive: true });
  }

  statePath(kind: StateKind, name: string): string {
    return join(this.root, 'state', kind, `${name}.yaml`);
  }
  isGap(kind: StoreKind): boolean {
    if (this.gaps.size === 0) return false;
    return this.gaps.has(join(this.root, 'state', kind)) || this.gaps.has(this.#manifests);
  }
  /** Without what vanished a moment ago, unless that is doubtful. */
  list(kind: StoreKind): Stored[] {
    return this.index.list(kind).filter(({ origin }) => this.isGap(kind) || !this.#vanished.has(origin));
  }
  problems(): StoreEvent[] {
    return [...this.#known].flatMap(([path, { content }]) => malformed(path, content));
  }

  /** Starts inotify and the slow rescan; without it the view changes by `scan` and `load` only. */
  follow(): void {
    if (!this.#timers.has('rescan')) void this.scan().then(() => this.#scheduleRescan());
  }
  close(): void {
    this.#closed = true;
    for (const timer of this.#timers.values()) clearTimeout(timer);
    for (const { watcher } of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
    this.index.close();
  }
  #scheduleRescan(): void {
    const rescanMs = this.gaps.size > 0 ? GAP_RESCAN_MS : this.#options.rescanMs;
    this.#after('rescan', rescanMs, () => void this.scan().then(() => this.#scheduleRescan()));
  }
  #after(what: string, ms: number, action: () => void): void {
    clearTimeout(this.#timers.get(what));
    if (!this.#closed) this.#timers.set(what, setTimeout(action, ms).unref());
  }

  /**
   * Looks at every file, from a moment after the call on, so that the caller's writes are seen. One scan serves all who
   * asked before it began.
   */
  scan(): Promise<void> {
    return this.#scans.ask([]);
  }
  async #scan(): Promise<void> {
    const directories = this.#directories();
    for (const directory of directories) this.#watch(directory);
    const files = new Set(directories.flatMap((directory) => this.#filesIn(directory)));
    let count = 0;
    for (const path of files) {
      this.load(path);
      if ((count += 1) % BATCH === 0) await breathe();
    }
    for (const path of this.#known.keys()) if (!files.has(path)) this.load(path);
    this.#endGaps();
  }
  /** Only the operator's files: few, and asked before every write. */
  scanManifests(): void {
    const files = new Set(listDirectories(this.#manifests).flatMap((directory) => this.#filesIn(directory)));
    const known = [...this.#known.keys()].filter((path) => path.startsWith(`${this.#manifests}/`));
    for (const path of [...files, ...known]) this.load(path);
  }

  #directories(): string[] {
    const fixed = [this.root, join(this.root, 'state'), ...this.#kinds.keys()];
    return [...fixed.filter((path) => inode(path) !== undefined), ...listDirectories(this.#manifests)];
  }
  #filesIn(directory: string): string[] {
    if (this.#groupOf(join(directory, 'x')) === undefined) return [];
    return list(directory)
      .filter((name) => /^[^.].*\.ya?ml$/.test(name))
      .map((name) => join(directory, name));
  }
  /** The directory whose sudden emptiness makes the loss of this file doubtful. */
  #groupOf(path: string): string | undefined {
    const directory = dirname(path);
    const manifests = this.#manifests;
    if (directory === manifests || directory.startsWith(`${manifests}/`)) return manifests;
    return dirname(directory) === join(this.root, 'state') ? directory : undefined;
  }
  #watch(directory: string): void {
    const present = this.#watchers.get(directory);
    const number = inode(directory);
    if (this.#closed || number === undefined || present?.inode === number) return;
    present?.watcher.close();
    const isState = dirname(directory) === join(this.root, 'state');
    const watcher = watchFile(directory, { persistent: false }, (_, name) => {
      const isFile = isState && name !== null && name !== basename(directory);
      if (!isFile) this.#after('scan', DEBOUNCE_MS, () => void this.scan());
      else if (/^[^.].*\.yaml$/.test(name)) this.load(join(directory, name));
    });
    watcher.on('error', () => this.#after('scan', DEBOUNCE_MS, () => void this.scan()));
    this.#watchers.set(directory, { watcher, inode: number });
  }

  /** Reads one file again. What cannot be read any more stays as it was, and is reported. */
  load(path: string): FileContent | undefined {
    const text = readText(path);
    const known = this.#known.get(path);
    if (text === undefined) {
      if (known !== undefined) this.#noteVanished(path);
      return undefined;
    }
    this.#vanished.delete(path);
    const digest = hash('sha1', text, 'base64');
    if (known?.digest === digest) return known.content;
    const content = this.#check(path, text);
    this.#known.set(path, { digest, content });
    const before = this.index.objectsOf(path);
    this.index.set(path, content.problems.length === 0 ? content.objects : merge(before, content.objects));
    for (const event of malformed(path, content)) this.#emit(this.#kindOf(path), event);
    this.#endGaps();
    return content;
  }
  #check(path: string, text: string): FileContent {
    if (text.length > MAX_FILE_BYTES) {
      return { objects: [], problems: [{ line: 1, message: `larger than ${MAX_FILE_BYTES} bytes` }] };
    }
    const kind = this.#kindOf(path);
    const content = kind === undefined ? parseOperators(path, text) : parseObjects(text);
    const isMisplaced = ({ kind: own, name }: FileObject): boolean =>
      kind !== undefined && (own !== kind || `${name}.yaml` !== basename(path));
    if (!content.objects.some(isMisplaced)) return content;
    const message = `kind and metadata.name are not those of ${kind}/${basename(path)}`;
    return { objects: [], problems: [...content.problems, { line: 1, message }] };
  }
  #kindOf(path: string): StateKind | undefined {
    return this.#kinds.get(dirname(path));
  }

  /** The object was removed on purpose: nothing to doubt. */
  forget(path: string): void {
    this.#known.delete(path);
    this.#vanished.delete(path);
    this.index.set(path, []);
  }
  #noteVanished(path: string): void {
    if (this.#vanished.has(path)) return;
    this.#vanished.add(path);
    this.#after('settle', SETTLE_MS, () => this.#settle());
  }
  #settle(): void {
    const groups = new Set(Array.from(this.#vanished, (path) => this.#groupOf(path) ?? ''));
    const doubtful = [...groups].filter((group) => {
      const members = this.#membersOf(group);
      const isAll = members.every((path) => this.#vanished.has(path));
      return inode(group) === undefined || (isAll && members.length > 1);
    });
    for (const group of doubtful) this.#beginGap(group);
    for (const path of this.#vanished) if (!this.gaps.has(this.#groupOf(path) ?? '')) this.forget(path);
  }
  #beginGap(group: string): void {
    if (this.gaps.has(group)) return;
    const reason = `${group} is suddenly ${inode(group) === undefined ? 'gone' : 'empty'}`;
    this.gaps.set(group, reason);
    for (const kind of STORE_KINDS.filter((kind) => this.isGap(kind)))
      this.#emit(kind, { type: 'gap', reason });
    this.#scheduleRescan();
  }
  /** A gap ends when its group has files again; only then is what is still missing believed to be removed. */
  #endGaps(): void {
    for (const group of this.gaps.keys()) this.#after(`end ${group}`, SETTLE_MS, () => this.#endGap(group));
  }
  #membersOf(group: string): string[] {
    return [...this.#known.keys()].filter((path) => this.#groupOf(path) === group);
  }
  #endGap(group: string): void {
    for (const directory of this.#directories()) this.#watch(directory);
    for (const path of this.#membersOf(group)) this.load(path);
    clearTimeout(this.#timers.get(`end ${group}`));
    if (this.#membersOf(group).every((path) => this.#vanished.has(path))) return;
    const before = STORE_KINDS.filter((kind) => this.isGap(kind));
    for (const path of this.#vanished) if (this.#groupOf(path) === group) this.forget(path);
    this.gaps.delete(group);
    for (const kind of before.filter((kind) => !this.isGap(kind))) {
      for (const object of this.index.list(kind)) this.#emit(kind, { type: 'put', object });
      this.#emit(kind, { type: 'synced' });
    }
  }
}

function malformed(path: string, { problems }: FileContent): StoreEvent[] {
  return problems.map(({ line, message }) => ({ type: 'malformed', origin: path, line, message }));
}

function merge(before: readonly FileObject[], now: readonly FileObject[]): FileObject[] {
  const isNew = ({ kind, name }: FileObject): boolean => now.some((o) => o.kind === kind && o.name === name);
  return [...now, ...before.filter((object) => !isNew(object))];
}

function inode(path: string): number | undefined {
  try {
    return statSync(path, { throwIfNoEntry: false })?.ino;
  } catch {
    return undefined;
  }
}

function list(directory: string): string[] {
  try {
    return readdirSync(directory).sort();
  } catch {
    return [];
  }
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory();
  } catch {
    return false;
  }
}

function listDirectories(root: string): string[] {
  if (!isDirectory(root)) return [];
  const inner = list(root).filter((name) => !name.startsWith('.'));
  return [root, ...inner.flatMap((name) => listDirectories(join(root, name)))];
}

/** Undefined when there is no such regular file; at most one byte more than allowed is kept of a large one. */
function readText(path: string): string | undefined {
  let fd: number | undefined;
  try {
    // Looked up once: at start there may be ten thousand files. Without waiting, as a fifo has no end.
    fd = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const stat = fstatSync(fd);
    if (!stat.isFile()) return undefined;
    return stat.size > MAX_FILE_BYTES ? ' '.repeat(MAX_FILE_BYTES + 1) : readAll(fd, stat.size);
  } catch {
    return undefined;
  } finally {
    if (fd !== undefined) closeSync(fd);
  }
}

/** What is written to the file meanwhile is told by another event. */
function readAll(fd: number, size: number): string {
  const text = Buffer.allocUnsafe(size);
  let done = 0;
  for (let read = -1; read !== 0 && done < size; done += read)
    read = readSync(fd, text, done, size - done, null);
  return text.toString('utf8', 0, done);
}
