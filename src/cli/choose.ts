/**
 * `tartan choose`: which provider, with evidence. Answers come from a file, from flags, from what is seen on this host, and
 * from the terminal, the former over the latter. Exit code 1 when nobody meets all requirements.
 */
import { readFileSync } from 'node:fs';
import { type Command, Option } from 'commander';
import { parse, stringify } from 'yaml';
import { adviseOn } from '#advisor/choose/advice.ts';
import { type Answers, answersOf, parseAnswers, QUESTIONS } from '#advisor/choose/answers.ts';
import { type Block, documentOf, renderHtml, renderMarkdown, renderText } from '#advisor/choose/document.ts';
import { nextOf } from '#advisor/choose/next.ts';
import { type Report, reportOf } from '#advisor/choose/report.ts';
import { capacityOf, type CapacityQuery, withInstance } from '#advisor/capacity/capacity.ts';
import type { InstanceLimits } from '#advisor/capacity/instances.ts';
import type { Facts } from '#advisor/facts/facts.ts';
import { Fault } from '#model/fault.ts';
import type { HostFacts } from '#model/facts.ts';
import { auditDocument, auditFiles, capacityDocument } from './choose-audit.ts';
import { ask, valueOf } from './choose-questions.ts';
import { readFacts, readInstances } from './facts-files.ts';
import { textOption } from './options.ts';
import { EXIT, type ExitCode } from './output.ts';
import { listOption } from './policy-source.ts';
import type { Make } from './program.ts';

export function chooseCommand(make: Make): Command {
  const command = make('choose', run);
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
    .option(
      '--audit <path...>',
      'what each provider would make of the manifests in these files and directories',
    )
    .option('--capacity', 'how many nodes and pods fit, in place of advice')
    .option('--range <bits>', 'for --capacity: length of the cluster’s IPv4 range (default: 16)')
    .option('--subnet <bits>', 'for --capacity: length of a node’s subnet (default: 24)')
    .option('--daemonsets <number>', 'for --capacity: pods of DaemonSets on every node')
    .option('--price <amount>', 'for --capacity: price of a node in a month')
    .option('--unmaintained', 'providers that nobody maintains will do')
    .addOption(
      new Option('-o, --output <format>', 'how to print')
        .choices(['text', 'json', 'markdown', 'html'])
        .default('text'),
    )
    .addHelpText('after', '\nExit codes: 0 advice; 1 nobody meets all requirements; 2 bad answers.');
}

async function run(options: Record<string, unknown>): Promise<ExitCode> {
  const facts = readFacts();
  const paths = listOption(options, 'audit');
  if (paths.length > 0) {
    const found = auditFiles(facts, paths);
    write(options, found, auditDocument(facts, found));
    return EXIT.ok;
  }
  const answers = await answer(options, facts);
  if (options['capacity'] === true) {
    const lines = capacityOf(queryOf(options, answers));
    write(options, lines, capacityDocument(facts, lines));
    return EXIT.ok;
  }
  return advise(options, withLimits(facts, answers), answers);
}

function flagOf(topic: string): string {
  return topic.replaceAll(/[A-Z]+/g, (upper) => `-${upper.toLowerCase()}`);
}

function advise(options: Record<string, unknown>, facts: Facts, answers: Answers): ExitCode {
  const advice = adviseOn(facts, answers);
  const report = reportOf(facts, advice, nextOf(facts, answers, advice.choice));
  write(options, report, documentOf(report, settingsText(report)));
  return report.ranked.length === 0 ? EXIT.found : EXIT.ok;
}

const WRITERS = { text: renderText, markdown: renderMarkdown, html: renderHtml } as const;

function write(options: Record<string, unknown>, value: unknown, blocks: readonly Block[]): void {
  const format = options['output'] as 'json' | keyof typeof WRITERS;
  console.log(format === 'json' ? JSON.stringify(value, undefined, 2) : WRITERS[format](blocks));
}

/** Unless said otherwise, a /16 in subnets of /24. */
function queryOf(options: Record<string, unknown>, answers: Answers): CapacityQuery {
  const number = (name: string): number | undefined => {
    const text = textOption(options, name);
    if (text === undefined) return undefined;
    const value = Number(text);
    if (!Number.isFinite(value) || value < 0)
      throw new Fault('request-invalid', `--${name} must be a number`);
    return value;
  };
  const { instance, nodes, podsPerNode, platform } = answers;
  return {
    rangeLength: number('range') ?? 16,
    subnetLength: number('subnet') ?? 24,
    daemonSets: number('daemonsets') ?? 0,
    price: number('price'),
    nodes,
    podsPerNode,
    platform,
    instance: instance === undefined ? undefined : limitsOf(instance),
  };
}

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
  return instance === undefined ? facts : withInstance(facts, limitsOf(instance));
}

function limitsOf(instance: string): InstanceLimits {
  const limits = readInstances().get(instance);
  if (limits !== undefined) return limits;
  const problems = [{ path: 'instance', message: `no instance type is called ${instance}` }];
  throw new Fault('request-invalid', 'the answers are not usable', { problems });
}
