/** Facts from YAML: one text of sources, one per candidate. Everything that is wrong is told at once, at its place. */
import { parse } from 'yaml';
import { z } from 'zod';
import { Fault, type Problem } from '#model/fault.ts';
import type { Candidate, Claim, Facts, Source } from './facts.ts';
import { FEATURES, type Feature, FEATURE_NAMES, type FeatureType } from './features.ts';

/** The text of sources among the others. */
export const SOURCES = 'sources';

const date = z.string().regex(/^\d{4}(?:-\d{2}){0,2}$/, 'must be a date: YYYY, YYYY-MM or YYYY-MM-DD');
const sourcesSchema = z.record(
  z.string(),
  z.strictObject({ title: z.string().min(1), url: z.url().optional(), date }),
);

/** What a source was read for, and says nothing of. */
const UNKNOWN = z.literal('unknown');

const VALUES: Readonly<Record<FeatureType, z.ZodType>> = {
  ability: z.enum(['yes', 'partly', 'no']),
  number: z.number().nonnegative(),
  version: z.string().regex(/^\d+\.\d+$/),
  text: z.string().min(1),
};

function claimsSchema(type: FeatureType) {
  return z
    .array(
      z.strictObject({
        value: z.union([UNKNOWN, VALUES[type]]),
        source: z.string(),
        date: date.optional(),
        since: z.string().optional(),
        note: z.string().optional(),
        shownBy: z.string().includes(': ').optional(),
      }),
    )
    .min(1);
}

const factsSchema = z.strictObject(
  Object.fromEntries(FEATURE_NAMES.map((name) => [name, claimsSchema(FEATURES[name].type).optional()])),
);
const candidateSchema = z.strictObject({
  title: z.string().min(1),
  profile: z.string().optional(),
  /** The candidate whose facts hold for this one too, but for those that are told anew. */
  like: z.string().optional(),
  /** Of what it can do, where a claim says nothing else. */
  since: z.string().optional(),
  facts: factsSchema,
});

type Raw = z.infer<typeof candidateSchema>;
type RawClaim = Omit<Claim, 'date'> & { readonly date?: string };

/** `texts`: YAML by name, `sources` among them. Throws Fault `request-invalid` with every problem. */
export function parseFacts(texts: Readonly<Record<string, string>>): Facts {
  const problems: Problem[] = [];
  const sources = read(sourcesSchema, SOURCES, texts[SOURCES] ?? '{}', problems) ?? {};
  const raws = new Map<string, Raw>();
  for (const [id, text] of Object.entries(texts)) {
    const raw = id === SOURCES ? undefined : read(candidateSchema, id, text, problems);
    if (raw) raws.set(id, raw);
  }
  const candidates = [...raws].map(([id, raw]) => candidateOf(id, raw, { raws, sources, problems }));
  if (problems.length > 0) throw new Fault('request-invalid', 'the facts are not usable', { problems });
  return { sources, candidates };
}

function read<T>(schema: z.ZodType<T>, id: string, text: string, problems: Problem[]): T | undefined {
  const parsed = schema.safeParse(parse(text));
  if (parsed.success) return parsed.data;
  for (const { path, message } of parsed.error.issues)
    problems.push({ path: [id, ...path].join('.'), message });
  return undefined;
}

type Context = {
  readonly raws: ReadonlyMap<string, Raw>;
  readonly sources: Readonly<Record<string, Source>>;
  readonly problems: Problem[];
};

function candidateOf(id: string, { title, profile, like, since, facts }: Raw, context: Context): Candidate {
  const model = like === undefined ? undefined : context.raws.get(like);
  if (like !== undefined && model === undefined)
    context.problems.push({ path: `${id}.like`, message: `no candidate is called ${like}` });
  const entries = Object.entries({ ...model?.facts, ...facts }).map(([feature, claims]) => [
    feature,
    (claims as readonly RawClaim[]).map((claim, index) =>
      dated(
        { ...(since !== undefined && isAble(claim) ? { since } : {}), ...claim },
        `${id}.${feature}.${index}.source`,
        context,
      ),
    ),
  ]);
  return { id, title, profile, facts: Object.fromEntries(entries) as Partial<Record<Feature, Claim[]>> };
}

function isAble({ value }: RawClaim): boolean {
  return value !== 'no' && value !== 'unknown';
}

function dated(claim: RawClaim, path: string, { sources, problems }: Context): Claim {
  const source = Object.hasOwn(sources, claim.source) ? sources[claim.source] : undefined;
  if (source === undefined) problems.push({ path, message: `no source is called ${claim.source}` });
  return { ...claim, date: claim.date ?? source?.date ?? '' };
}
