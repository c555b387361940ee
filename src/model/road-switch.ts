/**
 * The change of a whole cluster from one road to another, as one object of the store. No packet is lost because a phase
 * begins only when all nodes have reached the one before:
 *
 *     accept    all send by the old road and can be sent to by the new one
 *     move      all send by the new road and can be sent to by the old one
 *     remove    nobody sends by the old road any more: what was made for it goes
 *     done      the new road stands in place of what settings say, until the settings of all nodes say it too
 */
import { ROAD_TYPES, type RoadMode, type RoadType } from './settings.ts';

/** What a node's settings say of its road. */
export type RoadSpec = { readonly type: RoadType; readonly mode: RoadMode };

export const SWITCH_PHASES = ['accept', 'move', 'remove', 'done'] as const;
export type SwitchPhase = (typeof SWITCH_PHASES)[number];

/** Name of the object: a cluster changes its road once at a time. */
export const SWITCH_NAME = 'road';

export type RoadSwitch = {
  /** Grows with each change of mind: what a node says is about one of them. */
  readonly generation: number;
  readonly from: RoadSpec;
  readonly to: RoadSpec;
  readonly phase: SwitchPhase;
  /** Nodes that are not waited for. */
  readonly without: readonly string[];
};

/** How far a node is, told in its advert. `failed`: it needs somebody's help to get on, and tries all the same. */
export type SwitchProgress = {
  readonly generation: number;
  readonly phase: SwitchPhase;
  readonly state: 'reached' | 'waiting' | 'failed';
  /** Unless reached: one sentence. */
  readonly why?: string;
};

export function specText({ type, mode }: RoadSpec): string {
  return mode === 'Always' ? type : `${type} ${mode}`;
}

export function sameSpec(a: RoadSpec, b: RoadSpec): boolean {
  return a.type === b.type && a.mode === b.mode;
}

/** The object of a store as it may have been written by anybody; undefined when it is not one of this form. */
export function readSwitch(value: unknown): RoadSwitch | undefined {
  if (typeof value !== 'object' || value === null) return undefined;
  const { generation, from, to, phase, without } = value as Partial<Record<keyof RoadSwitch, unknown>>;
  const isWhole =
    Number.isSafeInteger(generation) &&
    isSpec(from) &&
    isSpec(to) &&
    SWITCH_PHASES.some((each) => each === phase) &&
    Array.isArray(without) &&
    without.every((name) => typeof name === 'string');
  return isWhole ? (value as RoadSwitch) : undefined;
}

function isSpec(value: unknown): value is RoadSpec {
  if (typeof value !== 'object' || value === null) return false;
  const { type, mode } = value as Partial<Record<keyof RoadSpec, unknown>>;
  return ROAD_TYPES.some((each) => each === type) && (mode === 'Always' || mode === 'CrossSubnet');
}
