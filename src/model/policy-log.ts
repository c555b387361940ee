/** What the tables of policy write in front of packets that they tell of (NFLOG), and what it says. */
import { type Direction, DIRECTIONS } from './policy.ts';

/** `audit`: denied, but let pass as the node only audits; `staged`: denied if the staged policies were in force. */
export type DenialKind = 'denied' | 'audit' | 'staged';
const KINDS: readonly DenialKind[] = ['denied', 'audit', 'staged'];

/** Without a direction: of packets that a chain of a program denied, which does not know for which end it was asked. */
export type DenialMark = { readonly kind: DenialKind; readonly direction?: Direction };

/** `rule`: a rule with action `log` matched; PolicyProgram.logs says which by the text. */
export type LogMark = DenialMark | { readonly kind: 'rule'; readonly text: string };

const WORD = 'tartan';

/** `tartan denied egress`. */
export function formatDenial({ kind, direction }: DenialMark): string {
  return [WORD, kind, ...(direction === undefined ? [] : [direction])].join(' ');
}

/** Undefined: somebody else's. */
export function parseLogPrefix(text: string): LogMark | undefined {
  const [word, second = '', third, ...more] = text.trim().split(' ');
  if (word !== WORD || more.length > 0) return undefined;
  if (/^\d+$/.test(second) && third === undefined) return { kind: 'rule', text: `${WORD} ${second}` };
  const kind = KINDS.find((each) => each === second);
  const direction = DIRECTIONS.find((each) => each === third);
  if (kind === undefined || (third !== undefined && direction === undefined)) return undefined;
  return { kind, ...(direction === undefined ? {} : { direction }) };
}
