/**
 * Evaluates the bundle (dist/tartan.cjs), with the code that V8 made of it where that stands beside it: without, a tenth
 * of an agent's start is spent on compiling. Code of another bundle is not used, and V8 refuses that of another Node or
 * of other flags; the bundle is compiled then. Both files have one owner and so one trust.
 *
 *     dist/tartan.cjs.code     SHA-1 of the bundle, then V8's data
 */
import { hash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { Script } from 'node:vm';

export type Bundle = { readonly exports: unknown; readonly encodeCode: () => Buffer };

const DIGEST_BYTES = 20;

/** Where the code of a bundle stands. */
export function codeFile(file: string): string {
  return `${file}.code`;
}

export function loadBundle(file: string): Bundle {
  const bytes = readFileSync(file);
  const digest = hash('sha1', bytes, 'buffer');
  // The build writes nothing but ASCII, which V8 then holds in one byte a character.
  const source = bytes.toString('latin1');
  const wrapped = `(function (exports, require, module, __filename, __dirname) {${source}\n})`;
  const script = new Script(wrapped, { filename: file, cachedData: readCode(codeFile(file), digest) });
  const module = { exports: {} };
  const run = script.runInThisContext() as (...names: unknown[]) => void;
  run(module.exports, createRequire(file), module, file, dirname(file));
  return { exports: module.exports, encodeCode: () => Buffer.concat([digest, script.createCachedData()]) };
}

function readCode(file: string, digest: Buffer): Buffer | undefined {
  try {
    const bytes = readFileSync(file);
    return bytes.subarray(0, DIGEST_BYTES).equals(digest) ? bytes.subarray(DIGEST_BYTES) : undefined;
  } catch {
    return undefined;
  }
}
