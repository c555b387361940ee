/**
 * What an operator's commands do with a store, the same on every store: list, apply, remove, export, import. Everything is
 * looked at before anything is written, so that bad input changes nothing and is told of whole.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { Fault, type Problem } from '#model/fault.ts';
import type { Manifest } from '#model/manifest.ts';
import type { StoreSettings } from '#model/settings.ts';
import type { ObjectStore, Outcome, StoreObject } from '#model/store-object.ts';
import { openDirectoryStore } from './directory.ts';
import { API_VERSION, manifestName, MAX_FILE_BYTES } from './object-file.ts';
import type { OpenStore } from './open.ts';
import { directoryShelf, type Shelf } from './shelf.ts';
import { STATE_KINDS, type StateKind, STORE_KINDS, type Stored, type StoreKind } from './store.ts';

/** Writes of state at the same time. */
const AT_ONCE = 16;

export async function openObjects(settings: StoreSettings): Promise<ObjectStore> {
  if (settings.type === 'directory')
    return new Objects(openDirectoryStore(settings.path), directoryShelf(settings.path));
  if (settings.type === 'kubernetes') {
    const [{ openKubernetesStore }, { kubernetesShelf }] = await Promise.all([
      import('./kubernetes/kubernetes.ts'),
      import('./kubernetes/shelf.ts'),
    ]);
    const store = openKubernetesStore({ settings: settings.kubernetes });
    return new Objects(store, kubernetesShelf(store));
  }
  const [{ openEtcdStore }, { etcdShelf }] = await Promise.all([
    import('./etcd/etcd.ts'),
    import('./etcd/shelf.ts'),
  ]);
  const store = openEtcdStore({ settings: settings.etcd });
  return new Objects(store, etcdShelf(store, settings.etcd.prefix));
}

type Entry = { readonly object: StoreObject; readonly stored: Stored };
type Wish = { readonly object: StoreObject; readonly present: Entry | undefined };
/** `isDue`: it is not there as it is wanted. */
type Change = Wish & { readonly isDue: boolean };

class Objects implements ObjectStore {
  readonly #store: OpenStore;
  readonly #shelf: Shelf;

  constructor(store: OpenStore, shelf: Shelf) {
    this.#store = store;
    this.#shelf = shelf;
  }
  close(): void {
    this.#store.close();
  }

  async list(isWanted: (kind: string) => boolean = () => true): Promise<StoreObject[]> {
    const kinds = STORE_KINDS.filter((kind) => kind === 'Manifest' || isWanted(kind));
    return Array.from(entriesOf(await this.#read(kinds)).values(), ({ object }) => object);
  }

  async apply(objects: readonly StoreObject[], isTrial = false): Promise<Outcome[]> {
    const entries = await this.#entries(objects.map(({ name }) => name));
    const { changes, problems } = await this.#compare(
      objects.map((object) => ({ object, present: entries.get(object.name) })),
    );
    const due = changes.filter(({ isDue }) => isDue);
    refuse([...problemsOf(objects), ...problems, ...due.flatMap((change) => this.#refusals(change))]);
    if (!isTrial) await this.#put(due);
    return changes.map((change) => ({ name: change.object.name, outcome: outcomeOf(change) }));
  }

  async remove(names: readonly string[], isTrial = false): Promise<Outcome[]> {
    const entries = await this.#entries(names);
    const there = names.flatMap((name) => entries.get(name) ?? []);
    refuse(there.flatMap((present) => this.#refusals({ object: present.object, present })));
    if (!isTrial) await this.#take(there);
    return names.map((name) => ({ name, outcome: entries.has(name) ? 'removed' : 'absent' }));
  }

  async exportTo(directory: string): Promise<Outcome[]> {
    if (existsSync(directory) && readdirSync(directory).length > 0)
      throw new Fault('request-invalid', `${directory} is not empty`);
    const all = [...(await this.#entries()).values()];
    const entries = all.filter(({ object }) => this.#shelf.isForeign?.(object.name) !== true);
    const target = openDirectoryStore(directory);
    try {
      const isOperators = ({ stored }: Entry): boolean => this.#shelf.holds(stored.origin);
      await directoryShelf(directory).put(entries.filter(isOperators).map(({ object }) => object));
      const state = entries.filter((entry) => !isOperators(entry));
      await inTurns(state, async ({ stored }) => {
        const { kind, name, value } = stored;
        const options = await leftOf(this.#store, stored);
        if (kind !== 'Manifest' && options !== undefined) await target.put(kind, name, value, options);
      });
      return entries.map(({ object }) => ({ name: object.name, outcome: 'created' }));
    } finally {
      target.close();
    }
  }

  async importFrom(directory: string): Promise<Outcome[]> {
    const isStore = ['manifests', 'state'].some((name) => existsSync(join(directory, name)));
    if (!isStore) throw new Fault('request-invalid', `${directory} has no manifests/ and no state/`);
    const source = openDirectoryStore(directory);
    try {
      const { found, problems } = await readAll(source);
      const moved = found.filter((stored) => this.#shelf.isForeign?.(nameOf(stored)) !== true);
      const entries = await this.#entries(moved.map(nameOf));
      const wishes = moved.map((stored) => ({
        object: objectOf(stored),
        stored,
        present: entries.get(nameOf(stored)),
      }));
      const compared = await this.#compare(wishes);
      refuse([...problems, ...compared.problems, ...compared.changes.flatMap((change) => clash(change))]);
      const due = wishes.filter(({ present }) => present === undefined);
      const shelf = directoryShelf(directory);
      const isOperators = ({ stored }: { readonly stored: Stored }): boolean => shelf.holds(stored.origin);
      await this.#put(due.filter(isOperators));
      await inTurns(
        due.filter((change) => !isOperators(change)),
        async ({ stored }) => {
          const { kind, name, value } = stored;
          const options = await leftOf(source, stored);
          if (kind !== 'Manifest' && options !== undefined)
            await this.#store.put(kind, name, value, { expect: 'absent', ...options });
        },
      );
      return compared.changes.map((change) => ({ name: change.object.name, outcome: outcomeOf(change) }));
    } finally {
      source.close();
    }
  }

  /** Of these names at least. */
  async #entries(names?: readonly string[]): Promise<Map<string, Entry>> {
    const stored =
      names === undefined || this.#shelf.find === undefined
        ? await this.#read(STORE_KINDS)
        : await this.#shelf.find(names);
    return entriesOf(stored);
  }
  async #read(kinds: readonly StoreKind[]): Promise<Stored[]> {
    return (await Promise.all(kinds.map((kind) => this.#store.list(kind)))).flat();
  }
  /** Our own kinds are the same in every store; of others, the store may know more than what is written. */
  async #compare(wishes: readonly Wish[]): Promise<{ changes: Change[]; problems: Problem[] }> {
    const asked = wishes.filter(({ object }) => problemOf(object) === undefined && !isOurs(object));
    const answers = (await this.#shelf.trial?.(asked.map(({ object }) => object))) ?? [];
    const problems: Problem[] = [];
    const changes = wishes.map((wish) => {
      const answer = answers[asked.indexOf(wish)];
      if (answer === undefined) return { ...wish, isDue: isDifferent(wish) };
      if ('isDue' in answer) return { ...wish, ...answer };
      problems.push({ path: wish.object.origin, message: `${wish.object.name}: ${answer.problem}` });
      return { ...wish, isDue: false };
    });
    return { changes, problems };
  }
  #refusals({ object, present }: Wish): Problem[] {
    const message = present === undefined ? undefined : this.#shelf.refusal(present.object);
    return message === undefined ? [] : [{ path: object.origin, message: `${object.name} ${message}` }];
  }
  /** Our own kinds stand where agents look for them; in a directory, operators' files come first. */
  async #put(changes: readonly Wish[]): Promise<void> {
    const objects = changes.map(({ object }) => object);
    const ours = this.#shelf.keepsState ? [] : objects.filter(isOurs);
    await this.#shelf.put(objects.filter((object) => !ours.includes(object)));
    await inTurns(ours, async ({ value }) => {
      const { kind, metadata, spec } = value as OurObject;
      await this.#store.put(kind, metadata.name, spec);
    });
  }
  async #take(entries: readonly Entry[]): Promise<void> {
    const [shelved, state] = [
      entries.filter(({ stored }) => this.#shelf.holds(stored.origin)),
      entries.filter(({ stored }) => !this.#shelf.holds(stored.origin)),
    ];
    await this.#shelf.remove(shelved.map(({ object }) => object));
    await inTurns(state, ({ stored }) => this.#store.remove(stored.kind, stored.name));
  }
}

type OurObject = {
  readonly kind: StateKind;
  readonly metadata: { readonly name: string };
  readonly spec: Readonly<Record<string, unknown>>;
};

function isOurs({ value }: StoreObject): boolean {
  return typeof value['apiVersion'] === 'string' && value['apiVersion'].startsWith('tartan.dev/');
}

function nameOf({ kind, name }: Stored): string {
  return kind === 'Manifest' ? name : `${API_VERSION}/${kind}/${name}`;
}

function objectOf(stored: Stored): StoreObject {
  const { kind, name, value, origin } = stored;
  if (kind === 'Manifest') return { name, value: (value as Manifest).value as StoreObject['value'], origin };
  const spec = value as OurObject['spec'];
  return { name: nameOf(stored), value: { apiVersion: API_VERSION, kind, metadata: { name }, spec }, origin };
}

function entriesOf(stored: readonly Stored[]): Map<string, Entry> {
  const entries = stored.map((each) => ({ object: objectOf(each), stored: each }));
  entries.sort((a, b) => (a.object.name < b.object.name ? -1 : 1));
  return new Map(entries.map((entry) => [entry.object.name, entry]));
}

function isDifferent({ object, present }: Wish): boolean {
  return present === undefined || !isDeepStrictEqual(present.object.value, object.value);
}

function outcomeOf(change: Change): Outcome['outcome'] {
  if (change.present === undefined) return 'created';
  return change.isDue ? 'changed' : 'unchanged';
}

function clash({ object, present, isDue }: Change): Problem[] {
  if (present === undefined || !isDue) return [];
  return [
    { path: object.origin, message: `${object.name} is another one in the store: ${present.object.origin}` },
  ];
}

function refuse(problems: readonly Problem[]): void {
  if (problems.length === 0) return;
  const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
  throw new Fault('request-invalid', `nothing is changed: ${count}`, { problems });
}

/** What a store cannot hold, whatever it means. */
function problemsOf(objects: readonly StoreObject[]): Problem[] {
  const first = new Map<string, string>();
  return objects.flatMap((object) => {
    const { name, value, origin } = object;
    const message =
      problemOf(object) ?? (first.has(name) ? `${name} is also in ${first.get(name)}` : undefined);
    first.set(manifestName(value) ?? name, origin);
    return message === undefined ? [] : [{ path: origin, message }];
  });
}

function problemOf(object: StoreObject): string | undefined {
  const { name, value } = object;
  if (manifestName(value) !== name)
    return 'needs apiVersion (GROUP/VERSION), kind, metadata.name and perhaps metadata.namespace';
  if (JSON.stringify(value).length > MAX_FILE_BYTES) return `${name} is larger than ${MAX_FILE_BYTES} bytes`;
  if (!isOurs(object)) return undefined;
  if (value['apiVersion'] !== API_VERSION) return `this program reads ${API_VERSION}`;
  if (!STATE_KINDS.some((kind) => kind === value['kind']))
    return `unknown kind ${JSON.stringify(value['kind'])}: known are ${STATE_KINDS.join(', ')}`;
  return typeof value['spec'] === 'object' && value['spec'] !== null
    ? undefined
    : `${name}: spec is not an object`;
}

/** Everything that a directory holds, and all that is wrong with it. */
async function readAll(store: OpenStore): Promise<{ found: Stored[]; problems: Problem[] }> {
  const found: Stored[] = [];
  const problems: Problem[] = [];
  for (const kind of STORE_KINDS) {
    for await (const event of store.watch(kind, new AbortController().signal)) {
      if (event.type === 'put') found.push(event.object);
      if (event.type === 'malformed')
        problems.push({ path: `${event.origin}:${event.line ?? 1}`, message: event.message });
      if (event.type === 'synced' || event.type === 'gap') break;
    }
  }
  const distinct = new Map(problems.map((problem) => [JSON.stringify(problem), problem]));
  return { found, problems: [...distinct.values()] };
}

/** What of its time is left to an object that expires; undefined: it has just gone. */
async function leftOf(
  store: OpenStore,
  stored: Stored,
): Promise<{ readonly ttlSeconds?: number } | undefined> {
  if (stored.expiresAtMs === undefined) return {};
  const { expiresAtMs } = (await store.get(stored.kind, stored.name)) ?? {};
  return expiresAtMs === undefined
    ? undefined
    : { ttlSeconds: Math.max(1, (expiresAtMs - Date.now()) / 1000) };
}

async function inTurns<T>(items: readonly T[], action: (item: T) => Promise<void>): Promise<void> {
  for (let at = 0; at < items.length; at += AT_ONCE)
    await Promise.all(items.slice(at, at + AT_ONCE).map((item) => action(item)));
}
