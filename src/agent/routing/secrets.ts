/** Passwords of sessions, from files that root alone may read. They go into BIRD's configuration and nowhere else. */
import { readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import type { Problem } from '#model/fault.ts';
import type { SecretRef } from '#model/routing.ts';

type FoundSecret = { readonly password?: string; readonly problem?: Problem };

/** Each file as it is when it is first asked for. */
export class Secrets {
  readonly #directory: string;
  readonly #found = new Map<string, FoundSecret>();

  constructor(directory: string) {
    this.#directory = directory;
  }

  /** Undefined: there is none that may be used. */
  get(ref: SecretRef): string | undefined {
    const key = JSON.stringify(ref);
    const found = this.#found.get(key) ?? readSecret(ref, this.#directory);
    this.#found.set(key, found);
    return found.password;
  }

  /** Of those that were asked for. */
  problems(): Problem[] {
    return [...this.#found.values()].flatMap(({ problem }) => problem ?? []);
  }
}

/** Secret NAME and KEY is the file NAME/KEY below the directory, as Kubernetes mounts them. */
function pathOf(ref: SecretRef, directory: string): string | undefined {
  if (ref.kind === 'file') return ref.path;
  const isName = (text: string): boolean => /^[A-Za-z0-9._-]+$/.test(text) && !/^\.{1,2}$/.test(text);
  return isName(ref.name) && isName(ref.key) ? join(directory, ref.name, ref.key) : undefined;
}

/** Of a file, without the line's end that editors put there. */
function readSecret(ref: SecretRef, directory: string): FoundSecret {
  const path = pathOf(ref, directory);
  if (path === undefined) return wrong('secret', 'its name and key must be of letters, digits, -, _ and .');
  try {
    const { mode } = statSync(path);
    if ((mode & 0o077) !== 0)
      return wrong(path, `others may read it (mode ${(mode & 0o777).toString(8)}): chmod 600 it`);
    return { password: readFileSync(path, 'utf8').replace(/\r?\n$/, '') };
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return wrong(path, code === 'ENOENT' ? 'the password’s file is not there' : `cannot be read: ${code}`);
  }
}

function wrong(path: string, message: string): FoundSecret {
  return { problem: { path, message } };
}
