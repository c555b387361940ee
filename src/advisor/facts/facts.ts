/**
 * Dated facts about providers. A cell keeps every claim that a source makes; what the newest says is its value. Claims of
 * other values stay beside it and are shown. What nobody says is unknown, which is not `no`.
 */
import { type Feature, FEATURE_NAMES } from './features.ts';

/** Of abilities `yes`, `partly` or `no`. */
export type Value = number | string;

export type Source = {
  readonly title: string;
  readonly url?: string | undefined;
  /** YYYY, YYYY-MM or YYYY-MM-DD. */
  readonly date: string;
};

export type Claim = {
  readonly value: Value;
  /** A name of `Facts.sources`. */
  readonly source: string;
  readonly date: string;
  readonly since?: string | undefined;
  readonly note?: string | undefined;
  /** `file: words`, where this repository shows what its own profile does. */
  readonly shownBy?: string | undefined;
};

export type Cell = {
  readonly feature: Feature;
  /** `unknown` is one of them. */
  readonly value: Value;
  /** Why: absent when unknown. */
  readonly claim?: Claim;
  /** Claims with another value, newest first. */
  readonly against: readonly Claim[];
};

export type Candidate = {
  readonly id: string;
  readonly title: string;
  /** Of Tartan's own: the profile to run. */
  readonly profile?: string | undefined;
  readonly facts: Readonly<Partial<Record<Feature, readonly Claim[]>>>;
};

export type Facts = {
  readonly sources: Readonly<Record<string, Source>>;
  readonly candidates: readonly Candidate[];
};

/** Where newest claims of one date disagree, nobody is right: the value is unknown, and all of them are against it. */
export function cellOf(candidate: Candidate, feature: Feature): Cell {
  const claims = (candidate.facts[feature] ?? []).toSorted((a, b) => compareText(b.date, a.date));
  const [newest] = claims;
  if (newest === undefined) return { feature, value: 'unknown', against: [] };
  const contested = claims.some(({ date, value }) => date === newest.date && value !== newest.value);
  if (contested) return { feature, value: 'unknown', against: claims };
  const against = claims.filter(({ value }) => value !== newest.value);
  return { feature, value: newest.value, claim: newest, against };
}

/** What was known on a day, by sources of then: later claims are not there, nor is of whom there are only such. */
export function asOf(facts: Facts, day: string): Facts {
  const candidates = facts.candidates.map((candidate) => {
    const kept = Object.entries(candidate.facts).flatMap(([feature, claims]) => {
      const then = claims.filter(({ date }) => date <= day);
      return then.length === 0 ? [] : [[feature, then] as const];
    });
    return { ...candidate, facts: Object.fromEntries(kept) };
  });
  return { ...facts, candidates: candidates.filter((one) => Object.keys(one.facts).length > 0) };
}

/** The facts with one claim in place of those of a cell: what if. */
export function withClaim(facts: Facts, id: string, feature: Feature, claim: Claim): Facts {
  const candidates = facts.candidates.map((candidate) =>
    candidate.id === id ? { ...candidate, facts: { ...candidate.facts, [feature]: [claim] } } : candidate,
  );
  return { ...facts, candidates };
}

/** Every cell that has a claim, also that nobody knows. */
export function cellsOf(candidate: Candidate): Cell[] {
  return FEATURE_NAMES.map((feature) => cellOf(candidate, feature)).filter(
    ({ claim, against }) => claim !== undefined || against.length > 0,
  );
}

function compareText(a: string, b: string): number {
  return a < b ? -1 : Number(a > b);
}
