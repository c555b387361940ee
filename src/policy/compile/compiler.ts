/**
 * From policies and the world to one node's program, and from each state to the next by what changed. Subjects are
 * addresses of the node's pods that the same policies select; peers are in classes, by the sets that they are in as far
 * as some subject asks (Gupta, McKeown: Packet Classification on Multiple Fields, SIGCOMM 1999: first each field by
 * itself, then the combinations that occur).
 *
 *     book, world ─ Selection ─ Scripts ─┬─────────────────────────▶ Subjects ─ Programs ─▶ Ledger
 *                            sets asked  └─ Members ─ Classes ─ combinations ─┘
 */
import type { RuleBook } from '#model/policy.ts';
import type { PolicyDelta, PolicyProgram } from '#model/policy-program.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { Classes } from './classes.ts';
import { Ledger } from './ledger.ts';
import { Members } from './members.ts';
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
  const scripts = new Scripts();
  const members = new Members(node);
  const classes = new Classes(ledger);
  const subjects = new Subjects(ledger, new Programs(ledger), classes);
  let written: readonly ScriptOf[] = [];
  let sets = setsOf(written);
  return {
    update(book, world) {
      const now = scripts.update(book, world, selection.update(book, world));
      if (now !== written) sets = setsOf(now);
      const { come, gone } = classes.update(members, members.update(world, sets));
      subjects.part(gone);
      if (now !== written) subjects.update(now);
      subjects.join(come);
      written = now;
      return ledger.takeDelta();
    },
    program: () => ledger.snapshot(),
  };
}
