/** From one program to another: what a data plane has to be told. */
import type { ChainRule, PolicyDelta, PolicyProgram } from '#model/policy-program.ts';

export function isEmptyDelta({ entries, addChains, removeChains }: PolicyDelta): boolean {
  return entries.size === 0 && addChains.size === 0 && removeChains.length === 0;
}

/** Of one entry; undefined: it is not there. */
export function change(was: string | undefined, value: string | undefined): { was?: string; value?: string } {
  return { ...(was === undefined ? {} : { was }), ...(value === undefined ? {} : { value }) };
}

/**
 * The delta that makes `after` of `before`; empty when both say the same. Undefined when a chain is another one under
 * the same name, which no delta can do: then the program has to be loaded as a whole.
 */
export function diffProgram(before: PolicyProgram, after: PolicyProgram): PolicyDelta | undefined {
  const entries = new Map<string, { was?: string; value?: string }>();
  for (const [key, value] of after.entries) {
    const was = before.entries.get(key);
    if (was !== value) entries.set(key, change(was, value));
  }
  for (const [key, was] of before.entries) if (!after.entries.has(key)) entries.set(key, { was });
  const addChains = new Map<string, readonly ChainRule[]>();
  for (const [name, rules] of after.chains) {
    const was = before.chains.get(name);
    if (was === undefined) addChains.set(name, rules);
    else if (JSON.stringify(was) !== JSON.stringify(rules)) return undefined;
  }
  const removeChains = [...before.chains.keys()].filter((name) => !after.chains.has(name));
  return { entries, addChains, removeChains };
}
