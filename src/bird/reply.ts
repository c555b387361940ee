/**
 * BIRD's control protocol (BIRD 2.0 Programmer's Documentation, "Command line interface"): lines `NNNN-text` go on, a line
 * `NNNN text` ends the reply, a line that begins with a blank has the code of the one before, `+text` comes unasked. Codes:
 * 0xxx done, 1xxx tables, 2xxx their heads, 8xxx runtime errors, 9xxx the command is not understood.
 */
export type ReplyLine = { readonly code: number; readonly text: string };
export type Reply = { readonly lines: readonly ReplyLine[]; readonly failed: boolean };

export type ReplyReader = {
  /** Whole replies, in order, that end in what was read now. */
  read(text: string): Reply[];
};

const CODED = /^(\d{4})([ -])(.*)$/;

export function makeReplyReader(): ReplyReader {
  let rest = '';
  let lines: ReplyLine[] = [];
  const readLine = (line: string): Reply | undefined => {
    const [, digits, separator, text = ''] = CODED.exec(line) ?? [];
    const last = lines.at(-1);
    if (digits === undefined) {
      if (line.startsWith(' ') && last !== undefined) lines.push({ code: last.code, text: line.slice(1) });
      return undefined;
    }
    const code = Number(digits);
    lines.push({ code, text });
    if (separator === '-') return undefined;
    const reply = { lines, failed: code >= 8000 };
    lines = [];
    return reply;
  };
  return {
    read: (text) => {
      const [last = '', ...whole] = (rest + text).split('\n').reverse();
      rest = last;
      return whole.reverse().flatMap((line) => readLine(line) ?? []);
    },
  };
}

/** What it says, without codes. */
export function textOf({ lines }: Reply): string {
  return lines
    .map(({ text }) => text)
    .filter((text) => text !== '')
    .join('\n');
}
