/**
 * `node FLAGS scripts/compile.ts FILE`: writes the code that V8 makes of a bundle beside it, with every room loaded. FLAGS
 * are those that the bundle will be run with. The command that runs meanwhile is `--version`.
 */
import { writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { codeFile, loadBundle } from '../src/bundle.ts';
import type { loadRooms } from '../src/main.ts';

const file = resolve(process.argv[2] ?? 'dist/tartan.cjs');
process.argv.splice(2, Infinity, '--version');
const { exports, encodeCode } = loadBundle(file);
await (exports as { readonly loadRooms: typeof loadRooms }).loadRooms();
writeFileSync(codeFile(file), encodeCode());
