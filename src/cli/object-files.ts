/** Manifests from files, for `tartan apply` and `delete`, and all that is wrong with them. */
import type { Problem } from '#model/fault.ts';
import { type Manifest, manifestOf, readManifests } from '#model/manifest.ts';
import { isFields } from '#model/manifest-shapes.ts';
import type { StoreObject } from '#model/store-object.ts';
import { claimProblems } from '#ipam/claim-object.ts';
import { createInputs } from '#policy/inputs/inputs.ts';
import { manifestName, originText } from '#policy/inputs/reading.ts';
import { readTexts } from './policy-source.ts';

export type FoundObjects = {
  readonly objects: readonly StoreObject[];
  readonly manifests: ReadonlyMap<string, Manifest>;
  readonly problems: readonly Problem[];
};

/** Throws Fault `request-invalid` when a path cannot be read at all. */
export function readObjects(paths: readonly string[]): FoundObjects {
  const objects: StoreObject[] = [];
  const manifests = new Map<string, Manifest>();
  const problems: Problem[] = [];
  for (const [source, text] of readTexts(paths)) {
    const read = readManifests(source, text);
    problems.push(...read.problems);
    for (const manifest of read.manifests) {
      const { value } = manifest;
      const origin = originText(manifest);
      if (isFields(value)) objects.push({ name: manifestName(manifest), value, origin });
      else problems.push({ path: origin, message: 'is not an object' });
      manifests.set(manifestName(manifest), manifest);
    }
  }
  return { objects, manifests, problems };
}

/** What the objects would be, among what is in the store: policies and what they are about, and claims on subnets. */
export function judgeObjects(
  found: FoundObjects,
  present: readonly StoreObject[],
): { readonly problems: Problem[]; readonly warnings: Problem[] } {
  const inputs = createInputs({ node: '' });
  for (const { name, value, origin } of present.filter(isOthers))
    if (!found.manifests.has(name)) inputs.setManifest(name, manifestOf(origin, value));
  const sources = new Set(Array.from(found.manifests.values(), ({ source }) => source));
  for (const [name, manifest] of found.manifests) if (isOthers(manifest)) inputs.setManifest(name, manifest);
  const { problems, warnings } = inputs.view();
  const isTheirs = ({ path }: Problem): boolean => sources.has(path.replace(/(?::\d+)?(?: .*)?$/, ''));
  const claims = found.objects.flatMap(({ value, origin }) => claimProblems(value, origin));
  return { problems: [...problems.filter(isTheirs), ...claims], warnings: warnings.filter(isTheirs) };
}

/** Not of tartan.dev, whose kinds say nothing about traffic. */
export function isOthers({ value }: { readonly value: unknown }): boolean {
  const apiVersion = isFields(value) ? value['apiVersion'] : undefined;
  return typeof apiVersion !== 'string' || !apiVersion.startsWith('tartan.dev/');
}
