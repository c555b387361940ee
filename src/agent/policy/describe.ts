/** What a status says of policies. */
import type { PoliciesOptions } from './options.ts';
import type { Policies } from './policies.ts';
import type { PolicyStatus } from '#api/status.ts';

export function describePolicies(
  policies: Pick<Policies, 'view' | 'program' | 'table' | 'braked'>,
  options: Pick<PoliciesOptions, 'settings' | 'names'>,
): PolicyStatus {
  const { book, problems } = policies.view();
  const { braked } = policies;
  const names = options.names?.status();
  return {
    audit: options.settings.policy.audit,
    policies: book.enforced.reduce((sum, each) => sum + each.policies.length, 0),
    entries: policies.program().entries.size,
    owned: policies.table.isOwned(),
    problems: [...problems],
    ...(names === undefined ? {} : { names }),
    ...(braked === undefined
      ? {}
      : {
          braked: `${braked.removals} of ${braked.of} objects vanished at once; tartan resume agrees to it`,
        }),
  };
}
