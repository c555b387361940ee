/**
 * Advice as plain data, for programs: what `tartan choose -o json` prints, with its schema. Every statement names its
 * source. The other formats are made of this.
 */
import { z } from 'zod';
import { type Cell, type Claim, cellsOf, type Facts } from '../facts/facts.ts';
import { titleOf } from '../facts/features.ts';
import { type Advice, openOf } from './advice.ts';
import { answersSchema } from './answers.ts';
import type { Next } from './next.ts';
import type { Judged } from './requirements.ts';

const claimSchema = z.strictObject({
  value: z.union([z.string(), z.number()]),
  source: z.string(),
  title: z.string(),
  url: z.string().optional(),
  date: z.string(),
  since: z.string().optional(),
  note: z.string().optional(),
  shownBy: z.string().optional(),
});
const cellSchema = z.strictObject({
  feature: z.string(),
  title: z.string(),
  value: z.union([z.string(), z.number()]),
  claim: claimSchema.optional(),
  /** Sources that say otherwise. */
  against: z.array(claimSchema),
});
const judgedSchema = z.strictObject({
  requirement: z.string(),
  sentence: z.string(),
  met: z.enum(['yes', 'half', 'unknown', 'no']),
  cell: cellSchema,
});
export const reportSchema = z.strictObject({
  answers: answersSchema,
  ranked: z.array(
    z.strictObject({
      id: z.string(),
      title: z.string(),
      place: z.int(),
      behind: z
        .strictObject({
          than: z.string(),
          id: z.string(),
          what: z.string(),
          mine: cellSchema,
          theirs: cellSchema,
        })
        .optional(),
      met: z.array(judgedSchema),
      /** Requirements on which no source says anything. */
      open: z.array(judgedSchema),
      losses: z.array(z.strictObject({ cell: cellSchema, others: z.array(z.string()) })),
    }),
  ),
  excluded: z.array(z.strictObject({ id: z.string(), title: z.string(), unmet: z.array(judgedSchema) })),
  changes: z.array(z.strictObject({ what: z.string(), first: z.array(z.string()) })),
  resolve: z.array(z.strictObject({ candidate: z.string(), giveUp: z.array(judgedSchema) })),
  tartan: z
    .strictObject({
      candidate: z.string(),
      settings: z.record(z.string(), z.unknown()),
      unmet: z.array(judgedSchema),
    })
    .optional(),
  migration: z.array(z.string()),
});
export type Report = z.infer<typeof reportSchema>;
export type ReportCell = z.infer<typeof cellSchema>;
export type ReportClaim = z.infer<typeof claimSchema>;
export type ReportJudged = z.infer<typeof judgedSchema>;

export function reportOf(facts: Facts, advice: Advice, next: Next): Report {
  const { choice, losses, resolve, changes, answers } = advice;
  const cell = (one: Cell): ReportCell => writeCell(facts, one);
  const judged = (one: Judged): ReportJudged => writeJudged(facts, one);
  return {
    answers,
    ranked: choice.ranked.map(({ candidate, place, behind, judged: all }) => ({
      id: candidate.id,
      title: candidate.title,
      place,
      ...(behind === undefined
        ? {}
        : {
            behind: {
              than: behind.than,
              id: behind.reason.id,
              what: behind.reason.what,
              mine: cell(behind.reason.mine),
              theirs: cell(behind.reason.theirs),
            },
          }),
      met: all.filter(({ met }) => met !== 'unknown').map(judged),
      open: openOf(all).map(judged),
      losses: (losses.get(candidate.id) ?? []).map((loss) => ({
        cell: cell(loss.cell),
        others: [...loss.others],
      })),
    })),
    excluded: choice.excluded.map(({ candidate: { id, title }, unmet }) => ({
      id,
      title,
      unmet: unmet.map(judged),
    })),
    changes: changes.map(({ what, first }) => ({ what, first: [...first] })),
    resolve: resolve.map(({ candidate, giveUp }) => ({ candidate, giveUp: giveUp.map(judged) })),
    ...(next.tartan === undefined
      ? {}
      : {
          tartan: {
            candidate: next.tartan.candidate,
            settings: { ...next.tartan.settings },
            unmet: next.tartan.unmet.map(judged),
          },
        }),
    migration: [...next.migration],
  };
}

/** All cells of all candidates, by candidate: the matrix as data. */
export function matrixOf(facts: Facts): Readonly<Record<string, readonly ReportCell[]>> {
  return Object.fromEntries(
    facts.candidates.map((one) => [one.id, cellsOf(one).map((cell) => writeCell(facts, cell))]),
  );
}

function writeJudged(facts: Facts, { requirement, met, cell }: Judged): ReportJudged {
  return { requirement: requirement.id, sentence: requirement.sentence, met, cell: writeCell(facts, cell) };
}

function writeCell(facts: Facts, { feature, value, claim, against }: Cell): ReportCell {
  return {
    feature,
    title: titleOf(feature),
    value,
    ...(claim === undefined ? {} : { claim: writeClaim(facts, claim) }),
    against: against.map((one) => writeClaim(facts, one)),
  };
}

function writeClaim({ sources }: Facts, claim: Claim): ReportClaim {
  const { title, url } = sources[claim.source] ?? { title: claim.source };
  return { ...claim, title, ...(url === undefined ? {} : { url }) };
}
