/** Objects as they were written: YAML text or an API server's JSON, with the line of every field where lines exist. */
import { readLines, readPiece, type Written } from './document.ts';
import { splitObjects } from './list-document.ts';
import type { Problem } from './fault.ts';
import type { Origin } from './policy.ts';

export type Path = readonly PropertyKey[];

/** Plain data: as JSON and back it is the same. */
export type Manifest = {
  /** File or store key. */
  readonly source: string;
  readonly value: unknown;
  /** What lines are read from when they are asked for; absent where there are none. */
  readonly written?: Written;
};

/** Longer texts are not read: no policy comes near. */
export const MAX_TEXT = 1 << 20;

/** Every object of the text that is YAML, those of lists one by one; the others are problems, each at its line. */
export function readManifests(
  source: string,
  text: string,
): { readonly manifests: readonly Manifest[]; readonly problems: readonly Problem[] } {
  if (text.length > MAX_TEXT) {
    const problem = { path: source, message: `is longer than ${MAX_TEXT} characters` };
    return { manifests: [], problems: [problem] };
  }
  const pieces = Array.from(
    splitObjects(text, (start, end) => text.slice(start, end)),
    readPiece,
  );
  return {
    manifests: pieces.flatMap(({ documents }) => documents).map((document) => ({ source, ...document })),
    problems: pieces
      .flatMap(({ problems }) => problems)
      .map(({ line, message }) => ({ path: `${source}:${line}`, message })),
  };
}

/** An object that was not written as text. */
export function manifestOf(source: string, value: unknown): Manifest {
  return { source, value };
}

/** Where the field stands, or the nearest one around it that was written. */
export function originOf({ source, written }: Manifest, path: Path): Origin {
  const lines = written === undefined ? undefined : linesOf(written);
  for (let length = path.length; length >= 0; length -= 1) {
    const line = lines?.get(path.slice(0, length).join('.'));
    if (line !== undefined) return { source, line, path: path.join('.') };
  }
  return { source, path: path.join('.') };
}

/** `file.yaml:3 spec.egress.0`, as Problem paths are. */
export function formatOrigin({ source, line, path }: Origin): string {
  return `${source}${line === undefined ? '' : `:${line}`}${path === '' ? '' : ` ${path}`}`;
}

/** Many are asked for at once, then none for long: kept only while memory is plenty. */
const known = new WeakMap<Written, WeakRef<ReadonlyMap<string, number>>>();

function linesOf(written: Written): ReadonlyMap<string, number> {
  const present = known.get(written)?.deref();
  if (present !== undefined) return present;
  const lines = readLines(written);
  known.set(written, new WeakRef(lines));
  return lines;
}
