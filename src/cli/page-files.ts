/** Scripts and styles of the pages that Tartan writes, as scripts/build.ts has made them of the room web. */
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Fault } from '#model/fault.ts';

/** Beside the bundle, and seen from the source. */
const PLACES = ['pages', '../../dist/pages'].map((place) => join(import.meta.dirname, place));

export type PageFiles = { readonly script: string; readonly style: string };

/** Throws Fault `io` when they have not been built. */
export function readPageFiles(name: 'matrix' | 'plots'): PageFiles {
  const place = PLACES.find((one) => existsSync(join(one, `${name}.js`)));
  if (place === undefined) throw new Fault('io', 'the pages are not there: run make build');
  return {
    script: readFileSync(join(place, `${name}.js`), 'utf8'),
    style: readFileSync(join(place, `${name}.css`), 'utf8'),
  };
}
