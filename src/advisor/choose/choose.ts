/**
 * The choice: requirements exclude, each on a fact; preferences put the rest in order, the first that differs decides. There
 * is no score, and no tie is broken: those that nothing parts share a place. What is unknown is neither yes nor no: it
 * excludes nobody, and stands behind what is known to be met.
 */
import type { Candidate, Cell, Facts } from '../facts/facts.ts';
import { cellOf } from '../facts/facts.ts';
import { FEATURES } from '../facts/features.ts';
import { type Judged, judge, type Preference, type Requirement, SILENT } from './requirements.ts';

export type Excluded = { readonly candidate: Candidate; readonly unmet: readonly Judged[] };

/** Why one stands behind another: the first thing in which they differ. */
export type Reason = {
  readonly id: string;
  readonly what: string;
  readonly mine: Cell;
  readonly theirs: Cell;
};

export type Ranked = {
  readonly candidate: Candidate;
  /** From 1; equals share one. */
  readonly place: number;
  /** Against the next better one; absent for the first, and for equals. */
  readonly behind?: { readonly than: string; readonly reason: Reason } | undefined;
  readonly judged: readonly Judged[];
};

export type Choice = { readonly ranked: readonly Ranked[]; readonly excluded: readonly Excluded[] };

/** One thing to compare by: more is better. */
type Criterion = {
  readonly id: string;
  readonly what: string;
  readonly cell: (one: Candidate) => Cell;
  readonly rank: (cell: Cell) => number;
};

export function choose(
  facts: Facts,
  requirements: readonly Requirement[],
  preferences: readonly Preference[],
): Choice {
  const judged = new Map(
    facts.candidates.map((one) => [one, requirements.map((requirement) => judge(requirement, one))] as const),
  );
  const isOut = (one: Candidate): boolean => (judged.get(one) ?? []).some(({ met }) => met === 'no');
  const criteria = [
    byKnown(requirements),
    ...requirements.map(byRequirement),
    ...preferences.map(byPreference),
  ];
  const order = facts.candidates
    .filter((one) => !isOut(one))
    .sort((a, b) => sign(firstDifference(criteria, a, b), a, b) || (a.id < b.id ? -1 : 1));
  const ranked: Ranked[] = [];
  for (const candidate of order) {
    const before = ranked.at(-1);
    const decides = before && firstDifference(criteria, before.candidate, candidate);
    const place = before === undefined ? 1 : decides === undefined ? before.place : ranked.length + 1;
    ranked.push({
      candidate,
      place,
      judged: judged.get(candidate) ?? [],
      behind: before &&
        decides && { than: before.candidate.id, reason: reasonOf(decides, candidate, before.candidate) },
    });
  }
  const excluded = facts.candidates.filter(isOut).map((candidate) => ({
    candidate,
    unmet: (judged.get(candidate) ?? []).filter(({ met }) => met === 'no'),
  }));
  return { ranked, excluded };
}

function firstDifference(criteria: readonly Criterion[], a: Candidate, b: Candidate): Criterion | undefined {
  return criteria.find(({ cell, rank }) => rank(cell(a)) !== rank(cell(b)));
}

function sign(criterion: Criterion | undefined, a: Candidate, b: Candidate): number {
  return criterion === undefined
    ? 0
    : criterion.rank(criterion.cell(b)) - criterion.rank(criterion.cell(a)) > 0
      ? 1
      : -1;
}

function reasonOf({ id, what, cell }: Criterion, mine: Candidate, theirs: Candidate): Reason {
  return { id, what, mine: cell(mine), theirs: cell(theirs) };
}

const MET = { yes: 2, half: 1, unknown: 0, no: -1 } as const;

function byRequirement(requirement: Requirement): Criterion {
  const { id, feature, sentence } = requirement;
  return {
    id,
    what: sentence,
    cell: (one) => cellOf(one, feature),
    rank: (cell) => {
      if (cell.value === 'unknown' && SILENT.has(feature)) return MET.yes;
      const { met } = judge(requirement, asCandidate(cell));
      return MET[met];
    },
  };
}

/** A candidate of which nothing but this is known. */
function asCandidate({ feature, claim }: Cell): Candidate {
  return { id: '', title: '', facts: claim === undefined ? {} : { [feature]: [claim] } };
}

const ABLE: Readonly<Record<string, number>> = { yes: 3, partly: 2, unknown: 1, no: 0 };

function byPreference({ id, feature, better }: Preference): Criterion {
  const isAmount = FEATURES[feature].type === 'number';
  const rank = ({ value }: Cell): number => {
    // Of amounts, the unknown one stands last.
    if (typeof value !== 'number') return isAmount ? -Infinity : (ABLE[value] ?? 0);
    return better === 'more' ? value : -value;
  };
  return { id, what: `you prefer ${id}`, cell: (one) => cellOf(one, feature), rank };
}

/** Those of whom every requirement is known to be met stand before the others. */
function byKnown(requirements: readonly Requirement[]): Criterion {
  const unknown = (one: Candidate): Cell | undefined =>
    requirements
      .filter(({ feature }) => !SILENT.has(feature))
      .map(({ feature }) => cellOf(one, feature))
      .find(({ value }) => value === 'unknown');
  const first = requirements[0]?.feature ?? 'maintained';
  return {
    id: 'known',
    what: 'it must be known to meet all requirements',
    cell: (one) => unknown(one) ?? cellOf(one, first),
    rank: ({ value }) => (value === 'unknown' ? 0 : 1),
  };
}
