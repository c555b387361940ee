/** A conformance case: one line of the checklist as a function of the subject, and how a table of them is run. */
import { after, before, describe, test } from 'node:test';
import type { Subject } from './subject.ts';

export type Case = {
  /** Number in the checklist (P1 … L1). */
  readonly id: string;
  readonly name: string;
  /** Why this subject does not offer it, or undefined. */
  readonly unless?: (subject: Subject) => string | undefined;
  readonly run: (subject: Subject) => Promise<void>;
};

export type Opening = {
  readonly title: string;
  readonly skip: string | undefined;
  readonly open: () => Promise<Subject>;
};

/** Every case against every subject: one node per subject, opened once. */
export function runCases(openings: readonly Opening[], cases: readonly Case[]): void {
  for (const { title, skip, open } of openings) {
    describe(title, { skip: skip ?? false }, () => {
      let subject: Subject;
      before(async () => {
        subject = await open();
      });
      after(() => subject.stop());
      for (const { id, name, unless, run } of cases) {
        test(`${id} ${name}`, async (context) => {
          const reason = unless?.(subject);
          if (reason === undefined) await run(subject);
          else context.skip(reason);
        });
      }
    });
  }
}
