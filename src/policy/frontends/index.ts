/** The kinds of object that there are, and texts with objects of any of them. */
import type { Problem } from '#model/fault.ts';
import { adminNetworkPolicy, baselineAdminNetworkPolicy } from './admin-network-policy.ts';
import { calicoObjects } from './calico-objects.ts';
import { calicoPolicies } from './calico-policy.ts';
import { clusterNetworkPolicy } from './cluster-network-policy.ts';
import { problemAt } from '#model/manifest-schema.ts';
import { type Frontend, NO_OBJECTS, type Parsed } from './frontend.ts';
import { type Manifest, readManifests } from '#model/manifest.ts';
import { networkPolicy } from './network-policy.ts';
import { isFields } from '#model/manifest-shapes.ts';

export const FRONTENDS: readonly Frontend[] = [
  networkPolicy,
  clusterNetworkPolicy,
  adminNetworkPolicy,
  baselineAdminNetworkPolicy,
  ...calicoPolicies,
  ...calicoObjects,
];

/** One object. Never throws: what is wrong with it is told in `problems`, and then there is nothing else of it. */
export function parseObject(manifest: Manifest): Parsed {
  const { apiVersion, kind } = isFields(manifest.value) ? manifest.value : {};
  const frontend = FRONTENDS.find((each) => each.kind === kind && each.apiVersion === apiVersion);
  if (frontend !== undefined) return frontend.parse(manifest);
  return { ...NO_OBJECTS, warnings: [], problems: [unknownKind(manifest, kind)] };
}

/** All objects of a YAML text, each by itself: those that are right are there whatever is wrong with others. */
export function parseObjects(source: string, text: string): Parsed {
  const { manifests, problems } = readManifests(source, text);
  const parsed = manifests.map(parseObject);
  return {
    policies: parsed.flatMap((each) => each.policies),
    tiers: parsed.flatMap((each) => each.tiers),
    profiles: parsed.flatMap((each) => each.profiles),
    endpoints: parsed.flatMap((each) => each.endpoints),
    problems: [...problems, ...parsed.flatMap((each) => each.problems)],
    warnings: parsed.flatMap((each) => each.warnings),
  };
}

function unknownKind(manifest: Manifest, kind: unknown): Problem {
  if (!isFields(manifest.value)) return problemAt(manifest, [], 'must be an object with apiVersion and kind');
  const versions = FRONTENDS.filter((each) => each.kind === kind).map((each) => each.apiVersion);
  if (versions.length > 0) {
    return problemAt(manifest, ['apiVersion'], `must be ${versions.join(' or ')} for this kind`);
  }
  const given = typeof kind === 'string' ? `, not ${kind}` : '';
  const known = [...new Set(FRONTENDS.map((each) => each.kind))].join(', ');
  return problemAt(manifest, ['kind'], `must be one of ${known}${given}`);
}

/** The names that these had when all kinds were policies. */
export { parseObject as parsePolicy, parseObjects as parsePolicies };
