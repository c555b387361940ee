/**
 * Objects of manifests held against a schema and its checks: understood to the last field, or answered with everything that is
 * wrong, each at its path; nothing in between.
 */
import type { z } from 'zod';
import type { Problem } from './fault.ts';
import { formatOrigin, type Manifest, originOf, type Path } from './manifest.ts';
import { type Fields, isFields } from './manifest-shapes.ts';
import type { Origin } from './policy.ts';

/** What a translation is given beside the object. */
export type Say = {
  readonly origin: (path: Path) => Origin;
  readonly refuse: (path: Path, message: string) => void;
  readonly warn: (path: Path, message: string) => void;
};

/** Of an object with problems there is no `found`. */
export type Understood<T> = {
  readonly found?: T;
  readonly problems: readonly Problem[];
  /** What is valid but probably not meant. */
  readonly warnings: readonly Problem[];
};

export type Translation<S extends z.ZodType, C extends Say, T> = {
  readonly schema: S;
  readonly translate: (object: z.output<S>, context: C) => T;
  /** What a schema cannot see, asked of the raw object whatever the schema says. */
  readonly inspect?: ((object: Fields, context: C) => void) | undefined;
};

/** `widen` adds to the context what this frontend's translations need beside it. */
export function understand<S extends z.ZodType, C extends Say, T>(
  manifest: Manifest,
  { schema, translate, inspect }: Translation<S, C, T>,
  widen: (say: Say) => C,
): Understood<T> {
  const problems: Problem[] = [];
  const warnings: Problem[] = [];
  const context = widen({
    origin: (path) => originOf(manifest, path),
    refuse: (path, message) => problems.push(problemAt(manifest, path, message)),
    warn: (path, message) => warnings.push(problemAt(manifest, path, message)),
  });
  if (isFields(manifest.value)) inspect?.(manifest.value, context);
  const read = schema.safeParse(manifest.value, { reportInput: true });
  if (!read.success) problems.push(...read.error.issues.flatMap((issue) => describe(manifest, issue)));
  for (const path of hiddenKeys(manifest.value)) context.refuse(path, 'must not be a key');
  if (!read.success || problems.length > 0) return { problems, warnings };
  const found = translate(read.data, context);
  return problems.length > 0 ? { problems, warnings } : { found, problems, warnings };
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
