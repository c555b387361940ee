/** Around a choice: what would change it, what each candidate lacks, and what to do next. Pure; everything has its source. */
import { type Candidate, type Cell, cellOf, type Claim, type Facts, withClaim } from '../facts/facts.ts';
import { type Feature, FEATURE_NAMES, FEATURES } from '../facts/features.ts';
import { type Answers, PREFERENCES } from './answers.ts';
import { choose, type Choice } from './choose.ts';
import {
  type Judged,
  judge,
  preferencesOf,
  type Requirement,
  requirementsOf,
  SILENT,
} from './requirements.ts';

export type Change = { readonly what: string; readonly first: readonly string[] };
export type Loss = { readonly cell: Cell; readonly others: readonly string[] };

export type Advice = {
  readonly answers: Answers;
  readonly choice: Choice;
  readonly changes: readonly Change[];
  /** By candidate: what it lacks and another of the ranked has. */
  readonly losses: ReadonlyMap<string, readonly Loss[]>;
  /** When nobody is left: those who lack least, and what of the requirements to give up for them. */
  readonly resolve: readonly { readonly candidate: string; readonly giveUp: readonly Judged[] }[];
  /** When nobody is left: the smallest sets of requirements that nobody meets together. Without one of each, somebody is. */
  readonly conflicts: readonly (readonly Requirement[])[];
};

export function adviseOn(facts: Facts, answers: Answers): Advice {
  const choice = chooseBy(facts, answers);
  return {
    answers,
    choice,
    changes: [
      ...droppedRequirements(facts, answers, choice),
      ...flippedFacts(facts, answers, choice),
      ...otherPreferences(facts, answers, choice),
    ],
    losses: new Map(choice.ranked.map(({ candidate }) => [candidate.id, lossesOf(candidate, choice)])),
    resolve: resolutions(choice),
    conflicts: choice.ranked.length > 0 ? [] : conflictsIn(facts, requirementsOf(answers)),
  };
}

export function chooseBy(facts: Facts, answers: Answers): Choice {
  return choose(facts, requirementsOf(answers), preferencesOf(answers));
}

/** Those in the first place. */
export function winnersOf({ ranked }: Choice): string[] {
  return ranked.filter(({ place }) => place === 1).map(({ candidate }) => candidate.id);
}

function sameWinners(a: Choice, b: Choice): boolean {
  return winnersOf(a).join() === winnersOf(b).join();
}

function droppedRequirements(facts: Facts, answers: Answers, choice: Choice): Change[] {
  const requirements = requirementsOf(answers);
  return requirements.flatMap((dropped) => {
    const without = choose(
      facts,
      requirements.filter((requirement) => requirement !== dropped),
      preferencesOf(answers),
    );
    return sameWinners(choice, without)
      ? []
      : [{ what: `without “${dropped.sentence}” (${dropped.id})`, first: winnersOf(without) }];
  });
}

/** Were something else preferred most, by who would be first then. */
function otherPreferences(facts: Facts, answers: Answers, choice: Choice): Change[] {
  const [most, ...rest] = answers.prefer ?? [];
  const words = PREFERENCES.filter((word) => word !== most);
  const then = words.map((word) => ({
    word,
    choice: chooseBy(facts, { ...answers, prefer: [word, ...rest.filter((other) => other !== word)] }),
  }));
  const other = then.filter((one) => one.choice.ranked.length > 0 && !sameWinners(choice, one.choice));
  return [...Map.groupBy(other, (one) => winnersOf(one.choice).join()).values()].map((alike) => ({
    what: `if you preferred ${alike.map(({ word }) => word).join(' or ')} most`,
    first: alike.flatMap((one, index) => (index === 0 ? winnersOf(one.choice) : [])),
  }));
}

/** One claim away: candidates whom a single fact keeps out. Of Tartan’s profiles one is enough. */
function flippedFacts(facts: Facts, answers: Answers, choice: Choice): Change[] {
  const hasOwn = choice.ranked.some(({ candidate }) => candidate.profile !== undefined);
  return choice.excluded.flatMap(({ candidate, unmet }) => {
    const [only] = unmet;
    if (hasOwn && candidate.profile !== undefined) return [];
    if (unmet.length !== 1 || only?.cell.claim === undefined || only.requirement.test !== 'able') return [];
    const flipped: Claim = { ...only.cell.claim, value: 'yes' };
    const then = chooseBy(withClaim(facts, candidate.id, only.cell.feature, flipped), answers);
    if (sameWinners(choice, then)) return [];
    return [
      { what: `if ${candidate.title} had ${FEATURES[only.cell.feature].title}`, first: winnersOf(then) },
    ];
  });
}

function lossesOf(candidate: Candidate, { ranked }: Choice): Loss[] {
  return FEATURE_NAMES.filter(canBeLost).flatMap((feature) => {
    const cell = cellOf(candidate, feature);
    if (cell.value !== 'no' && cell.value !== 'partly') return [];
    const others = ranked
      .map((other) => other.candidate)
      .filter((other) => cellOf(other, feature).value === 'yes')
      .map(({ title }) => title);
    return others.length === 0 ? [] : [{ cell, others }];
  });
}

/** Another platform, or another provider’s own objects, are nobody’s loss: who needs them has said so. */
function canBeLost(feature: Feature): boolean {
  const { type, group } = FEATURES[feature];
  return type === 'ability' && group !== 'place' && !feature.endsWith('Annotations');
}

/** Requirements that nobody has answered for, to look into before deciding. */
export function openOf(judged: readonly Judged[]): Judged[] {
  return judged.filter(({ met, requirement }) => met === 'unknown' && !SILENT.has(requirement.feature));
}

function resolutions({ ranked, excluded }: Choice): Advice['resolve'] {
  if (ranked.length > 0) return [];
  const least = Math.min(...excluded.map(({ unmet }) => unmet.length));
  return excluded
    .filter(({ unmet }) => unmet.length === least)
    .map(({ candidate, unmet }) => ({ candidate: candidate.title, giveUp: unmet }));
}

/** Larger ones tell nobody anything. */
const MOST_IN_CONFLICT = 3;

function conflictsIn({ candidates }: Facts, requirements: readonly Requirement[]): Requirement[][] {
  const found: Requirement[][] = [];
  const excludes = (requirement: Requirement, one: Candidate): boolean =>
    judge(requirement, one).met === 'no';
  const extend = (set: readonly Requirement[], left: readonly Candidate[], from: number): void => {
    if (left.length === 0) found.push([...set]);
    if (left.length === 0 || set.length === MOST_IN_CONFLICT) return;
    for (const [index, requirement] of requirements.entries()) {
      const rest = left.filter((one) => !excludes(requirement, one));
      if (index >= from && rest.length < left.length) extend([...set, requirement], rest, index + 1);
    }
  };
  extend([], candidates, 0);
  return found.filter(
    (set) => !found.some((other) => other !== set && other.every((one) => set.includes(one))),
  );
}
