/**
 * Advice as plain data, for programs: what `tartan choose -o json` prints, with its schema. Every statement names its
 * source. The other formats are made of this.
 */
import { z } from 'zod';
import type { Cell, Claim, Facts } from '../facts/facts.ts';
import { titleOf } from '../facts/features.ts';
import { type Advice, type Loss, openOf } from './advice.ts';
import { answersSchema } from './answers.ts';
import type { Ranked } from './choose.ts';
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
  /** Requirements that nobody meets together. */
  conflicts: z.array(z.array(z.strictObject({ requirement: z.string(), sentence: z.string() }))),
  /** Answers that nobody was asked for, and how they are known. */
  seen: z.record(z.string(), z.string()),
  /** The facts are those of this day. */
  asOf: z.string().optional(),
  tartan: z
    .strictObject({
      candidate: z.string(),
      settings: z.record(z.string(), z.unknown()),
      /** Why this road. */
      why: z.string().optional(),
      unmet: z.array(judgedSchema),
    })
    .optional(),
  migration: z.array(z.string()),
});
export type Report = z.infer<typeof reportSchema>;
export type ReportCell = z.infer<typeof cellSchema>;
export type ReportClaim = z.infer<typeof claimSchema>;
export type ReportJudged = z.infer<typeof judgedSchema>;

export type Circumstances = {
  readonly seen?: Readonly<Record<string, string>> | undefined;
  readonly asOf?: string | undefined;
};

export function reportOf(
  facts: Facts,
  advice: Advice,
  next: Next,
  { seen = {}, asOf }: Circumstances = {},
): Report {
  const { choice, losses, resolve, changes, answers, conflicts } = advice;
  const judged = (one: Judged): ReportJudged => writeJudged(facts, one);
  return {
    answers,
    ranked: choice.ranked.map((one) => writeRanked(facts, one, losses.get(one.candidate.id) ?? [])),
    excluded: choice.excluded.map(({ candidate: { id, title }, unmet }) => ({
      id,
      title,
      unmet: unmet.map(judged),
    })),
    changes: changes.map(({ what, first }) => ({
      what,
      first: first.map((id) => titleOfCandidate(facts, id)),
    })),
    resolve: resolve.map(({ candidate, giveUp }) => ({ candidate, giveUp: giveUp.map(judged) })),
    conflicts: conflicts.map((set) => set.map(({ id, sentence }) => ({ requirement: id, sentence }))),
    seen: { ...seen },
    ...(asOf === undefined ? {} : { asOf }),
    ...(next.tartan === undefined
      ? {}
      : {
          tartan: {
            candidate: next.tartan.candidate,
            settings: { ...next.tartan.settings },
            ...(next.tartan.why === undefined ? {} : { why: next.tartan.why }),
            unmet: next.tartan.unmet.map(judged),
          },
        }),
    migration: [...next.migration],
  };
}

function writeRanked(
  facts: Facts,
  { candidate, place, behind, judged }: Ranked,
  losses: readonly Loss[],
): Report['ranked'][number] {
  const write = (one: Judged): ReportJudged => writeJudged(facts, one);
  const reason = behind && {
    than: behind.than,
    id: behind.reason.id,
    what: behind.reason.what,
    mine: writeCell(facts, behind.reason.mine),
    theirs: writeCell(facts, behind.reason.theirs),
  };
  return {
    id: candidate.id,
    title: candidate.title,
    place,
    ...(reason === undefined ? {} : { behind: reason }),
    met: judged.filter(({ met }) => met !== 'unknown').map(write),
    open: openOf(judged).map(write),
    losses: losses.map(({ cell, others }) => ({ cell: writeCell(facts, cell), others: [...others] })),
  };
}

function titleOfCandidate({ candidates }: Facts, id: string): string {
  return candidates.find((one) => one.id === id)?.title ?? id;
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
