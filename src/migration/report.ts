/** What `tartan migrate` tells of a cluster and of the node that it is asked on. */
import type { Problem } from '#model/fault.ts';

export type MigrationReport = {
  /** `none`: nothing of the other provider is on this node. `taken`: all of it is ours, or left behind. */
  readonly state: 'none' | 'due' | 'taken';
  /** What is to be done here, in its order; or was, unless it was a trial. */
  readonly steps: readonly string[];
  /** What stands against it: nothing was changed. */
  readonly problems: readonly Problem[];
  /** What is not taken over, each with the reason. */
  readonly notes: readonly Problem[];
  /** What the other provider leaves on this node, to be removed when all is ours. */
  readonly left: readonly string[];
  readonly isDone: boolean;
  /** From us to the other provider. */
  readonly back?: true;
};

export function renderReport(report: MigrationReport): string {
  const { state, steps, problems, notes, left, isDone, back } = report;
  const list = (title: string, lines: readonly string[]): string[] =>
    lines.length === 0 ? [] : [title, ...lines.map((line) => `  ${line}`)];
  const lines = [
    ...list('what stands against it:', problems.map(textOf)),
    ...list(isDone ? 'done:' : 'to be done:', steps),
    ...list('not taken over:', notes.map(textOf)),
    ...list(isDone ? 'removed:' : 'to be removed, once the agent is ready:', left),
  ];
  if (lines.length > 0) return lines.join('\n');
  if (back === true) return 'nothing on this node is Tartan’s to give back';
  return state === 'none' ? 'nothing of it is on this node' : 'all of it on this node is Tartan’s';
}

function textOf({ path, message }: Problem): string {
  return `${path}: ${message}`;
}
