/** The questions of `tartan choose` on a terminal: what is answered already is not asked, and Enter leaves a question open. */
import { createInterface } from 'node:readline/promises';
import { type Answers, answersSchema, type Question, QUESTIONS } from '#advisor/choose/answers.ts';
import { Fault } from '#model/fault.ts';

const NUMBERS = new Set(['nodes', 'podsPerNode', 'memory']);

/** The end of input leaves the rest open; Ctrl-C throws Fault `request-invalid`. */
export async function ask(known: Answers): Promise<Answers> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  const ended = new AbortController();
  terminal.once('close', () => ended.abort());
  const put = async (text: string): Promise<string> => {
    if (ended.signal.aborted) return '';
    return terminal.question(text, { signal: ended.signal }).catch((error: unknown) => {
      if (error instanceof Error && error.message.includes('Ctrl+C'))
        throw new Fault('request-invalid', 'interrupted: nothing was chosen');
      return '';
    });
  };
  try {
    let answers = known;
    for (const question of QUESTIONS.filter(({ topic }) => isOpen(topic, known))) {
      if (question.topic === 'instance' && answers.platform !== 'aws') continue;
      answers = await askOne(question, answers, put);
    }
    return answers;
  } finally {
    terminal.close();
  }
}

function isOpen(topic: Question['topic'], known: Answers): boolean {
  return known[topic] === undefined;
}

async function askOne(
  question: Question,
  answers: Answers,
  put: (text: string) => Promise<string>,
): Promise<Answers> {
  const { topic, words, many } = question;
  const choices =
    words === undefined ? '' : ` (${words.join(', ')}${many === true ? '; several with commas' : ''})`;
  for (;;) {
    const line = (await put(`${question.ask}${choices}\n> `)).trim();
    if (line === '') return answers;
    const parsed = answersSchema.safeParse({ ...answers, [topic]: valueOf(question, line) });
    if (parsed.success) return parsed.data;
    console.error(parsed.error.issues.map(({ message }) => message).join('\n'));
  }
}

export function valueOf({ topic, many }: Pick<Question, 'topic' | 'many'>, line: string): unknown {
  if (many === true) return line.split(/[\s,]+/).filter((word) => word !== '');
  return NUMBERS.has(topic) ? Number(line) : line;
}
