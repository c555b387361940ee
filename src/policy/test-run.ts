/** Expectations asked of a book and a world, every flow of every case. */
import type { RuleBook } from '#model/policy.ts';
import type { Flow } from '#model/verdict.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { addressFamily, FAMILIES, type Family } from '#net/address.ts';
import { formatOrigin } from '#model/manifest.ts';
import { showDecider } from './deciders.ts';
import { type Expectation, findEnds } from './expectations.ts';
import { explainFlow, type View } from './explain.ts';
import { type End, flowsBetween, showFlow } from './flow-text.ts';
import { Judge } from './reach/judge.ts';
import { Library } from './reach/library.ts';

export type Failure = {
  readonly from: string;
  readonly to: string;
  readonly traffic: string;
  readonly family: Family;
  readonly got: 'allow' | 'deny';
  /** Why, at each end that was asked. */
  readonly because: readonly string[];
};

export type CaseResult = {
  readonly name: string;
  /** `expectations.yaml:3` */
  readonly origin: string;
  readonly expect: 'allow' | 'deny';
  readonly ok: boolean;
  /** Flows that were judged. */
  readonly flows: number;
  /** Not all: `failed` counts them. */
  readonly failures: readonly Failure[];
  readonly failed: number;
  /** Why nothing could be judged. */
  readonly problem?: string;
};

/** More are counted, not told. */
const TOLD = 20;

export function runExpectations(view: View, expectations: readonly Expectation[]): CaseResult[] {
  const library = new Library();
  const pending: RuleBook = { ...view.book, enforced: view.book.pending ?? view.book.enforced };
  const sides = { enforced: view, pending: { book: pending, world: view.world } };
  const judges = new Map<View, Judge>();
  return expectations.map((expectation) => {
    const side = expectation.staged ? sides.pending : sides.enforced;
    const judge = judges.get(side) ?? new Judge(side.book, side.world, library);
    judges.set(side, judge);
    return runCase(side, judge, expectation);
  });
}

type Sent = { readonly ends: readonly [End, End]; readonly flow: Flow };

function runCase(view: View, judge: Judge, expectation: Expectation): CaseResult {
  const { name, origin, expect } = expectation;
  const about = { name, origin: formatOrigin({ ...origin, path: '' }), expect };
  const sent = flowsOf(view.world, expectation);
  if (typeof sent === 'string') {
    return { ...about, ok: false, flows: 0, failures: [], failed: 0, problem: sent };
  }
  const wrong = sent.filter(({ flow }) => judge.actionOf(flow) !== expect);
  const failures = wrong.slice(0, TOLD).map((each) => describe(view, each));
  return { ...about, ok: wrong.length === 0, flows: sent.length, failures, failed: wrong.length };
}

/** From each to each, but never from a pod to itself. */
function flowsOf(world: PolicyWorld, expectation: Expectation): readonly Sent[] | string {
  const { from, to, traffic, families = FAMILIES } = expectation;
  const [sources, destinations] = [findEnds(world, from), findEnds(world, to)];
  if (typeof sources === 'string') return `from: ${sources}`;
  if (typeof destinations === 'string') return `to: ${destinations}`;
  const pairs = sources.flatMap((source) =>
    destinations
      .filter(({ name }) => name !== source.name)
      .map((destination): Sent['ends'] => [source, destination]),
  );
  const tried = pairs.flatMap((ends) =>
    traffic.map((kind) => ({ ends, flows: flowsBetween(...ends, kind) })),
  );
  const sent = tried.flatMap(({ ends, flows }) =>
    'unclear' in flows ? [] : flows.map((flow): Sent => ({ ends, flow })),
  );
  const found = sent.filter(({ flow }) => families.includes(addressFamily(flow.source)));
  if (found.length > 0) return found;
  const [unclear = NOTHING] = tried.flatMap(({ flows }) => ('unclear' in flows ? flows.unclear : []));
  return unclear;
}

const NOTHING = 'there is nothing to judge: only pods to themselves, or no addresses of these families';

function describe(view: View, { ends, flow }: Sent): Failure {
  const { family, action, checks } = explainFlow(view, ends, flow);
  const [from, to] = ends.map(({ name }) => name) as [string, string];
  const because = checks
    .filter((check) => check.action === action)
    .map((check) => `${check.direction} of ${check.endpoint}: ${check.exempt ?? showDecider(check.decided)}`);
  return { from, to, traffic: showFlow(flow), family, got: action, because };
}

/** JUnit's XML: a suite with a case each. */
export function writeJunit(suite: string, results: readonly CaseResult[]): string {
  const failed = results.filter(({ ok }) => !ok).length;
  const head = `name=${quote(suite)} tests="${results.length}" failures="${failed}" errors="0" skipped="0"`;
  const cases = results.map((result) => {
    const start = `    <testcase name=${quote(result.name)} classname=${quote(result.origin)}`;
    if (result.ok) return `${start}/>`;
    const [first = ''] = failureLines(result);
    const text = escape(failureLines(result).join('\n'));
    return `${start}>\n      <failure message=${quote(first)}>${text}</failure>\n    </testcase>`;
  });
  return [
    '<?xml version="1.0" encoding="UTF-8"?>',
    `<testsuites tests="${results.length}" failures="${failed}">`,
    `  <testsuite ${head}>`,
    ...cases,
    '  </testsuite>',
    '</testsuites>',
  ].join('\n');
}

/** What went wrong, for readers. */
export function failureLines({ problem, failures, failed, expect }: CaseResult): string[] {
  if (problem !== undefined) return [problem];
  const more = failed > failures.length ? [`and ${failed - failures.length} more`] : [];
  return [
    ...failures.flatMap(({ from, to, traffic, family, got, because }) => [
      `${from} → ${to} ${traffic} (IPv${family}): expected ${expect}, got ${got}`,
      ...because.map((each) => `  ${each}`),
    ]),
    ...more,
  ];
}

function quote(text: string): string {
  return `"${escape(text)}"`;
}

const ENTITIES: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&apos;',
};

/** XML 1.0 has no way to write most control characters. */
function escape(text: string): string {
  const clean = Array.from(text, (each) => (isAllowed(each.codePointAt(0) ?? 0) ? each : '\uFFFD'));
  return clean.map((each) => ENTITIES[each] ?? each).join('');
}

/** XML 1.0, production Char. */
function isAllowed(code: number): boolean {
  if (code < 0x20) return code === 0x9 || code === 0xa || code === 0xd;
  return !(code >= 0xd800 && code <= 0xdfff) && code !== 0xfffe && code !== 0xffff;
}
