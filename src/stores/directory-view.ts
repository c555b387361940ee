import { type FSWatcher, mkdirSync, watch as watchFile } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { setImmediate as breathe } from 'node:timers/promises';
import type { Clock } from '#lib/clock.ts';
import { SharedRun } from '#lib/shared-run.ts';
import { inode, isDirectory, list, listDirectories, readText } from './files.ts';
import { type Believed, ManifestFiles, type ManifestHooks, type Rest } from './manifest-files.ts';
import {
  type FileContent,
  type FileObject,
  type FileProblem,
  MAX_FILE_BYTES,
  mergeObjects,
  parseState,
  repetition,
  shareValues,
  versionOf,
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
export type ViewOptions = {
  readonly clock: Clock;
  readonly rescanMs: number;
  readonly rest: Rest;
  /** What an operator's file held when it was last in order: asked of one that is not, and was not read before. */
  readonly lastGood: (path: string) => readonly FileObject[];
};

type Listener = (kind: StoreKind | undefined, event: StoreEvent) => void;

/** Removals are looked at together when none has come for so long. */
const SETTLE_MS = 50;
/** Editors write in several steps. */
const DEBOUNCE_MS = 30;
const GAP_RESCAN_MS = 500;
/** Files read between two turns of the event loop. */
const BATCH = 100;
const STATE_FILE = /^[^.].*\.ya?ml$/;
const MANIFEST_FILE = /^[^.].*\.(?:ya?ml|json)$/;

export class DirectoryView {
  readonly root: string;
  readonly index: ObjectIndex;
  /** Joined once: both are asked about every file. */
  readonly #manifests: string;
  readonly #kinds: ReadonlyMap<string, StateKind>;
  readonly #options: ViewOptions;
  readonly #emit: Listener;
  /** Of state, the digest is of the text, which is not kept: it would be half of what an agent with thousands of peers remembers. */
  readonly #known = new Map<string, Believed>();
  readonly #files: ManifestFiles;
  readonly #vanished = new Set<string>();
  /** Groups (directories of which files vanished all at once), by path. */
  readonly gaps = new Map<string, string>();
  readonly #watchers = new Map<string, { watcher: FSWatcher; inode: number }>();
  readonly #timers = new Map<string, NodeJS.Timeout>();
  readonly #scans = new SharedRun<never>(() => this.#scan());
  /** The first scan since it is followed. */
  #followed: Promise<void> | undefined;
  #isComplete = false;
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
    this.#files = new ManifestFiles(this.#hooks(), options.rest);
    for (const directory of this.#kinds.keys()) mkdirSync(directory, { recursive: true });
  }

  #hooks(): ManifestHooks {
    const message = 'is written all the time; it is read when it rests';
    return {
      found: (path) => this.#found(path),
      vanished: (path) => this.#vanish(path),
      believe: (path, believed) => this.#believe(path, believed),
      believed: (path) => this.#known.get(path),
      restless: (path) => this.#tell(path, { line: 1, message }),
    };
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
    const isGone = (path: string): boolean => this.#vanished.has(path) && !this.isManifest(path);
    return this.index.list(kind).filter(({ origin }) => this.isGap(kind) || !isGone(origin));
  }
  isManifest(path: string): boolean {
    return path.startsWith(`${this.#manifests}/`);
  }
  /** All that is wrong at present that readers of the kind should know. */
  problems(kind: StoreKind): StoreEvent[] {
    const found = [...this.#known].flatMap(([path, { content }]) =>
      content.problems
        .filter((problem) => [undefined, kind].includes(this.#aboutOf(path, problem)))
        .map((problem) => toEvent(path, problem)),
    );
    const repeated = this.index.list(kind).flatMap((object) => this.#repetitions(object));
    return [...found, ...repeated.map(([path, problem]) => toEvent(path, problem))];
  }

  /** Starts inotify and the slow rescan; without it the view changes by `scan` and `load` only. */
  follow(): void {
    if (this.#followed === undefined) {
      this.#followed = this.scan();
      void this.#followed.then(() => this.#scheduleRescan());
    }
  }
  close(): void {
    this.#closed = true;
    this.#files.close();
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
      if (this.isManifest(path)) continue;
      this.load(path);
      if ((count += 1) % BATCH === 0) await breathe();
    }
    const missing = [...this.#known.keys()].filter((path) => !files.has(path));
    for (const path of missing) if (!this.isManifest(path)) this.load(path);
    await this.#scanManifests([...files, ...missing].filter((path) => this.isManifest(path)));
    this.#endGaps();
  }
  async #scanManifests(files: readonly string[]): Promise<void> {
    await this.#files.look(files);
    // Whoever looks for the first time shall not see half of it.
    if (!this.#isComplete) await this.#files.settled();
    this.#isComplete = true;
  }
  /** Resolves when the operator's files are known: at once where they are watched. */
  async knowManifests(): Promise<void> {
    if (this.#followed !== undefined) return this.#followed;
    const files = listDirectories(this.#manifests).flatMap((directory) => this.#filesIn(directory));
    const known = [...this.#known.keys()].filter((path) => this.isManifest(path));
    await this.#scanManifests([...new Set([...files, ...known])]);
  }

  #directories(): string[] {
    const fixed = [this.root, join(this.root, 'state'), ...this.#kinds.keys()];
    return [...fixed.filter((path) => inode(path) !== undefined), ...listDirectories(this.#manifests)];
  }
  #filesIn(directory: string): string[] {
    if (this.#groupOf(join(directory, 'x')) === undefined) return [];
    const pattern = this.#kinds.has(directory) ? STATE_FILE : MANIFEST_FILE;
    return list(directory)
      .filter((name) => pattern.test(name))
      .map((name) => `${directory}/${name}`);
  }
  /** The directory whose sudden emptiness makes the loss of this file doubtful. */
  #groupOf(path: string): string | undefined {
    if (this.isManifest(path)) return this.#manifests;
    const directory = dirname(path);
    return dirname(directory) === join(this.root, 'state') ? directory : undefined;
  }
  #watch(directory: string): void {
    const present = this.#watchers.get(directory);
    const number = inode(directory);
    if (this.#closed || number === undefined || present?.inode === number) return;
    present?.watcher.close();
    const watcher = watchFile(directory, { persistent: false }, (_, name) => this.#onEvent(directory, name));
    watcher.on('error', () => this.#scanSoon());
    this.#watchers.set(directory, { watcher, inode: number });
  }

  #onEvent(directory: string, name: string | null): void {
    const path = join(directory, name ?? '');
    // What happens to a directory itself is told by its own name.
    const isItself = name === null || name === basename(directory);
    if (isItself) this.#scanSoon();
    else if (this.#kinds.has(directory)) this.#onStateEvent(path, name);
    else if (MANIFEST_FILE.test(name) && this.isManifest(path) && !isDirectory(path))
      void this.#files.look([path]);
    else this.#scanSoon();
  }
  #onStateEvent(path: string, name: string): void {
    if (/^[^.].*\.yaml$/.test(name)) this.load(path);
  }
  #scanSoon(): void {
    this.#after('scan', DEBOUNCE_MS, () => void this.scan());
  }

  /** Reads one file of state again. What cannot be read any more stays as it was, and is reported. */
  load(path: string): FileContent | undefined {
    const text = readText(path, MAX_FILE_BYTES);
    const known = this.#known.get(path);
    if (text === undefined) {
      this.#vanish(path);
      return undefined;
    }
    this.#found(path);
    const digest = versionOf(text);
    if (known?.digest === digest) return known.content;
    const read = parseState(text, this.#kindOf(path), { fileName: basename(path), digest });
    const content = shareValues(known?.content.objects, read);
    const steps = this.#believe(path, { digest, content });
    while (steps.next().done !== true);
    return content;
  }
  #found(path: string): void {
    if (this.#vanished.delete(path)) this.#endGaps();
  }
  /** In steps, between which there may be other work. */
  *#believe(path: string, believed: Believed): Generator<void> {
    const { objects, problems } = believed.content;
    const before = this.#before(path, believed.content);
    this.#known.set(path, believed);
    yield* this.index.replace(path, problems.length === 0 ? objects : mergeObjects(before, objects));
    for (const problem of problems) this.#tell(path, problem);
    const added = this.isManifest(path) ? new Set(objects).difference(new Set(before)) : [];
    for (const object of added) {
      for (const [other, problem] of this.#repetitions(object)) this.#tell(other, problem);
      yield;
    }
    this.#endGaps();
  }
  /** What the file held until now; of one that is not in order and was not read before, what is remembered of it. */
  #before(path: string, { problems }: FileContent): readonly FileObject[] {
    const isNew = !this.#known.has(path) && this.isManifest(path);
    return isNew && problems.length > 0 ? this.#options.lastGood(path) : this.index.objectsOf(path);
  }
  #tell(path: string, problem: FileProblem): void {
    this.#emit(this.#aboutOf(path, problem), toEvent(path, problem));
  }
  #aboutOf(path: string, { kind }: FileProblem): StoreKind | undefined {
    return kind ?? this.#kindOf(path);
  }
  /** Where the operator has the object once more. */
  #repetitions({ kind, name }: Pick<FileObject, 'kind' | 'name'>): (readonly [string, FileProblem])[] {
    const [first, ...others] = this.index
      .holdersOf(kind, name)
      .filter(([path]) => this.isManifest(path) && !this.#vanished.has(path));
    if (first === undefined) return [];
    return others.map(([path, object]) => [path, repetition(object, `in ${first[0]}:${first[1].line}`)]);
  }
  #kindOf(path: string): StateKind | undefined {
    return this.#kinds.get(path.slice(0, path.lastIndexOf('/')));
  }

  /** The object was removed on purpose: nothing to doubt. */
  forget(path: string): void {
    this.#known.delete(path);
    this.#vanished.delete(path);
    this.#files.forget(path);
    this.index.set(path, []);
  }
  #vanish(path: string): void {
    if (!this.#known.has(path) || this.#vanished.has(path)) return;
    this.#vanished.add(path);
    const group = this.#groupOf(path) ?? '';
    // Some editors remove a file and write it anew.
    const ms = group === this.#manifests ? this.#options.rest.unfinishedMs : SETTLE_MS;
    this.#after(`settle ${group}`, ms, () => this.#settle(group));
  }
  #settle(group: string): void {
    const members = this.#membersOf(group);
    const gone = members.filter((path) => this.#vanished.has(path));
    const isAll = members.length > 1 && gone.length === members.length;
    if (gone.length > 0 && (isAll || inode(group) === undefined)) this.#beginGap(group);
    if (!this.gaps.has(group)) for (const path of gone) this.forget(path);
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
    for (const group of this.gaps.keys())
      this.#after(`end ${group}`, SETTLE_MS, () => void this.#endGap(group));
  }
  #membersOf(group: string): string[] {
    return [...this.#known.keys()].filter((path) => this.#groupOf(path) === group);
  }
  async #endGap(group: string): Promise<void> {
    for (const directory of this.#directories()) this.#watch(directory);
    if (group === this.#manifests) await this.#files.look(this.#membersOf(group));
    else for (const path of this.#membersOf(group)) this.load(path);
    if (!this.gaps.has(group)) return;
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

function toEvent(origin: string, { line, message }: FileProblem): StoreEvent {
  return { type: 'malformed', origin, line, message };
}
