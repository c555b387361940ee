/** The cluster's road, and how far its change is, as text for a terminal. */
import type { RoadAnswer } from '#api/road.ts';
import { specText } from '#model/road-switch.ts';

export function isDone({ change }: Pick<RoadAnswer, 'change'>): boolean {
  return change === undefined || change.phase === 'done';
}

/** The first line says all in short. */
export function renderRoad(answer: Omit<RoadAnswer, 'nodes'>): string {
  const { road, configured, change, holds } = answer;
  const lines = [isDone(answer) ? specText(road) : renderChange(change)];
  for (const { node, why, failed } of holds) lines.push(`${failed ? 'failed' : 'waits for'} ${node}: ${why}`);
  if (!isDone(answer) && holds.length > 0)
    lines.push(
      'the agents go on by themselves as soon as they can',
      'tartan switch --back turns round; tartan switch --without NODE does not wait for it',
    );
  if (isDone(answer) && configured !== undefined)
    lines.push(`the settings of this node still say ${specText(configured)}: write ${specText(road)} there`);
  return lines.join('\n');
}

function renderChange(change: RoadAnswer['change']): string {
  if (change === undefined) return '';
  const { from, to, phase } = change;
  return `${specText(from)} → ${specText(to)}: ${phase}`;
}
