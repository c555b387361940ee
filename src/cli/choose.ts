/**
 * `tartan choose`: which provider, with evidence. Answers come from a file, from flags, from what is seen on this host, and
 * from the terminal, the former over the latter. Exit code 1 when nobody meets all requirements.
 */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { parse, stringify } from 'yaml';
import { adviseOn } from '#advisor/choose/advice.ts';
import { type Answers, answersOf, parseAnswers, QUESTIONS } from '#advisor/choose/answers.ts';
import { documentOf, renderHtml, renderMarkdown, renderText } from '#advisor/choose/document.ts';
import { nextOf } from '#advisor/choose/next.ts';
import { type Report, reportOf } from '#advisor/choose/report.ts';
import { withInstance } from '#advisor/capacity/capacity.ts';
import type { Facts } from '#advisor/facts/facts.ts';
import { Fault } from '#model/fault.ts';
import type { HostFacts } from '#model/facts.ts';
import { ask, valueOf } from './choose-questions.ts';
import { readFacts, readInstances } from './facts-files.ts';
import { textOption } from './options.ts';
import { EXIT } from './output.ts';
import type { Make } from './program.ts';

export function chooseCommand(make: Make): Command {
  const command = make('choose', async (options) => {
    const facts = readFacts();
    const answers = await answer(options, facts);
    const known = withLimits(facts, answers);
    const advice = adviseOn(known, answers);
    const report = reportOf(known, advice, nextOf(known, answers, advice.choice));
    console.log(WRITERS[options['output'] as keyof typeof WRITERS](report));
    return report.ranked.length === 0 ? EXIT.found : EXIT.ok;
  });
  for (const { topic, ask: text, words, many } of QUESTIONS) {
    const choices = words === undefined ? '' : `: ${words.join(', ')}`;
    command.option(
      `--${flagOf(topic)} <${many === true ? 'words' : 'value'}>`,
      `${text.toLowerCase()}${choices}`,
    );
  }
  return command
    .description('which network provider fits, with evidence')
    .option(
      '--answers <file>',
      'answers as YAML (docs/guide/choose.md), - for standard input; nothing is asked',
    )
    .option(
      '--facts <file>',
      'what doctor saw on a host (host facts of a support bundle): answers some questions',
    )
    .option('--unmaintained', 'providers that nobody maintains will do')
    .addOption(
      new Option('-o, --output <format>', 'how to print')
        .choices(['text', 'json', 'markdown', 'html'])
        .default('text'),
    )
    .addHelpText('after', '\nExit codes: 0 advice; 1 nobody meets all requirements; 2 bad answers.');
}

function flagOf(topic: string): string {
  return topic.replaceAll(/[A-Z]+/g, (upper) => `-${upper.toLowerCase()}`);
}

const WRITERS = {
  text: (report: Report): string => renderText(documentOf(report, settingsText(report))),
  json: (report: Report): string => JSON.stringify(report, undefined, 2),
  markdown: (report: Report): string => renderMarkdown(documentOf(report, settingsText(report))),
  html: (report: Report): string => renderHtml(documentOf(report, settingsText(report))),
} as const;

function settingsText({ tartan }: Report): string | undefined {
  return tartan === undefined ? undefined : stringify(tartan.settings);
}

async function answer(options: Record<string, unknown>, facts: Facts): Promise<Answers> {
  const file = textOption(options, 'answers');
  const host = textOption(options, 'facts');
  const seen = host === undefined ? {} : answersOf(readYaml(host) as HostFacts);
  const flags = answersOfFlags(options);
  const given = { ...seen, ...(file === undefined ? {} : (readYaml(file) as object)), ...flags };
  const providers = facts.candidates.map(({ id }) => id);
  const answers = parseAnswers(given, providers);
  const asks = file === undefined && Object.keys(flags).length === 0 && process.stdin.isTTY;
  return asks ? parseAnswers(await ask(answers), providers) : answers;
}

function answersOfFlags(options: Record<string, unknown>): Record<string, unknown> {
  const flags: Record<string, unknown> = {};
  for (const question of QUESTIONS) {
    const key = flagOf(question.topic).replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    const line = textOption(options, key);
    if (line !== undefined) flags[question.topic] = valueOf(question, line);
  }
  if (options['unmaintained'] === true) flags['unmaintained'] = true;
  return flags;
}

function readYaml(file: string): unknown {
  try {
    return parse(readFileSync(file === '-' ? 0 : file, 'utf8')) ?? {};
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Fault('request-invalid', `cannot read ${file}: ${why}`, { cause });
  }
}

function withLimits(facts: Facts, { instance }: Answers): Facts {
  if (instance === undefined) return facts;
  const limits = readInstances().get(instance);
  if (limits === undefined) {
    const problems = [{ path: 'instance', message: `no instance type is called ${instance}` }];
    throw new Fault('request-invalid', 'the answers are not usable', { problems });
  }
  return withInstance(facts, limits);
}
