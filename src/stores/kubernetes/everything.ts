/**
 * Whole objects of an API server, whatever their kind, for who looks at them once. Kinds are found by asking the server: those
 * of other programs are among them.
 */
import { systemClock } from '#lib/clock.ts';
import { Fault, type Problem, toFault } from '#model/fault.ts';
import { type Manifest, manifestOf } from '#model/manifest.ts';
import type { ApiServerSettings } from '#model/settings.ts';
import { KubernetesClient } from './client.ts';
import type { KubernetesObject } from './messages.ts';

export type Everything = {
  readonly manifests: readonly Manifest[];
  /** Of kinds that could not be read, as this user may not. */
  readonly problems: readonly Problem[];
};

export type EverythingOptions = {
  readonly settings: ApiServerSettings;
  /** Whether objects of the kind are to be read. */
  readonly wants: (group: string, kind: string) => boolean;
};

type Groups = {
  readonly groups?: readonly {
    readonly name: string;
    readonly preferredVersion: { readonly groupVersion: string };
  }[];
};
type Kind = { readonly name: string; readonly kind: string; readonly verbs: readonly string[] };
type Kinds = { readonly resources?: readonly Kind[] };

/** Throws Fault `store-away`, or `store-refused` when nothing at all can be read. */
export async function readEverything({ settings, wants }: EverythingOptions): Promise<Everything> {
  const client = new KubernetesClient({ settings, clock: systemClock, notice: () => undefined });
  try {
    const reads = (await findKinds(client, wants)).map((kind) => readKind(client, kind));
    const read = await Promise.all(reads);
    const problems = read.flatMap((each) => each.problems);
    if (problems.length > 0 && problems.length === read.length)
      throw new Fault('store-refused', 'the API server lets this user read nothing', { problems });
    const objects = new Map(read.flatMap(({ manifests }) => manifests));
    return { manifests: [...objects.values()], problems };
  } finally {
    client.close();
  }
}

type Found = { readonly groupVersion: string; readonly plural: string; readonly kind: string };

async function findKinds(client: KubernetesClient, wants: EverythingOptions['wants']): Promise<Found[]> {
  const { groups = [] } = await client.call<Groups>({ method: 'GET', path: '/apis' });
  const versions = ['v1', ...groups.map(({ preferredVersion }) => preferredVersion.groupVersion)];
  const found = await Promise.all(
    versions.map(async (groupVersion) => {
      const group = groupOf(groupVersion);
      const { resources = [] } = await listKinds(client, groupVersion);
      return resources
        .filter(
          ({ name, kind, verbs }) => !name.includes('/') && verbs.includes('list') && wants(group, kind),
        )
        .map(({ name, kind }) => ({ groupVersion, plural: name, kind }));
    }),
  );
  const all = found.flat();
  const shown = new Set(all.map(({ groupVersion, plural }) => `${groupOf(groupVersion)} ${plural}`));
  return all.filter(({ groupVersion, plural }) => !shown.has(`${SHOWN_BY[groupOf(groupVersion)]} ${plural}`));
}

/** Calico's API server shows its custom resources once more, under other uids. */
const SHOWN_BY: Readonly<Record<string, string>> = { 'crd.projectcalico.org': 'projectcalico.org' };

/** A group whose own server is away has no kinds. */
async function listKinds(client: KubernetesClient, groupVersion: string): Promise<Kinds> {
  return client.call<Kinds>({ method: 'GET', path: pathOf(groupVersion) }).catch(() => ({}));
}

type Read = {
  readonly manifests: readonly (readonly [uid: string, Manifest])[];
  readonly problems: Problem[];
};

async function readKind(client: KubernetesClient, { groupVersion, plural, kind }: Found): Promise<Read> {
  try {
    const { items } = await client.list(`${pathOf(groupVersion)}/${plural}`);
    return { manifests: items.map((item) => toManifest(item, groupVersion, kind)), problems: [] };
  } catch (error) {
    const { message, problems } = toFault(error);
    const why = problems[0]?.message ?? message;
    return {
      manifests: [],
      problems: [{ path: `${plural} of ${groupVersion}`, message: `not read: ${why}` }],
    };
  }
}

/** In a list objects do not say their kind. What several groups show is one object, by its uid. */
function toManifest(object: KubernetesObject, apiVersion: string, kind: string): readonly [string, Manifest] {
  const { managedFields: _, ...metadata } = object.metadata as KubernetesObject['metadata'] & {
    readonly managedFields?: unknown;
  };
  const { namespace, name, uid } = metadata;
  const origin = `${kind} ${namespace === undefined ? '' : `${namespace}/`}${name}`;
  return [uid ?? `${apiVersion} ${origin}`, manifestOf('cluster', { ...object, apiVersion, kind, metadata })];
}

function groupOf(groupVersion: string): string {
  return groupVersion.includes('/') ? (groupVersion.split('/')[0] ?? '') : '';
}

function pathOf(groupVersion: string): string {
  return groupVersion.includes('/') ? `/apis/${groupVersion}` : `/api/${groupVersion}`;
}
