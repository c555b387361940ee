/** `tartan choose --measure`: the lab measures, the advisor tells it as a table or JSON, or as a page with plots. */
import { type Block, renderBlocks } from '#advisor/choose/document.ts';
import { measurementsDocument } from '#advisor/measure/document.ts';
import { measurementsSchema } from '#advisor/measure/summary.ts';
import { renderPage } from '#advisor/page/page.ts';
import { Fault, type Problem } from '#model/fault.ts';
import type { MeasureOptions, MeasureProgress, Measurements } from '#model/measurement.ts';
import { fieldsOf } from './choose-answers.ts';
import { textOption } from './options.ts';
import { readPageFiles } from './page-files.ts';
import type { Doors } from './program.ts';

export async function measure(
  options: Record<string, unknown>,
  doors: Pick<Doors, 'measure'>,
): Promise<{ readonly value: Measurements; readonly blocks: readonly Block[]; readonly html?: string }> {
  const wanted = optionsOf(options);
  const files = options['output'] === 'html' ? readPageFiles('plots') : undefined;
  const progress = makeProgress();
  const value = await doors.measure(wanted, progress.show).finally(progress.end);
  const blocks = measurementsDocument(value);
  const body = `<h1>Roads of this host</h1>\n<div id="plots"></div>\n<div class="tables">${renderBlocks(blocks)}</div>`;
  const page = files && { title: 'Roads of this host', body, data: value, ...files };
  return { value, blocks, ...(page === undefined ? {} : { html: renderPage(page) }) };
}

/** Of --measured. Throws Fault `request-invalid` when it is not what --measure tells. */
export function readMeasured(options: Record<string, unknown>): Measurements | undefined {
  const file = textOption(options, 'measured');
  if (file === undefined) return undefined;
  const parsed = measurementsSchema.safeParse(fieldsOf(file));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => ({ path: path.join('.'), message }));
  throw new Fault('request-invalid', `${file} is not what --measure -o json tells`, { problems });
}

/** Throws Fault `request-invalid` with every option that is wrong. */
function optionsOf(options: Record<string, unknown>): MeasureOptions {
  const problems: Problem[] = [];
  const number = (name: string, flag: string, least: number, most: number): number => {
    const value = Number(textOption(options, name));
    if (!Number.isInteger(value) || value < least || value > most)
      problems.push({ path: flag, message: `must be a whole number from ${least} to ${most}` });
    return value;
  };
  const rounds = number('rounds', '--rounds', 1, 1000);
  const runMs = number('runMs', '--run-ms', 50, 60_000);
  const policyCounts = wordsOf(options, 'policyCounts').map(Number);
  if (
    policyCounts.length === 0 ||
    policyCounts.some((one) => !Number.isInteger(one) || one < 0 || one > 10_000)
  )
    problems.push({
      path: '--policy-counts',
      message: 'must be whole numbers up to 10,000, with commas: 0,1000',
    });
  if (problems.length > 0) throw new Fault('request-invalid', 'this cannot be measured', { problems });
  const roads = options['roads'] === undefined ? undefined : wordsOf(options, 'roads');
  return { roads, rounds, runMs, policyCounts };
}

function wordsOf(options: Record<string, unknown>, name: string): string[] {
  return (textOption(options, name) ?? '').split(/[\s,]+/).filter((word) => word !== '');
}

/** On a terminal one line that changes, with the time that is left; else a line per road. */
function makeProgress(): { show: (progress: MeasureProgress) => void; end: () => void } {
  const started = performance.now();
  let last = '';
  return {
    show: ({ done, total, what }) => {
      const seconds = (performance.now() - started) / 1000;
      const left = done === 0 ? '' : `, about ${Math.ceil((seconds / done) * (total - done))} s left`;
      const line = `${String(done).padStart(String(total).length)}/${total}  ${what}${left}`;
      if (process.stderr.isTTY) process.stderr.write(`\r\u001b[K${line}`);
      else if (what !== last) console.error(line);
      last = what;
    },
    end: () => {
      if (process.stderr.isTTY) process.stderr.write('\r\u001b[K');
    },
  };
}
