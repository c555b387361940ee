/**
 * `tartan choose`: which provider, with evidence; and beside it what manifests would become (--audit), how much fits
 * (--capacity), how fast this host’s roads are (--measure), and everything as a page (--page). Exit code 1 when nobody meets
 * all requirements.
 */
import { type Command, Option } from 'commander';
import { stringify } from 'yaml';
import { adviseOn } from '#advisor/choose/advice.ts';
import { type Answers, QUESTIONS } from '#advisor/choose/answers.ts';
import { type Block, documentOf, renderHtml, renderMarkdown, renderText } from '#advisor/choose/document.ts';
import { nextOf } from '#advisor/choose/next.ts';
import { type Report, reportOf } from '#advisor/choose/report.ts';
import { capacityOf, type CapacityQuery, withInstance } from '#advisor/capacity/capacity.ts';
import { asOf, type Facts } from '#advisor/facts/facts.ts';
import { Fault, type Problem, toFault } from '#model/fault.ts';
import { answer, type Answered, flagOf } from './choose-answers.ts';
import { auditDocument, auditSources, capacityDocument } from './choose-audit.ts';
import { measure, readMeasured } from './choose-measure.ts';
import { writePage } from './choose-page.ts';
import { readFacts, readInstances } from './facts-files.ts';
import { textOption, withAgent } from './options.ts';
import { EXIT, type ExitCode } from './output.ts';
import type { Doors, Make } from './program.ts';

type Options = Record<string, unknown>;
type ChooseDoors = Pick<Doors, 'facts' | 'measure' | 'everything'>;

export function chooseCommand(make: Make, doors: ChooseDoors): Command {
  const command = withAgent(make('choose', (options) => run(options, doors)));
  for (const { topic, ask: text, words, many } of QUESTIONS) {
    const choices = words === undefined ? '' : `: ${words.join(', ')}`;
    command.option(
      `--${flagOf(topic)} <${many === true ? 'words' : 'value'}>`,
      `${text.toLowerCase()}${choices}`,
    );
  }
  return withOther(withSources(command))
    .description('which network provider fits, with evidence')
    .addOption(
      new Option('-o, --output <format>', 'how to print')
        .choices(['text', 'json', 'markdown', 'html'])
        .default('text'),
    )
    .addHelpText('after', '\nExit codes: 0 advice; 1 nobody meets all requirements; 2 bad answers.');
}

function withSources(command: Command): Command {
  return command
    .option('--unmaintained', 'providers that nobody maintains will do')
    .option(
      '--answers <file>',
      'answers as YAML (docs/guide/choose.md), - for standard input; nothing is asked',
    )
    .option(
      '--facts <file>',
      'what doctor saw on a host (host facts of a support bundle): answers some questions',
    )
    .option('--host', 'let this host and its agent answer what they can, also where nothing is asked')
    .option('--cluster', 'let the API server that kubectl would ask answer what it can')
    .option('--no-host', 'do not look at this host: the cluster is elsewhere')
    .option('--measured <file>', 'what --measure -o json told: settings then name the road that was fastest')
    .option('--as-of <day>', 'advise by what was known on a day: YYYY, YYYY-MM or YYYY-MM-DD');
}

function withOther(command: Command): Command {
  return command
    .option('--page <directory>', 'write the matrix of all facts as a page that works from a file')
    .option(
      '--audit <path...>',
      'what each provider would make of the manifests in these files and directories; `cluster`: of the API server’s objects',
    )
    .option('--capacity', 'how many nodes and pods fit, in place of advice')
    .option('--range <bits>', 'for --capacity: length of the cluster’s IPv4 range (default: 16)')
    .option('--subnet <bits>', 'for --capacity: length of a node’s subnet (default: 24)')
    .option('--daemonsets <number>', 'for --capacity: pods of DaemonSets on every node')
    .option('--price <amount>', 'for --capacity: price of a node in a month')
    .option('--measure', 'measure every road that this host supports beside a bare path (root; minutes)')
    .option('--roads <words>', 'for --measure: these alone')
    .option('--rounds <number>', 'for --measure: pairs of runs of each figure', '5')
    .option('--run-ms <number>', 'for --measure: length of one run, in milliseconds', '400')
    .option('--policy-counts <numbers>', 'for --measure: with so many policies', '0,1000');
}

async function run(options: Options, doors: ChooseDoors): Promise<ExitCode> {
  const facts = factsOf(options);
  const page = textOption(options, 'page');
  if (page !== undefined) {
    console.log(writePage(facts, page));
    return EXIT.ok;
  }
  if (options['measure'] === true) {
    const { value, blocks, html } = await measure(options, doors);
    write(options, value, blocks, html);
    return EXIT.ok;
  }
  if (options['audit'] !== undefined) {
    const found = await auditSources(facts, options, doors);
    write(options, found, auditDocument(facts, found));
    return EXIT.ok;
  }
  const given = await answerAll(options, facts, doors);
  if (options['capacity'] !== true) return advise(options, withLimits(facts, given.answers), given);
  const lines = capacityOf(queryOf(options, given.answers));
  write(options, lines, capacityDocument(facts, lines));
  return EXIT.ok;
}

function factsOf(options: Options): Facts {
  const day = textOption(options, 'asOf');
  if (day === undefined) return readFacts();
  if (/^\d{4}(?:-\d{2}){0,2}$/.test(day)) return asOf(readFacts(), day);
  throw new Fault('request-invalid', `--as-of must be YYYY, YYYY-MM or YYYY-MM-DD, not ${day}`);
}

function advise(options: Options, facts: Facts, { answers, seen }: Answered): ExitCode {
  const advice = adviseOn(facts, answers);
  const next = nextOf(facts, answers, advice.choice, readMeasured(options));
  const report = reportOf(facts, advice, next, { seen, asOf: textOption(options, 'asOf') });
  write(options, report, documentOf(report, settingsText(report)));
  return report.ranked.length === 0 ? EXIT.found : EXIT.ok;
}

const WRITERS = { text: renderText, markdown: renderMarkdown, html: renderHtml } as const;

/** `html`: in place of what is made of the blocks. */
function write(options: Options, value: unknown, blocks: readonly Block[], html?: string): void {
  const format = options['output'] as 'json' | keyof typeof WRITERS;
  if (format === 'json') console.log(JSON.stringify(value, undefined, 2));
  else console.log((format === 'html' ? html : undefined) ?? WRITERS[format](blocks));
}

/** What --capacity counts with, and what it may be. */
const CAPACITY_NUMBERS = {
  range: { otherwise: 16, most: 32 },
  subnet: { otherwise: 24, most: 32 },
  daemonsets: { otherwise: 0, most: Infinity },
  price: { otherwise: undefined, most: Infinity },
} as const;
type CapacityNumber = keyof typeof CAPACITY_NUMBERS;

function capacityNumber(options: Options, name: CapacityNumber): number | undefined {
  const text = textOption(options, name);
  return text === undefined ? CAPACITY_NUMBERS[name].otherwise : Number(text);
}

function capacityProblems(options: Options): Problem[] {
  return (Object.keys(CAPACITY_NUMBERS) as CapacityNumber[]).flatMap((name) => {
    const [value = 0, { most }] = [capacityNumber(options, name), CAPACITY_NUMBERS[name]];
    const message = most === Infinity ? 'must be a number from 0' : `must be a number from 0 to ${most}`;
    return value >= 0 && value <= most ? [] : [{ path: `--${name}`, message }];
  });
}

/** Throws Fault with all that is wrong with answers and numbers. */
async function answerAll(options: Options, facts: Facts, doors: ChooseDoors): Promise<Answered> {
  const wrong = capacityProblems(options);
  const given = await answer(options, facts, doors).catch((error: unknown) => {
    const { code, message, problems } = toFault(error);
    throw new Fault(code, message, { problems: [...problems, ...wrong], cause: error });
  });
  if (wrong.length === 0) return given;
  throw new Fault('request-invalid', 'the capacity cannot be counted', { problems: wrong });
}

function queryOf(options: Options, answers: Answers): CapacityQuery {
  const { instance, nodes, podsPerNode, platform } = answers;
  return {
    rangeLength: capacityNumber(options, 'range') ?? 0,
    subnetLength: capacityNumber(options, 'subnet') ?? 0,
    daemonSets: capacityNumber(options, 'daemonsets') ?? 0,
    price: capacityNumber(options, 'price'),
    nodes,
    podsPerNode,
    platform,
    instance: instance === undefined ? undefined : readInstances().get(instance),
  };
}

function settingsText({ tartan }: Report): string | undefined {
  return tartan === undefined ? undefined : stringify(tartan.settings);
}

function withLimits(facts: Facts, { instance }: Answers): Facts {
  const limits = instance === undefined ? undefined : readInstances().get(instance);
  return limits === undefined ? facts : withInstance(facts, limits);
}
