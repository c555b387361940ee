/** What concerns several settings of the store at once. */
import type { Checked, Wrong } from './cross-checks.ts';
import type { RawSettings } from './schema.ts';

export function checkStore({ store: { type, etcd } }: RawSettings): Checked {
  if (type !== 'etcd') return { errors: [], warnings: [] };
  return {
    errors: [...checkPair(etcd, 'user', 'passwordFile'), ...checkPair(etcd, 'certFile', 'keyFile')],
    warnings: warnPlain(etcd),
  };
}

type Etcd = RawSettings['store']['etcd'];
type Pair = 'user' | 'passwordFile' | 'certFile' | 'keyFile';

/** One says nothing without the other. */
function checkPair(etcd: Etcd, one: Pair, other: Pair): Wrong[] {
  if ((etcd[one] === undefined) === (etcd[other] === undefined)) return [];
  const [missing, given] = etcd[one] === undefined ? [one, other] : [other, one];
  return [{ path: ['store', 'etcd', missing], message: `is missing: store.etcd.${given} needs it` }];
}

function warnPlain({ endpoints, user, certFile, caFile }: Etcd): Wrong[] {
  const isSecret = [user, certFile, caFile].some((setting) => setting !== undefined);
  if (!isSecret || !endpoints.some((endpoint) => endpoint.startsWith('http:'))) return [];
  const message = 'has http:// where secrets are used: they, and all that nodes say, can be read on the way';
  return [{ path: ['store', 'etcd', 'endpoints'], message }];
}
