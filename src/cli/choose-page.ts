/** `tartan choose --page out/`: every fact with its sources, as one page that a browser opens from the file. */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { providerMatrix } from '#advisor/page/matrix.ts';
import { renderPage } from '#advisor/page/page.ts';
import type { Facts } from '#advisor/facts/facts.ts';
import { writeAtomically } from './installation.ts';
import { readPageFiles } from './page-files.ts';

const TITLE = 'Network providers, compared';
/** What is there without the script, for those who have none and for who prints the source. */
const BODY = `<h1>${TITLE}</h1>
<main id="app"><p>This page is made by its script. The same facts as text: <code>tartan choose -o markdown</code>.</p></main>`;

/** Answers where the page is. */
export function writePage(facts: Facts, directory: string): string {
  const file = join(directory, 'index.html');
  const page = { title: TITLE, body: BODY, data: providerMatrix(facts), ...readPageFiles('matrix') };
  mkdirSync(directory, { recursive: true });
  writeAtomically(file, renderPage(page), 0o644);
  return file;
}
