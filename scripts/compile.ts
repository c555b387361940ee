/**
 * `node FLAGS scripts/compile.ts FILE`: writes the code that V8 makes of a bundle beside it, with all that an agent is made of
 * loaded: other commands are compiled when they are run. FLAGS are those that the bundle will be run with.
 */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { codeFile, loadBundle } from '../src/bundle.ts';
import type { loadAgent } from '../src/main.ts';

const file = resolve(process.argv[2] ?? 'dist/tartan.cjs');
process.argv.splice(2, Infinity, 'agent', '--help');
const { exports, encodeCode } = loadBundle(file);
await (exports as { readonly loadAgent: typeof loadAgent }).loadAgent();
writeFileSync(codeFile(file), encodeCode());
