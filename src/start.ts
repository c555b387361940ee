/** What dist/tartan runs: the bundle beside this file. */
import { join } from 'node:path';
import { loadBundle } from './bundle.ts';

loadBundle(join(import.meta.dirname, 'tartan.cjs'));
