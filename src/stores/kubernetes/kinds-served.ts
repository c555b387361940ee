/** Which of the kinds that agents read an API server has, and in which version. */
import { MANIFEST_RESOURCES, type ManifestResource } from '#model/kubernetes-kinds.ts';
import type { KubernetesClient } from './client.ts';
import { isStatus } from './refusal.ts';
import type { Resource } from './resource.ts';

export type ServedKind = { readonly resource: Resource; readonly view: ManifestResource['view'] };

type GroupList = {
  readonly groups?: readonly {
    readonly name: string;
    readonly versions: readonly { readonly version: string }[];
  }[];
};
type ResourceList = { readonly resources?: readonly { readonly name: string }[] };

/** By `plural.group`, in the table's order. Throws as the client's `call`. */
export async function readServedKinds(
  client: Pick<KubernetesClient, 'call'>,
): Promise<Map<string, ServedKind>> {
  const { groups = [] } = await client.call<GroupList>({ method: 'GET', path: '/apis' });
  const versions = new Map(
    groups.map(({ name, versions }) => [name, versions.map(({ version }) => version)]),
  );
  versions.set('', ['v1']);
  const lists = new Map<string, Promise<ReadonlySet<string>>>();
  const pluralsOf = (group: string, version: string): Promise<ReadonlySet<string>> => {
    const path = group === '' ? `/api/${version}` : `/apis/${group}/${version}`;
    const list = lists.get(path) ?? readPlurals(client, path);
    lists.set(path, list);
    return list;
  };
  const served = new Map<string, ServedKind>();
  for (const each of MANIFEST_RESOURCES) {
    const { group, plural, kind, view, unless } = each;
    if (unless !== undefined && served.has(keyOf(unless))) continue;
    for (const version of each.versions) {
      const isServed =
        versions.get(group)?.includes(version) === true && (await pluralsOf(group, version)).has(plural);
      if (!isServed) continue;
      served.set(keyOf(each), { resource: { group, version, plural, kind }, view });
      break;
    }
  }
  return served;
}

export function keyOf({ group, plural }: Pick<Resource, 'group' | 'plural'>): string {
  return `${plural}.${group}`;
}

async function readPlurals(
  client: Pick<KubernetesClient, 'call'>,
  path: string,
): Promise<ReadonlySet<string>> {
  try {
    const { resources = [] } = await client.call<ResourceList>({ method: 'GET', path });
    return new Set(resources.map(({ name }) => name));
  } catch (error) {
    // Gone since the groups were listed.
    if (isStatus(error, 404)) return new Set();
    throw error;
  }
}
