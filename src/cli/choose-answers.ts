/** Where the answers of `tartan choose` come from: a file, flags, this host, and the terminal; the former over the latter. */
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';
import { type Answers, type Known, parseAnswers, QUESTIONS } from '#advisor/choose/answers.ts';
import { joinSeen, type Seen, seenOnHost } from '#advisor/choose/seen.ts';
import { seenInApi } from '#advisor/choose/seen-api.ts';
import type { Facts } from '#advisor/facts/facts.ts';
import { Fault } from '#model/fault.ts';
import type { HostFacts } from '#model/facts.ts';
import { readCluster } from './choose-cluster.ts';
import { lookAround } from './choose-host.ts';
import { ask, valueOf } from './choose-questions.ts';
import { readInstances } from './facts-files.ts';
import { textOption } from './options.ts';
import { warn } from './policy-source.ts';
import type { Doors } from './program.ts';

type Options = Record<string, unknown>;

export type AnswerDoors = Pick<Doors, 'facts' | 'everything'>;

export type Answered = {
  readonly answers: Answers;
  /** Of those that were seen: how. */
  readonly seen: Seen['how'];
};

export function flagOf(topic: string): string {
  return topic.replaceAll(/[A-Z]+/g, (upper) => `-${upper.toLowerCase()}`);
}

/** Throws Fault `request-invalid` with everything that is wrong with them. */
export async function answer(options: Options, facts: Facts, doors: AnswerDoors): Promise<Answered> {
  const file = textOption(options, 'answers');
  const flags = answersOfFlags(options);
  const asks = file === undefined && Object.keys(flags).length === 0 && process.stdin.isTTY;
  const seen = await see(options, asks, doors);
  const given = { ...(file === undefined ? {} : fieldsOf(file)), ...flags };
  const known: Known = {
    providers: facts.candidates.map(({ id }) => id),
    instances: new Set(readInstances().keys()),
  };
  const answers = parseAnswers({ ...seen.answers, ...given }, known);
  const how = Object.fromEntries(Object.entries(seen.how).filter(([topic]) => !Object.hasOwn(given, topic)));
  if (!asks) return { answers, seen: how };
  const all = parseAnswers(await ask(answers, how, known), known);
  console.error(`Without questions: tartan choose ${flagsFor(options, all, how).join(' ')}\n`);
  return { answers: all, seen: how };
}

/** What was asked, as flags; what was seen is seen again. */
function flagsFor(options: Options, answers: Answers, seen: Seen['how']): string[] {
  const asked = QUESTIONS.filter(({ topic }) => answers[topic] !== undefined && seen[topic] === undefined);
  const flags = asked.map(({ topic }) => `--${flagOf(topic)} ${[answers[topic]].flat().join(',')}`);
  const places = [options['cluster'] === true && '--cluster', Object.keys(seen).length > 0 && '--host'];
  return [...flags, ...places.filter((place) => place !== false)];
}

/** Asked on a terminal, the host is looked at unless it is not to be; else only when it is. */
async function see(options: Options, asks: boolean, doors: AnswerDoors): Promise<Seen> {
  const saved = textOption(options, 'facts');
  const looks = options['host'] ?? (asks && saved === undefined);
  return joinSeen(
    ...(looks === true ? [await lookAround(options, doors)] : []),
    ...(options['cluster'] === true ? [await seeCluster(options, doors)] : []),
    ...(saved === undefined ? [] : [seenOnHost(fieldsOf(saved) as unknown as HostFacts)]),
  );
}

async function seeCluster(options: Options, doors: AnswerDoors): Promise<Seen> {
  const { manifests, problems } = await readCluster(options, doors);
  warn(problems);
  return seenInApi(manifests);
}

function answersOfFlags(options: Options): Record<string, unknown> {
  const flags: Record<string, unknown> = {};
  for (const question of QUESTIONS) {
    const key = flagOf(question.topic).replaceAll(/-(.)/g, (_, letter: string) => letter.toUpperCase());
    const line = textOption(options, key);
    if (line !== undefined) flags[question.topic] = valueOf(question, line);
  }
  if (options['unmaintained'] === true) flags['unmaintained'] = true;
  return flags;
}

/** A file that holds fields, as YAML or JSON; `-` is standard input. */
export function fieldsOf(file: string): Record<string, unknown> {
  const value = readYaml(file);
  if (typeof value === 'object' && !Array.isArray(value)) return value as Record<string, unknown>;
  throw new Fault('request-invalid', `cannot read ${file}: it holds no fields, as “nodes: 12”`);
}

function readYaml(file: string): unknown {
  try {
    return parse(readFileSync(file === '-' ? 0 : file, 'utf8')) ?? {};
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Fault('request-invalid', `cannot read ${file}: ${why}`, { cause });
  }
}
