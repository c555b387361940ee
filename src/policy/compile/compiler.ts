/**
 * From policies and the world to one node's program, and from each state to the next by what changed. Subjects are
 * addresses of the node's pods that the same policies select, and places at its host endpoints; peers are in classes, by the sets that they are in as far
 * as some subject asks (Gupta, McKeown: Packet Classification on Multiple Fields, SIGCOMM 1999: first each field by
 * itself, then the combinations that occur).
 *
 *     book, world ─ Selection ─ Scripts ─────┬─────────────────────────▶ Subjects ─ Programs ─▶ Ledger
 *                                sets asked  └─ Members ─ Classes ─ combinations ─┤
 *                            └─ HostScripts ────────────────────────────────▶ Places
 */
import type { RuleBook } from '#model/policy.ts';
import type { Hook, PolicyDelta, PolicyProgram } from '#model/policy-program.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { Classes } from './classes.ts';
import { type HostScript, HostScripts, hooksOf } from './host-scripts.ts';
import { Ids } from './ids.ts';
import { Ledger } from './ledger.ts';
import { Members } from './members.ts';
import { Places } from './places.ts';
import { Programs } from './programs.ts';
import { type ScriptOf, Scripts } from './scripts.ts';
import { Selection } from './selection.ts';
import { setsOf, Subjects } from './subjects.ts';

export type PolicyCompiler = {
  /**
   * What has changed in the program since the last update; undefined when nothing has. Parts of book and world that are
   * the same objects as last time are taken for unchanged: change nothing in place.
   */
  update(book: RuleBook, world: PolicyWorld): PolicyDelta | undefined;
  /** The program as it is now: a copy. */
  program(): PolicyProgram;
  /** The program itself, which every update changes in place: for who looks at it and goes. */
  readonly living: PolicyProgram;
};

/** The program of one node, from nothing. */
export function compile(
  book: RuleBook,
  world: PolicyWorld,
  { node }: { readonly node: string },
): PolicyProgram {
  const compiler = createCompiler(node);
  compiler.update(book, world);
  return compiler.program();
}

export function createCompiler(node: string): PolicyCompiler {
  const ledger = new Ledger();
  const selection = new Selection(node);
  const ids = new Ids();
  const scripts = new Scripts(ids);
  const hostScripts = new HostScripts(ids);
  const members = new Members(node);
  const classes = new Classes(ledger);
  const subjects = new Subjects(ledger, new Programs(ledger), classes);
  const places = new Places(ledger, classes);
  let pods: readonly ScriptOf[] = [];
  let hosts: readonly HostScript[] = [];
  let placed: readonly ScriptOf[] = [];
  let sets = setsOf([]);
  return {
    update(book, world) {
      const selected = selection.update(book, world);
      const [podsNow, hostsNow] = [
        scripts.update(book, world, selected),
        hostScripts.update(book, world, selected),
      ];
      if (podsNow !== pods || hostsNow !== hosts) sets = setsOf([...podsNow, ...hostsNow]);
      const changes = classes.update(members, members.update(world, sets));
      subjects.part(changes.gone);
      const placedNow = places.update(hostsNow, changes);
      if (podsNow !== pods || placedNow !== placed) subjects.update([...podsNow, ...placedNow]);
      subjects.join(changes.come);
      places.write(subjects);
      if (hostsNow !== hosts) hook(ledger, hooksOf(hosts), hooksOf(hostsNow));
      [pods, hosts, placed] = [podsNow, hostsNow, placedNow];
      return ledger.takeDelta();
    },
    program: () => ledger.snapshot(),
    living: ledger.program,
  };
}

function hook(ledger: Ledger, before: ReadonlySet<Hook>, now: ReadonlySet<Hook>): void {
  for (const each of before.difference(now)) ledger.deleteChain(each);
  for (const each of now.difference(before)) ledger.setChain(each, []);
}
