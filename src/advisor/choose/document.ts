/** A report as headings, lines and tables, and those as text, Markdown or a self-contained HTML page. */
import { renderTable } from '#lib/table.ts';
import type { Report, ReportCell, ReportClaim, ReportJudged } from './report.ts';

export type Block =
  | { readonly kind: 'heading'; readonly text: string }
  | { readonly kind: 'lines'; readonly lines: readonly string[] }
  | {
      readonly kind: 'table';
      readonly header: readonly string[];
      readonly rows: readonly (readonly string[])[];
    }
  | { readonly kind: 'code'; readonly text: string };

const heading = (text: string): Block => ({ kind: 'heading', text });
const lines = (...all: string[]): Block => ({ kind: 'lines', lines: all });

/** `settings`: the report's settings as YAML. */
export function documentOf(report: Report, settings: string | undefined): Block[] {
  return [
    ...section('Ranking', report.ranked.flatMap(rankLines)),
    ...(report.ranked.length === 0 ? [heading('Ranking'), lines('Nobody meets all requirements.')] : []),
    ...section('What would resolve it', report.resolve.map(resolveLine)),
    ...section(
      'Excluded',
      report.excluded.flatMap(({ title, unmet }) => [
        `${title}:`,
        ...unmet.map((one) => `  ${judgedLine(one)}`),
      ]),
    ),
    ...section(
      'What would change the answer',
      report.changes.map(
        ({ what, first }) => `${what}: ${first.length === 0 ? 'nobody' : first.join(', ')} first`,
      ),
    ),
    ...lossBlocks(report),
    ...section(
      'From what is there',
      report.migration.map((step, index) => `${index + 1}. ${step}`),
    ),
    ...tartanBlocks(report, settings),
  ];
}

function section(title: string, all: readonly string[]): Block[] {
  return all.length === 0 ? [] : [heading(title), lines(...all)];
}

function rankLines({ place, title, behind, met, open }: Report['ranked'][number]): string[] {
  const reason =
    behind &&
    `behind ${behind.than}, because ${behind.what}: ${cellText(behind.mine)}; there ${cellText(behind.theirs)}`;
  return [
    `${place}. ${title}`,
    ...(reason === undefined ? [] : [`  ${reason}`]),
    ...met.filter((one) => one.met === 'half').map((one) => `  with reservations: ${judgedLine(one)}`),
    ...open.map(({ sentence }) => `  nobody says whether: ${sentence}`),
    ...met
      .filter((one) => one.met !== 'half' && one.cell.against.length > 0)
      .map(({ cell }) => `  sources disagree on ${cell.title}: ${cellText(cell)}`),
  ];
}

function resolveLine({ candidate, giveUp }: Report['resolve'][number]): string {
  return `${candidate}: give up ${giveUp.map(({ requirement }) => requirement).join(', ')}`;
}

function judgedLine({ sentence, cell }: ReportJudged): string {
  return `${sentence}: ${cellText(cell)}`;
}

export function cellText({ value, claim, against }: ReportCell): string {
  const others = against.map((one) => `${one.value} in ${citation(one)}`);
  const beside = others.length === 0 ? '' : ` (but ${others.join('; ')})`;
  if (claim === undefined) return `unknown${beside}`;
  const note = claim.note === undefined ? '' : `, ${claim.note}`;
  return `${value}${note} [${citation(claim)}]${beside}`;
}

function citation({ title, date, url }: ReportClaim): string {
  return `${title}, ${date}${url === undefined ? '' : `, ${url}`}`;
}

function lossBlocks({ ranked }: Report): Block[] {
  const rows = ranked.flatMap(({ title, losses }) =>
    losses.map(({ cell, others }) => [title, cell.title, String(cell.value), others.join(', ')]),
  );
  if (rows.length === 0) return [];
  return [
    heading('What is lost'),
    { kind: 'table', header: ['with', 'lost', 'value', 'others have it'], rows },
  ];
}

function tartanBlocks({ tartan }: Report, settings: string | undefined): Block[] {
  if (tartan === undefined || settings === undefined) return [];
  const unmet = tartan.unmet.map((one) => `does not meet: ${judgedLine(one)}`);
  const head =
    unmet.length === 0 ? 'ready to run: /etc/tartan/settings.yaml' : 'the nearest of Tartan’s profiles';
  return [heading(`Tartan (${tartan.candidate})`), lines(head, ...unmet), { kind: 'code', text: settings }];
}

const TEXT: Readonly<Record<Block['kind'], (block: never) => string>> = {
  heading: ({ text }: { text: string }) => `\n${text}\n${'-'.repeat(text.length)}`,
  lines: (block: { lines: readonly string[] }) => block.lines.join('\n'),
  table: ({ header, rows }: { header: readonly string[]; rows: readonly (readonly string[])[] }) =>
    renderTable(header, rows),
  code: ({ text }: { text: string }) => text.trimEnd(),
};

export function renderText(blocks: readonly Block[]): string {
  return blocks
    .map((block) => TEXT[block.kind](block as never))
    .join('\n')
    .trim();
}

const row = (cells: readonly string[]): string =>
  `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;

const MARKDOWN: typeof TEXT = {
  heading: ({ text }: { text: string }) => `## ${text}`,
  lines: (block: { lines: readonly string[] }) =>
    block.lines.map((line) => (line.startsWith('  ') ? `  - ${line.trim()}` : `- ${line}`)).join('\n'),
  table: ({ header, rows }: { header: readonly string[]; rows: readonly (readonly string[])[] }) =>
    [row(header), row(header.map(() => '---')), ...rows.map(row)].join('\n'),
  code: ({ text }: { text: string }) => `\`\`\`yaml\n${text.trimEnd()}\n\`\`\``,
};

export function renderMarkdown(blocks: readonly Block[]): string {
  return ['# tartan choose', ...blocks.map((block) => MARKDOWN[block.kind](block as never))].join('\n\n');
}

function escape(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
    .replaceAll(/https:\/\/[^\s\]),;]+/g, (url) => `<a href="${url}">${url}</a>`);
}

const cells = (tag: string, all: readonly string[]): string =>
  `<tr>${all.map((cell) => `<${tag}>${escape(cell)}</${tag}>`).join('')}</tr>`;

const HTML: typeof TEXT = {
  heading: ({ text }: { text: string }) => `<h2>${escape(text)}</h2>`,
  lines: (block: { lines: readonly string[] }) =>
    block.lines
      .map((line) => `<p${line.startsWith('  ') ? ' class="in"' : ''}>${escape(line.trim())}</p>`)
      .join('\n'),
  table: ({ header, rows }: { header: readonly string[]; rows: readonly (readonly string[])[] }) =>
    `<table><thead>${cells('th', header)}</thead><tbody>${rows.map((one) => cells('td', one)).join('')}</tbody></table>`,
  code: ({ text }: { text: string }) => `<pre>${escape(text)}</pre>`,
};

const STYLE = `:root{color-scheme:light dark}body{font:1rem/1.5 system-ui,sans-serif;max-width:60rem;margin:auto;padding:1rem}
p{margin:.3rem 0;overflow-wrap:anywhere}.in{margin-left:1.5rem}table{border-collapse:collapse}td,th{border:1px solid;padding:.2rem .5rem;
text-align:left;vertical-align:top}pre{border:1px solid;padding:.5rem;overflow:auto}`;

export function renderHtml(blocks: readonly Block[]): string {
  const body = blocks.map((block) => HTML[block.kind](block as never)).join('\n');
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>tartan choose</title>
<style>${STYLE}</style></head><body><h1>tartan choose</h1>
${body}
</body></html>`;
}
