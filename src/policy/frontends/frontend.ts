/**
 * A frontend translates one kind of object to policies, or to what policies are about. What it is given is either understood to the last field or
 * answered with everything that is wrong, each at its path; nothing in between.
 */
import type { z } from 'zod';
import type { Problem } from '#model/fault.ts';
import type { Origin, Policy, Profile, Tier } from '#model/policy.ts';
import type { HostEndpoint, NetworkSet } from '#model/workload.ts';
import { formatOrigin } from '../book.ts';
import { type Manifest, originOf, type Path } from '#model/manifest.ts';
import { type Fields, isFields } from './shapes.ts';

export type FrontendOptions = {
  /** Somebody fills PolicyWorld.names: peers may be DNS names. Otherwise they are refused. */
  readonly domainNames: boolean;
};

/** What manifests tell of. Pods, namespaces and the like come from elsewhere. */
export type Objects = {
  readonly policies: readonly Policy[];
  readonly tiers: readonly Tier[];
  readonly profiles: readonly Profile[];
  readonly endpoints: readonly (HostEndpoint | NetworkSet)[];
};

export const NO_OBJECTS: Objects = { policies: [], tiers: [], profiles: [], endpoints: [] };

/** Of an object with problems there is nothing but these. */
export type Parsed = Objects & {
  readonly problems: readonly Problem[];
  /** What is valid but probably not meant. */
  readonly warnings: readonly Problem[];
};

export type Frontend = {
  readonly apiVersion: string;
  readonly kind: string;
  /** What readers call the kind, as others may have the same. */
  readonly title: string;
  /** Of the whole object, for docs/policy-fields.md. */
  readonly schema: z.ZodType;
  readonly parse: (manifest: Manifest, options: FrontendOptions) => Parsed;
};

/** What a translation is given beside the object. */
export type Context = {
  readonly options: FrontendOptions;
  readonly origin: (path: Path) => Origin;
  readonly refuse: (path: Path, message: string) => void;
  readonly warn: (path: Path, message: string) => void;
};

export type Definition<S extends z.ZodType> = {
  readonly schema: S;
  readonly translate: (object: z.output<S>, context: Context) => Partial<Objects>;
  /** What a schema cannot see, asked of the raw object whatever the schema says. */
  readonly inspect?: (object: Fields, context: Context) => void;
};

export function defineFrontend<S extends z.ZodType>(
  head: { readonly apiVersion: string; readonly kind: string; readonly title?: string },
  { schema, translate, inspect }: Definition<S>,
): Frontend {
  const parse: Frontend['parse'] = (manifest, options) => {
    const problems: Problem[] = [];
    const warnings: Problem[] = [];
    const context: Context = {
      options,
      origin: (path) => originOf(manifest, path),
      refuse: (path, message) => problems.push(problemAt(manifest, path, message)),
      warn: (path, message) => warnings.push(problemAt(manifest, path, message)),
    };
    if (isFields(manifest.value)) inspect?.(manifest.value, context);
    const read = schema.safeParse(manifest.value, { reportInput: true });
    if (!read.success) problems.push(...read.error.issues.flatMap((issue) => describe(manifest, issue)));
    for (const path of hiddenKeys(manifest.value)) context.refuse(path, 'must not be a key');
    const found = read.success && problems.length === 0 ? translate(read.data, context) : {};
    return { ...NO_OBJECTS, ...found, problems, warnings };
  };
  return { apiVersion: head.apiVersion, kind: head.kind, title: head.title ?? head.kind, schema, parse };
}

export function problemAt(manifest: Manifest, path: Path, message: string): Problem {
  return { path: formatOrigin(originOf(manifest, path)), message };
}

/** Schemas of maps pass over the key `__proto__`, and a selector with a test less selects more. */
function hiddenKeys(value: unknown): Path[] {
  const found: Path[] = [];
  // Aliases make one object stand in several places, even in itself.
  const seen = new Set<object>();
  const waiting: { readonly path: Path; readonly value: unknown }[] = [{ path: [], value }];
  for (let next = waiting.pop(); next !== undefined; next = waiting.pop()) {
    if (typeof next.value !== 'object' || next.value === null || seen.has(next.value)) continue;
    seen.add(next.value);
    for (const [key, inner] of Object.entries(next.value)) {
      const path = [...next.path, key];
      if (key === '__proto__') found.push(path);
      waiting.push({ path, value: inner });
    }
  }
  return found;
}

/** One problem for each unknown field, at its own line. */
function describe(manifest: Manifest, issue: z.core.$ZodIssue): Problem[] {
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => problemAt(manifest, [...issue.path, key], 'unknown field'));
  }
  if (issue.code === 'invalid_key') {
    return issue.issues.map(({ message }) => problemAt(manifest, issue.path, message));
  }
  return [problemAt(manifest, issue.path, sentence(issue))];
}

const KINDS: Readonly<Record<string, string>> = {
  object: 'a map',
  record: 'a map',
  array: 'a list',
  string: 'text',
  number: 'a number',
  boolean: 'true or false',
};

function sentence(issue: z.core.$ZodIssue): string {
  if (issue.input === undefined) return 'is missing';
  const given = show(issue.input);
  if (issue.code === 'invalid_value') return `must be ${issue.values.join(' or ')}${given}`;
  if (issue.code === 'invalid_type' && issue.message.startsWith('Invalid')) {
    return `must be ${KINDS[issue.expected] ?? issue.expected}${given}`;
  }
  return issue.message;
}

function show(input: unknown): string {
  if (isFields(input)) return ', not a map';
  return Array.isArray(input) ? ', not a list' : `, not ${JSON.stringify(input).slice(0, 80)}`;
}
