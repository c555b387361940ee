/**
 * The CustomResourceDefinitions of the store's kinds, as this program has them. What another release wrote later is left
 * alone: it knows what this one does not.
 */
import {
  customResourceDefinitions,
  type CustomResourceDefinition,
  DIGEST,
  WRITTEN_BY,
} from '#deploy/crds.ts';
import type { KubernetesClient } from '#stores/kubernetes/client.ts';
import type { KubernetesObject } from '#stores/kubernetes/messages.ts';
import { isStatus } from '#stores/kubernetes/refusal.ts';

const PATH = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';

export type DefinitionsOptions = {
  readonly client: Pick<KubernetesClient, 'call'>;
  /** Of this program. */
  readonly version: string;
  /** Asked immediately before each write. */
  readonly ensure: () => void;
  readonly tell: (text: string) => void;
};

/** Creates what is missing, brings up to date what is older. Throws as the client. */
export async function installDefinitions(options: DefinitionsOptions): Promise<void> {
  const { client } = options;
  const { major, minor } = await client.call<{ major: string; minor: string }>({
    method: 'GET',
    path: '/version',
  });
  // Providers append to the number.
  const expressions = Number(major) > 1 || Number.parseInt(minor, 10) >= 25;
  for (const definition of customResourceDefinitions({ expressions, version: options.version }))
    await install(options, definition);
}

async function install(options: DefinitionsOptions, definition: CustomResourceDefinition): Promise<void> {
  const { client, version, ensure, tell } = options;
  const { name, annotations: own } = definition.metadata;
  const present = await find(client, name);
  if (!isDue(present, version, own[DIGEST])) return;
  const { metadata = { name } } = present ?? {};
  const annotations = { ...metadata.annotations, ...own };
  const body = { ...present, ...definition, metadata: { ...metadata, annotations } };
  ensure();
  try {
    if (present === undefined) await client.call({ method: 'POST', path: PATH, body });
    else await client.call({ method: 'PUT', path: `${PATH}/${name}`, body });
    tell(`the definition ${name} is now that of ${version}`);
  } catch (error) {
    // Somebody else wrote it at the same moment; the next one that leads looks again.
    if (!isStatus(error, 409)) throw error;
  }
}

function isDue(present: KubernetesObject | undefined, version: string, digest: string | undefined): boolean {
  const { [WRITTEN_BY]: written, [DIGEST]: before } = present?.metadata.annotations ?? {};
  return before !== digest && (written === undefined || !isNewer(written, version));
}

async function find(
  client: DefinitionsOptions['client'],
  name: string,
): Promise<KubernetesObject | undefined> {
  try {
    return await client.call({ method: 'GET', path: `${PATH}/${name}` });
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    throw error;
  }
}

/** Of two versions like 1.2.3 or 1.2.3-rc.1; what is not like that is not newer than anything. */
export function isNewer(one: string, other: string): boolean {
  const [a, b] = [one, other].map(parse);
  if (a === undefined || b === undefined) return false;
  for (const index of [0, 1, 2]) {
    const difference = (a.numbers[index] ?? 0) - (b.numbers[index] ?? 0);
    if (difference !== 0) return difference > 0;
  }
  // A release is newer than what came before it.
  if (a.before === '' || b.before === '') return a.before === '' && b.before !== '';
  return a.before.localeCompare(b.before, 'en', { numeric: true }) > 0;
}

function parse(text: string): { readonly numbers: readonly number[]; readonly before: string } | undefined {
  const match = /^v?(\d+)\.(\d+)\.(\d+)(?:-([^+]+))?/.exec(text);
  if (match === null) return undefined;
  return { numbers: match.slice(1, 4).map(Number), before: match[4] ?? '' };
}
