/** A claim on a subnet as an operator writes it: a reservation. */
import type { Problem } from '#model/fault.ts';
import { parsePrefix } from '#net/prefix.ts';
import { claimName } from './subnet.ts';

/** All that is wrong with an object if it is a SubnetClaim of tartan.dev, each at `origin path`. */
export function claimProblems(object: Readonly<Record<string, unknown>>, origin: string): Problem[] {
  const { apiVersion, kind, metadata, spec } = object;
  if (kind !== 'SubnetClaim' || typeof apiVersion !== 'string' || !apiVersion.startsWith('tartan.dev/'))
    return [];
  const { node, subnet, reserved } = fieldsOf(spec);
  const problems: Problem[] = [];
  const say = (path: string, message: string): number =>
    problems.push({ path: `${origin} ${path}`, message });
  if (typeof node !== 'string' || node === '') say('spec.node', 'must be the name of a node');
  if (typeof reserved !== 'boolean')
    say('spec.reserved', 'must be true or false; without true the claim is its node’s');
  const prefix = typeof subnet === 'string' ? parsePrefix(subnet) : undefined;
  if (prefix === undefined) say('spec.subnet', 'must be a prefix with no host bits set');
  else if (fieldsOf(metadata)['name'] !== claimName(prefix))
    say('metadata.name', `must be ${claimName(prefix)}, as it is the claim on ${prefix}`);
  return problems;
}

function fieldsOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
}
