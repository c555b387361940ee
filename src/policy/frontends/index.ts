/** The kinds of policy that there are, and texts with objects of any of them. */
import type { Problem } from '#model/fault.ts';
import { adminNetworkPolicy, baselineAdminNetworkPolicy } from './admin-network-policy.ts';
import { clusterNetworkPolicy } from './cluster-network-policy.ts';
import { type Frontend, type FrontendOptions, type Parsed, problemAt } from './frontend.ts';
import { type Manifest, readManifests } from './manifest.ts';
import { networkPolicy } from './network-policy.ts';
import { isFields } from './shapes.ts';

export const FRONTENDS: readonly Frontend[] = [
  networkPolicy,
  clusterNetworkPolicy,
  adminNetworkPolicy,
  baselineAdminNetworkPolicy,
];

const DEFAULTS: FrontendOptions = { domainNames: false };

/** One object. Never throws: what is wrong with it is told in `problems`, and then it has no policies. */
export function parsePolicy(manifest: Manifest, options: FrontendOptions = DEFAULTS): Parsed {
  const { apiVersion, kind } = isFields(manifest.value) ? manifest.value : {};
  const frontend = FRONTENDS.find((each) => each.kind === kind && each.apiVersion === apiVersion);
  if (frontend !== undefined) return frontend.parse(manifest, options);
  return { policies: [], warnings: [], problems: [unknownKind(manifest, kind)] };
}

/** All objects of a YAML text, each by itself: those that are right give policies whatever is wrong with others. */
export function parsePolicies(source: string, text: string, options: FrontendOptions = DEFAULTS): Parsed {
  const { manifests, problems } = readManifests(source, text);
  const parsed = manifests.map((manifest) => parsePolicy(manifest, options));
  return {
    policies: parsed.flatMap((each) => each.policies),
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
  const known = FRONTENDS.map((each) => each.kind).join(', ');
  return problemAt(manifest, ['kind'], `must be one of ${known}${given}`);
}
