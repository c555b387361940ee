/** The small C programs of the benchmarks, built at their first use into a folder of their own. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export type Program = { readonly folder: string; readonly path: string; readonly remove: () => void };

/** `name.c` of this directory, or of what is shipped. Throws with the compiler's words. */
export function buildProgram(name: string): Program {
  const folder = mkdtempSync(join(tmpdir(), `bx-${name}-`));
  const path = join(folder, name);
  const [own = '', shipped = ''] = ['.', '../native'].map((place) =>
    join(import.meta.dirname, place, `${name}.c`),
  );
  const source = existsSync(own) ? own : shipped;
  execFileSync('gcc', ['-O2', '-Wall', '-Wextra', '-pthread', '-o', path, source]);
  return { folder, path, remove: () => rmSync(folder, { recursive: true, force: true }) };
}
