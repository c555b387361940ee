/**
 * How a cluster changes its road: which way each node takes in a phase, when the next phase may begin, and the way back.
 * Every node comes to the same answers from the same objects, so whoever is there first takes the next step.
 */
import type { Way } from '#model/road.ts';
import {
  type RoadSpec,
  type RoadSwitch,
  sameSpec,
  type SwitchPhase,
  SWITCH_PHASES,
} from '#model/road-switch.ts';
import type { NodeAdvert } from '#model/world.ts';

/** Roads of a node during the change: the first is sent by. */
export function waysDuring(change: RoadSwitch, wayOf: (spec: RoadSpec) => Way): Way[] {
  const { from, to, phase } = change;
  if (phase === 'accept') return [wayOf(from), wayOf(to)];
  return phase === 'move' ? [wayOf(to), wayOf(from)] : [wayOf(to)];
}

/** From where each phase turns round: what is half done is undone, what is wholly done is done the other way. */
const BACK: Readonly<Record<SwitchPhase, SwitchPhase>> = {
  accept: 'remove',
  move: 'move',
  remove: 'accept',
  done: 'accept',
};

/** The change that leads back to where this one came from. */
export function turnBack({ generation, from, to, phase, without }: RoadSwitch): RoadSwitch {
  return { generation: generation + 1, from: to, to: from, phase: BACK[phase], without };
}

/** A node that keeps the others from going on, and why. */
export type Hold = { readonly node: string; readonly why: string; readonly failed: boolean };

/** Empty: all nodes have reached the phase. */
export function holdsOf(change: RoadSwitch, nodes: Iterable<NodeAdvert>): Hold[] {
  const holds: Hold[] = [];
  for (const node of nodes) {
    const hold = change.without.includes(node.name) ? undefined : holdOf(change, node);
    if (hold !== undefined) holds.push(hold);
  }
  return holds.sort((a, b) => (a.node < b.node ? -1 : 1));
}

function holdOf(
  { generation, phase }: RoadSwitch,
  { name, accepts, progress }: NodeAdvert,
): Hold | undefined {
  const waits = (why: string): Hold => ({ node: name, why, failed: false });
  if (accepts === undefined) return waits('its agent is of a version that cannot change roads');
  if (progress?.generation !== generation || progress.phase !== phase)
    return waits('its agent has not said that it knows of this: is it running?');
  if (progress.state === 'reached') return undefined;
  return { node: name, why: progress.why ?? '', failed: progress.state === 'failed' };
}

/** The next phase, if all have reached this one. */
export function advance(change: RoadSwitch, nodes: Iterable<NodeAdvert>): RoadSwitch | undefined {
  const next = SWITCH_PHASES[SWITCH_PHASES.indexOf(change.phase) + 1];
  return next === undefined || holdsOf(change, nodes).length > 0 ? undefined : { ...change, phase: next };
}

/** The settings of all nodes say what was changed to: they rule again. */
export function isSettled({ phase, to }: RoadSwitch, nodes: Iterable<NodeAdvert>): boolean {
  return (
    phase === 'done' &&
    [...nodes].every(({ configured }) => configured !== undefined && sameSpec(configured, to))
  );
}
