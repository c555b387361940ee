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
    ...section('Answers', answerLines(report)),
    ...section('Ranking', report.ranked.flatMap(rankLines)),
    ...(report.ranked.length === 0 ? [heading('Ranking'), lines('Nobody meets all requirements.')] : []),
    ...section('Contradictory requirements', report.conflicts.map(conflictLine)),
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
    ...section('What is lost, and another of these has', lossLines(report)),
    ...section(
      'From what is there',
      report.migration.map((step, index) => `${index + 1}. ${step}`),
    ),
    ...tartanBlocks(report, settings),
    ...section('Sources', sourceLines(report)),
  ];
}

function section(title: string, all: readonly string[]): Block[] {
  return all.length === 0 ? [] : [heading(title), lines(...all)];
}

/** All that the advice goes by: what was said, and what was seen. */
function answerLines({ answers, seen, asOf }: Report): string[] {
  const given = Object.entries(answers).map(([topic, answer]) => {
    const how = seen[topic] === undefined ? '' : ` (seen: ${seen[topic]})`;
    return `${topic}: ${Array.isArray(answer) ? answer.join(', ') || 'none' : String(answer)}${how}`;
  });
  return [...given, ...(asOf === undefined ? [] : [`what was known on ${asOf}`])];
}

function conflictLine(set: Report['conflicts'][number]): string {
  const [first, ...others] = set;
  const what = set.map(({ requirement, sentence }) => `“${sentence}” (${requirement})`).join(' and ');
  return others.length === 0
    ? `nobody meets ${what}: leave out ${first?.requirement}`
    : `nobody meets ${what} together: leave out ${set.map(({ requirement }) => requirement).join(' or ')}`;
}

function rankLines(
  { place, title, behind, met, open }: Report['ranked'][number],
  index: number,
  ranked: Report['ranked'],
): string[] {
  const than = ranked.find(({ id }) => id === behind?.than)?.title;
  const reason =
    behind &&
    `behind ${than}, because ${behind.what}: ${cellText(behind.mine)}; there ${cellText(behind.theirs)}`;
  const meets = met.filter((one) => one.met === 'yes');
  const before = ranked[index - 1];
  const isAlike = place === before?.place && JSON.stringify(met) === JSON.stringify(before.met);
  if (isAlike) return [`${place}. ${title}: the same`];
  return [
    `${place}. ${title}`,
    ...(reason === undefined ? [] : [`  ${reason}`]),
    // Of who is behind, what it is behind for says more.
    ...(place === 1 ? meets.map((one) => `  ${judgedLine(one)}`) : []),
    ...met.filter((one) => one.met === 'half').map((one) => `  with reservations: ${judgedLine(one)}`),
    ...open.map(({ sentence }) => `  nobody says whether: ${sentence}`),
    ...(place === 1 ? [] : meets)
      .filter(({ cell }) => cell.against.length > 0)
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
  const more = [claim.since === undefined ? undefined : `since ${claim.since}`, claim.note];
  const note = more.filter((one) => one !== undefined).map((one) => `, ${one}`);
  return `${value}${note.join('')} [${citation(claim)}]${beside}`;
}

function citation({ title, date }: ReportClaim): string {
  return `${title}, ${date}`;
}

/** One line each: whoever has most of it comes with the least. */
function lossLines({ ranked }: Report): string[] {
  return ranked.flatMap(({ title, losses }) => {
    const listed = (value: string): string =>
      losses
        .filter(({ cell }) => cell.value === value)
        .map(({ cell }) => cell.title)
        .join(', ');
    const [no, partly] = [listed('no'), listed('partly')];
    const parts = [...(no === '' ? [] : [`no ${no}`]), ...(partly === '' ? [] : [`in part only: ${partly}`])];
    return parts.length === 0 ? [] : [`${title}: ${parts.join('; ')}`];
  });
}

/** Where whatever is cited can be read. */
function sourceLines(report: Report): string[] {
  const claims = [...claimsIn(report)];
  const lines = claims.map(
    ({ title, date, url }) => `${title}, ${date}${url === undefined ? '' : `: ${url}`}`,
  );
  return [...new Set(lines)].sort();
}

function* claimsIn({ ranked, excluded, tartan }: Report): Generator<ReportClaim> {
  const judged = [
    ...ranked.flatMap(({ met, open }) => [...met, ...open]),
    ...excluded.flatMap(({ unmet }) => unmet),
    ...(tartan?.unmet ?? []),
  ];
  const behind = ranked.flatMap(({ behind }) => (behind === undefined ? [] : [behind.mine, behind.theirs]));
  for (const { claim, against } of [...judged.map(({ cell }) => cell), ...behind]) {
    if (claim !== undefined) yield claim;
    yield* against;
  }
}

function tartanBlocks({ tartan }: Report, settings: string | undefined): Block[] {
  if (tartan === undefined || settings === undefined) return [];
  const unmet = tartan.unmet.map((one) => `does not meet: ${judgedLine(one)}`);
  const road = tartan.why === undefined ? [] : [`its road: ${tartan.why}`];
  const head =
    unmet.length === 0 ? 'ready to run: /etc/tartan/settings.yaml' : 'the nearest of Tartan’s profiles';
  return [
    heading(`Tartan (${tartan.candidate})`),
    lines(head, ...unmet, ...road),
    { kind: 'code', text: settings },
  ];
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

export function escapeText(text: string): string {
  return text
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;');
}

function escape(text: string): string {
  return escapeText(text).replaceAll(/https:\/\/[^\s\]),;]+/g, (url) => `<a href="${url}">${url}</a>`);
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

/** What stands in the body of a page. */
export function renderBlocks(blocks: readonly Block[]): string {
  return blocks.map((block) => HTML[block.kind](block as never)).join('\n');
}

export function renderHtml(blocks: readonly Block[]): string {
  const body = renderBlocks(blocks);
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>tartan choose</title>
<style>${STYLE}</style></head><body><h1>tartan choose</h1>
${body}
</body></html>`;
}
