/** What the agent answers about policy (#api/policy.ts). */
import type { Policies } from './policies.ts';
import type { KernelOpinions, OpinionRequest } from '#api/policy.ts';
import type { PolicySnapshot } from '#model/policy-snapshot.ts';
import type { Settings } from '#model/settings.ts';
import { Fault } from '#model/fault.ts';
import { diffProgram, isEmptyDelta } from '#policy/compile/diff.ts';
import { simulate } from '#policy/compile/simulate.ts';

/** Throws Fault `request-invalid` where policy is off: there is nothing to tell. */
export function policySnapshot(policies: Policies | undefined): PolicySnapshot {
  if (policies !== undefined) return policies.inputs.snapshot();
  throw new Fault('request-invalid', 'this node enforces no policies: policy.enforce is false', {
    problems: [{ path: 'policy.enforce', message: 'is false' }],
  });
}

/** Dumps the table, which takes a tenth of a second for tens of thousands of entries. */
export function policyOpinion(
  policies: Policies | undefined,
  { node, policy }: Settings,
  { flow }: OpinionRequest,
): KernelOpinions {
  const about = { node: node.name, enforces: policies !== undefined, audit: policy.audit };
  if (policies === undefined) return { ...about, intact: false, loadedProgramAgrees: false, opinions: [] };
  const { program, counts, intact } = policies.table.dumpPolicy();
  const delta = diffProgram(program, policies.program());
  const opinions = simulate(program, flow, { node: node.name }).opinions.map((opinion) => {
    const { direction, action, at, entry, rule } = opinion;
    const count = entry === undefined ? undefined : counts.get(entry);
    return {
      direction,
      action,
      ...(at === undefined ? {} : { at }),
      ...(entry === undefined ? {} : { entry }),
      ...(rule === undefined ? {} : { rule }),
      ...(count === undefined ? {} : { packets: Number(count.packets), bytes: Number(count.bytes) }),
    };
  });
  return { ...about, intact, loadedProgramAgrees: delta !== undefined && isEmptyDelta(delta), opinions };
}
