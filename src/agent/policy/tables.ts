/** The tables of policies, all of them at once. */
import type { Kernel } from '#kernel/kernel.ts';
import { POLICY_TABLE } from '#model/policy-program.ts';

/** Whoever made them. Answers what is gone. Throws NetlinkError. */
export function removePolicyTables(kernel: Pick<Kernel, 'hasPolicy' | 'openPolicy'>): string[] {
  if (!kernel.hasPolicy()) return [];
  for (const which of ['enforced', 'staged'] as const) {
    const table = kernel.openPolicy({ table: which });
    table.removePolicy();
    table.close();
  }
  return [`table inet ${POLICY_TABLE}`];
}
