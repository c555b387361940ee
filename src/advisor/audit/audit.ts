/** What each candidate would make of an operator's objects, object by object, by the same facts as the choice. */
import { z } from 'zod';
import type { Problem } from '#model/fault.ts';
import { isFields } from '#model/manifest-shapes.ts';
import type { Manifest } from '#model/manifest.ts';
import { type Candidate, type Cell, cellOf, type Facts } from '../facts/facts.ts';
import { titleOf } from '../facts/features.ts';
import { type Uses, usesOf } from './uses.ts';

/** From bad to good. `refused`: it says so; `ignored`: it does not read the kind; `changed`: a part of it does nothing. */
export const OUTCOMES = ['ignored', 'changed', 'refused', 'half', 'unknown', 'same'] as const;
export type Outcome = (typeof OUTCOMES)[number];

const objectsSchema = z.array(
  z.strictObject({
    object: z.string(),
    file: z.string(),
    candidates: z.array(
      z.strictObject({
        id: z.string(),
        title: z.string(),
        outcome: z.enum(OUTCOMES),
        because: z.array(
          z.strictObject({
            /** In the object; empty: its kind. */
            path: z.string(),
            what: z.string(),
            value: z.string(),
            /** A name of facts/sources.yaml; absent when nobody says anything. */
            source: z.string().optional(),
            note: z.string().optional(),
          }),
        ),
      }),
    ),
  }),
);
export const auditSchema = z.strictObject({
  objects: objectsSchema,
  /** How many objects of each outcome, by candidate. */
  summary: z.array(
    z.strictObject({ id: z.string(), title: z.string(), counts: z.record(z.enum(OUTCOMES), z.int()) }),
  ),
  /** Kinds of objects that ask nothing of a provider, as far as facts tell. */
  others: z.record(z.string(), z.int()),
});
export type Audit = z.infer<typeof auditSchema>;
type Fate = Audit['objects'][number]['candidates'][number];
type Because = Fate['because'][number];

/** `refusals`: what Tartan's own reading of an object finds wrong with it. */
export function audit(
  facts: Facts,
  manifests: readonly Manifest[],
  refusals: (manifest: Manifest) => readonly Problem[],
): Audit {
  const others: Record<string, number> = {};
  const objects = manifests.flatMap((manifest) => {
    const uses = usesOf(manifest);
    if (uses === undefined) {
      const kind = kindOf(manifest);
      others[kind] = (others[kind] ?? 0) + 1;
      return [];
    }
    const refused = refusals(manifest);
    const candidates = facts.candidates.map((one) =>
      one.profile !== undefined && refused.length > 0 ? refusal(one, refused) : fate(one, uses),
    );
    return [{ object: uses.object, file: uses.source, candidates }];
  });
  return { objects, summary: facts.candidates.map((one) => summaryOf(one, objects)), others };
}

function kindOf({ value }: Manifest): string {
  return isFields(value) && typeof value['kind'] === 'string' ? value['kind'] : 'without a kind';
}

function summaryOf({ id, title }: Candidate, objects: Audit['objects']): Audit['summary'][number] {
  const outcomes = objects.map(({ candidates }) => candidates.find((one) => one.id === id)?.outcome);
  const counts = OUTCOMES.map((outcome) => [outcome, outcomes.filter((one) => one === outcome).length]);
  return { id, title, counts: Object.fromEntries(counts) as Record<Outcome, number> };
}

function refusal({ id, title }: Candidate, problems: readonly Problem[]): Fate {
  const because = problems.map(({ path, message }) => ({
    path,
    what: message,
    value: 'no',
    source: 'tartan',
  }));
  return { id, title, outcome: 'refused', because };
}

const OF_KIND: Readonly<Record<string, Outcome>> = {
  no: 'ignored',
  partly: 'half',
  unknown: 'unknown',
  yes: 'same',
};
const OF_FIELD: Readonly<Record<string, Outcome>> = {
  no: 'changed',
  partly: 'half',
  unknown: 'unknown',
  yes: 'same',
};

function fate(candidate: Candidate, { kind, fields }: Uses): Fate {
  const { id, title } = candidate;
  const ofKind = kind === undefined ? [] : [because(cellOf(candidate, kind), '', OF_KIND)];
  const all = [
    ...ofKind,
    // Of an object that is not read, no field matters.
    ...(ofKind[0]?.outcome === 'ignored'
      ? []
      : fields.map(({ feature, path }) => because(cellOf(candidate, feature), path, OF_FIELD))),
  ];
  const worst = Math.min(...all.map(({ outcome }) => OUTCOMES.indexOf(outcome)));
  const outcome = OUTCOMES[worst] ?? 'same';
  return { id, title, outcome, because: all.filter((one) => one.outcome !== 'same').map(({ why }) => why) };
}

function because(
  { feature, value, claim }: Cell,
  path: string,
  outcomes: Readonly<Record<string, Outcome>>,
): { readonly outcome: Outcome; readonly why: Because } {
  const why = {
    path,
    what: titleOf(feature),
    value: String(value),
    ...(claim === undefined ? {} : { source: claim.source }),
    ...(claim?.note === undefined ? {} : { note: claim.note }),
  };
  return { outcome: outcomes[String(value)] ?? 'unknown', why };
}
