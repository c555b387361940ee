/**
 * The questions of `tartan choose` on a terminal: what is answered already is not asked but told, Enter leaves a question
 * open, and an answer that cannot be used is asked for again.
 */
import { createInterface } from 'node:readline/promises';
import { type Answers, type Known, parseAnswers, type Question, QUESTIONS } from '#advisor/choose/answers.ts';
import { Fault, toFault } from '#model/fault.ts';

const NUMBERS = new Set(['nodes', 'podsPerNode', 'memory']);

type Put = (text: string) => Promise<string>;

/** `how`: of what is answered because it was seen. The end of input leaves the rest open; Ctrl-C throws Fault `request-invalid`. */
export async function ask(
  answered: Answers,
  how: Readonly<Record<string, string>>,
  known: Known,
): Promise<Answers> {
  for (const [topic, why] of Object.entries(how))
    console.error(`${topic}: ${showAnswer(answered[topic as keyof Answers])} (${why})`);
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const ended = new AbortController();
  let isInterrupted = false;
  terminal.once('close', () => ended.abort());
  terminal.once('SIGINT', () => {
    isInterrupted = true;
    terminal.close();
  });
  const put: Put = async (text) => {
    if (ended.signal.aborted) return '';
    const line = await terminal.question(text, { signal: ended.signal }).catch(() => '');
    if (isInterrupted) throw new Fault('request-invalid', 'interrupted: nothing was chosen');
    return line;
  };
  try {
    return await askAll(answered, known, put);
  } finally {
    terminal.close();
  }
}

async function askAll(answered: Answers, known: Known, put: Put): Promise<Answers> {
  const open = QUESTIONS.filter(({ topic }) => answered[topic] === undefined);
  let answers = answered;
  for (const [index, question] of open.entries()) {
    if (question.topic === 'instance' && answers.platform !== 'aws') continue;
    answers = await askOne({ question, place: `${index + 1}/${open.length}` }, answers, known, put);
  }
  return answers;
}

type Asked = { readonly question: Question; readonly place: string };

async function askOne(
  { question, place }: Asked,
  answers: Answers,
  known: Known,
  put: Put,
): Promise<Answers> {
  const { topic, ask: text, words, many } = question;
  const choices =
    words === undefined ? '' : `\n  ${words.join(', ')}${many === true ? '  (several with commas)' : ''}`;
  for (;;) {
    const line = (await put(`${place} ${text}${choices}\n> `)).trim();
    if (line === '') return answers;
    try {
      return parseAnswers({ ...answers, [topic]: valueOf(question, line) }, known);
    } catch (error) {
      const { problems } = toFault(error);
      console.error(problems.map(({ message }) => `  ${message}`).join('\n'));
    }
  }
}

function showAnswer(answer: Answers[keyof Answers]): string {
  return Array.isArray(answer) ? answer.join(', ') || 'none' : String(answer);
}

export function valueOf({ topic, many }: Pick<Question, 'topic' | 'many'>, line: string): unknown {
  if (many === true) return line.split(/[\s,]+/).filter((word) => word !== '');
  return NUMBERS.has(topic) ? Number(line) : line;
}
