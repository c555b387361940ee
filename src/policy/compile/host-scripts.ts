/** The scripts of a node's host endpoints, by gate and family. Interfaces where the same is asked share one. */
import type { RuleBook } from '#model/policy.ts';
import { type Gate, gateMap, type Hook } from '#model/policy-program.ts';
import type { HostEndpoint, PolicyWorld } from '#model/workload.ts';
import { FAMILIES, type Family } from '#net/address.ts';
import { GATES, type GateSketch, type OpenScript, writeOpenScript } from './host-lines.ts';
import { type Ids, nameTiers } from './ids.ts';
import type { Selected } from './lines.ts';
import type { PolicedBy, PoliciesOf } from './selection.ts';

export type HostScript = {
  /** `local-ingress4 eth0` */
  readonly owner: string;
  /** As ScriptOf has them. */
  readonly key: string;
  readonly content: string;
  readonly script: OpenScript;
};

type Host = readonly [HostEndpoint, PoliciesOf];
type Now = { readonly book: RuleBook; readonly world: PolicyWorld };

export class HostScripts {
  readonly #ids: Ids;
  #content = '';
  #written: readonly HostScript[] = [];
  #known = new Map<string, OpenScript>();

  constructor(ids: Ids) {
    this.#ids = ids;
  }

  /** The same value when nothing has changed. */
  update(book: RuleBook, world: PolicyWorld, policies: PolicedBy): readonly HostScript[] {
    const hosts = [...policies].flatMap(([endpoint, selected]): Host[] =>
      endpoint.kind === 'host' ? [[endpoint, selected]] : [],
    );
    const content = this.#nameAll({ book, world }, hosts);
    if (content === this.#content) return this.#written;
    this.#content = content;
    const before = this.#known;
    this.#known = new Map();
    this.#written = GATES.flatMap((sketch) => this.#writeGate({ book, world }, hosts, sketch, before));
    return this.#written;
  }

  #nameAll({ book, world }: Now, hosts: readonly Host[]): string {
    const names = hosts.map(([endpoint, selected]) =>
      [endpoint.interface, this.#ids.of(selected), this.#ids.ofProfiles(book, endpoint.profiles)].join(' '),
    );
    return names.length === 0 ? '' : [this.#nameFailsafe(world), ...names].join('\n');
  }

  #nameFailsafe({ failsafe }: PolicyWorld): string {
    return `failsafe ${this.#ids.of(failsafe.ingress)} ${this.#ids.of(failsafe.egress)}`;
  }

  /** A gate is open where anything is asked there. Then endpoints of which nothing is stand beside the node's `*`. */
  // eslint-disable-next-line max-params
  #writeGate(
    now: Now,
    hosts: readonly Host[],
    sketch: GateSketch,
    before: ReadonlyMap<string, OpenScript>,
  ): HostScript[] {
    const asked = hosts
      .filter(([endpoint]) => sketch.named !== true || endpoint.interface !== '*')
      .map(([endpoint, selected]) => ({ endpoint, tiers: tiersOf(sketch, selected) }));
    if (sketch.closed !== true && asked.every(({ tiers }) => tiers.length === 0)) return [];
    return asked.flatMap(({ endpoint, tiers }) =>
      FAMILIES.map((family): HostScript => {
        const { key, content } = this.#name(now, sketch, family, { endpoint, tiers });
        const script =
          this.#known.get(content) ??
          before.get(content) ??
          writeOpenScript(now.book, now.world, { sketch, family, endpoint, tiers });
        this.#known.set(content, script);
        return { owner: `${gateMap(sketch.gate, family)} ${endpoint.interface}`, key, content, script };
      }),
    );
  }

  // eslint-disable-next-line max-params
  #name(
    { book, world }: Now,
    { gate, closed }: GateSketch,
    family: Family,
    { endpoint, tiers }: { readonly endpoint: HostEndpoint; readonly tiers: readonly Selected[] },
  ): { readonly key: string; readonly content: string } {
    const profiles = closed === true ? endpoint.profiles : [];
    const map = gateMap(gate, family);
    const made = `${this.#ids.ofTiers(tiers)} ${this.#ids.ofProfiles(book, profiles)}`;
    return {
      key: `${map} ${nameTiers(tiers)} ${profiles.join()}`,
      content: `${map} ${made} ${this.#nameFailsafe(world)}`,
    };
  }
}

function tiersOf({ scopes, direction }: GateSketch, selected: PoliciesOf): Selected[] {
  return selected[direction].flatMap(({ tier, policies }) => {
    const asked = policies.filter((policy) => scopes.includes(policy.host));
    return asked.length === 0 ? [] : [{ tier, policies: asked }];
  });
}

const EARLY: readonly Gate[] = ['untracked-ingress', 'untracked-egress', 'pre-dnat-ingress'];

/** What has to be hooked in for these scripts to be asked. */
export function hooksOf(scripts: readonly HostScript[]): Set<Hook> {
  const maps = new Set(scripts.map(({ owner }) => owner.split(' ')[0] ?? ''));
  const isOpen = (gate: Gate): boolean => maps.has(gateMap(gate, 4));
  const isEarly = EARLY.some(isOpen);
  const late = (hook: 'host-input' | 'host-forward' | 'host-output' | 'host-postrouting'): Hook =>
    isEarly ? `${hook}-early` : hook;
  return new Set<Hook>([
    ...(isEarly ? (['host-raw', 'host-raw-output'] as const) : []),
    ...(isOpen('pre-dnat-ingress') ? (['host-mangle'] as const) : []),
    ...(isOpen('local-ingress')
      ? (['host-input', 'host-output', 'host-postrouting'] as const).map(late)
      : []),
    ...(isOpen('forward-ingress') || isOpen('forward-egress') ? [late('host-forward')] : []),
  ]);
}
