/**
 * Objects of stores, read one by one: policies and what goes with them by their frontends, kinds of Kubernetes itself here.
 * Other kinds say nothing about traffic, but for those that claim to: they are problems, as nobody enforces them.
 */
import type { Problem } from '#model/fault.ts';
import { type Manifest, manifestOf, originOf } from '#model/manifest.ts';
import type { Tier } from '#model/policy.ts';
import { policyName } from '../book.ts';
import { formatOrigin } from '#model/manifest.ts';
import { FRONTENDS, parseObject } from '../frontends/index.ts';
import type { Objects } from '../frontends/frontend.ts';
import { isFields } from '#model/manifest-shapes.ts';
import { objectName } from '../gather.ts';
import type { CoreKind } from './core-kind.ts';
import { clusterKinds } from './core-kinds.ts';
import { serviceKinds } from './service-kinds.ts';
import type { Thing } from './things.ts';

export const CORE_KINDS: readonly CoreKind[] = [...clusterKinds, ...serviceKinds];

export type Reading = {
  readonly things: readonly Thing[];
  /** With any of these there are no things. */
  readonly problems: readonly Problem[];
  readonly warnings: readonly Problem[];
  /** Says nothing about traffic: what it is, for the reader. */
  readonly stranger?: string;
  /** What of the manifest has to be remembered to read the same again. */
  readonly kept: Manifest;
};

export function readObject(manifest: Manifest, defaultNamespace: string): Reading {
  const { apiVersion, kind } = isFields(manifest.value) ? manifest.value : {};
  if (typeof kind === 'string' && typeof apiVersion === 'string') {
    const isThis = (each: Head): boolean =>
      each.kind === kind && groupOf(each.apiVersion) === groupOf(apiVersion);
    const core = CORE_KINDS.find(isThis);
    if (core !== undefined) return readCore(core, manifest, defaultNamespace);
    if (!FRONTENDS.some(isThis) && !kind.endsWith('NetworkPolicy')) {
      const kept = manifestOf(manifest.source, { apiVersion, kind });
      return { things: [], problems: [], warnings: [], stranger: `${kind} of ${apiVersion}`, kept };
    }
  }
  const { problems, warnings, ...objects } = parseObject(manifest);
  return { things: thingsOf(objects), problems, warnings, kept: manifest };
}

type Head = { readonly apiVersion: string; readonly kind: string };

function readCore(core: CoreKind, manifest: Manifest, defaultNamespace: string): Reading {
  const { thing, problems, kept } = core.read(manifest, defaultNamespace);
  return { things: thing === undefined ? [] : [thing], problems, warnings: [], kept };
}

function groupOf(apiVersion: string): string {
  return apiVersion.includes('/') ? apiVersion.slice(0, apiVersion.indexOf('/')) : '';
}

function thingsOf({ policies, tiers, profiles, endpoints }: Objects): Thing[] {
  return [
    ...policies.map((value) => ({ kind: 'policy', title: policyName(value), value }) as const),
    ...tiers.map((value) => ({ kind: 'tier', title: `Tier ${value.name}`, value }) as const),
    ...profiles.map((value) => ({ kind: 'profile', title: `Profile ${value.name}`, value }) as const),
    ...endpoints.map((value) => ({ kind: 'endpoint', title: objectName(value), value }) as const),
  ];
}

/** The tier as its object. */
export function writeTier({ name, order, defaultAction }: Tier): Manifest {
  const spec = {
    ...(order === Infinity ? {} : { order }),
    defaultAction: defaultAction === 'pass' ? 'Pass' : 'Deny',
  };
  return manifestOf('', { apiVersion: 'projectcalico.org/v3', kind: 'Tier', metadata: { name }, spec });
}

/** File and line, as problems show them. */
export function originText(manifest: Manifest): string {
  return formatOrigin(originOf(manifest, []));
}

/** As stores name objects: `apiVersion/kind/[namespace/]name`. */
export function manifestName(manifest: Manifest): string {
  const { value } = manifest;
  if (!isFields(value) || !isFields(value['metadata'])) return originText(manifest);
  const { apiVersion, kind, metadata } = value;
  const parts = [apiVersion, kind, metadata['namespace'], metadata['name']];
  return parts
    .filter((part) => part !== undefined && part !== null)
    .map(String)
    .join('/');
}
