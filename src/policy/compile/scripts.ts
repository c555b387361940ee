/** The scripts of all addresses of a node's pods. Pods that the same policies select in the same way share one. */
import { type Direction, DIRECTIONS, type RuleBook } from '#model/policy.ts';
import type { NetworkSet, Pod, PolicyWorld } from '#model/workload.ts';
import { type Address, addressFamily, FAMILIES, type Family } from '#net/address.ts';
import { type Script, type Selected, writeScript } from './lines.ts';
import { type Ids, nameTiers } from './ids.ts';
import type { PolicedBy, PoliciesOf } from './selection.ts';

export type ScriptOf = {
  /** `egress4 10.0.0.1`, or an interface of the host; absent: a place, which others lead to. */
  readonly owner?: string;
  /** The same for as long as policies of the same names apply: what they say may change. */
  readonly key: string;
  /** All that the script is made of. */
  readonly content: string;
  readonly script: Script;
};

/** `content`: all that a script is made of; `key`: what tells one subject from another. */
type About = {
  readonly direction: Direction;
  readonly tiers: readonly Selected[];
  readonly content: string;
  readonly key: string;
};

export class Scripts {
  #policies: PolicedBy | undefined;
  #profiles: RuleBook['profiles'] | undefined;
  #before: PolicedBy | undefined;
  #byPod = new Map<Pod, readonly ScriptOf[]>();
  /** Profiles are the same as before. */
  #keeps = false;
  #world: PolicyWorld | undefined;
  #written: readonly ScriptOf[] = [];
  /** By all that a script is made of. */
  #known = new Map<string, Script>();
  /** Some script depends on where its own address is listed, so on the world. */
  #looksAtWorld = false;
  readonly #ids: Ids;

  constructor(ids: Ids) {
    this.#ids = ids;
  }

  /** The same value when nothing has changed. */
  update(book: RuleBook, world: PolicyWorld, policies: PolicedBy): readonly ScriptOf[] {
    const isSame = policies === this.#policies && book.profiles === this.#profiles;
    if (isSame && (world === this.#world || !this.#looksAtWorld)) return this.#written;
    this.#before = this.#policies;
    this.#keeps = book.profiles === this.#profiles;
    this.#policies = policies;
    this.#profiles = book.profiles;
    this.#world = world;
    this.#written = this.#write(book, world, policies);
    return this.#written;
  }

  #write(book: RuleBook, world: PolicyWorld, policies: PolicedBy): ScriptOf[] {
    const before = this.#known;
    this.#known = new Map();
    this.#looksAtWorld = false;
    const networks = world.endpoints.filter((each): each is NetworkSet => each.kind === 'network-set');
    const write = (pod: Pod, address: Address, about: About): ScriptOf[] => {
      const { direction, tiers, content, key } = about;
      const script =
        this.#known.get(content) ??
        before.get(content) ??
        writeScript(book, world, { pod, address, networks }, { direction, tiers });
      if (script === undefined) return [];
      const owner = `${direction}${addressFamily(address)} ${address}`;
      if (!script.looksAtWorld) {
        this.#known.set(content, script);
        return [{ owner, key, content, script }];
      }
      this.#looksAtWorld = true;
      return [{ owner, key: `${key} ${address}`, content, script }];
    };
    const found = new Map<Pod, readonly ScriptOf[]>();
    for (const [pod, selected] of policies) {
      if (pod.kind !== 'pod') continue;
      const known = this.#reusable(pod, selected);
      for (const { content, script } of known ?? []) this.#known.set(content, script);
      found.set(pod, known ?? this.#writePod(book, [pod, selected], write));
    }
    this.#byPod = found;
    return [...found.values()].flat();
  }

  /** What was written of a pod whose policies are the same as before. */
  #reusable(pod: Pod, selected: PoliciesOf): readonly ScriptOf[] | undefined {
    if (!this.#keeps || this.#before?.get(pod) !== selected) return undefined;
    const written = this.#byPod.get(pod);
    return written?.some(({ script }) => script.looksAtWorld) === true ? undefined : written;
  }

  #writePod(
    book: RuleBook,
    [pod, selected]: readonly [Pod, PoliciesOf],
    write: (pod: Pod, address: Address, about: About) => ScriptOf[],
  ): ScriptOf[] {
    return DIRECTIONS.flatMap((direction) =>
      this.#about(book, pod, [direction, selected[direction]]).flatMap(([family, about]) =>
        pod.addresses
          .filter((address) => addressFamily(address) === family)
          .flatMap((address) => write(pod, address, about)),
      ),
    );
  }

  /** By family; nothing where nothing applies. */
  #about(
    book: RuleBook,
    pod: Pod,
    [direction, tiers]: readonly [Direction, readonly Selected[]],
  ): [Family, About][] {
    if (tiers.length === 0 && pod.profiles === undefined) return [];
    const { content, key } = this.#name(book, pod, tiers);
    const ports = JSON.stringify(pod.ports);
    return FAMILIES.map((family) => {
      const text = (names: string): string => `${direction}${family} ${names} ${ports}`;
      return [family, { direction, tiers, content: text(content), key: text(key) }];
    });
  }

  #name(book: RuleBook, pod: Pod, tiers: readonly Selected[]): { key: string; content: string } {
    const { profiles } = pod;
    const suffix = profiles === undefined ? '' : `profiles ${this.#ids.ofProfiles(book, profiles)}`;
    return {
      content: `${this.#ids.ofTiers(tiers)} ${suffix}`,
      key: `${nameTiers(tiers)} ${profiles?.join() ?? '-'}`,
    };
  }
}
