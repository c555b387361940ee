/** CustomResourceDefinitions of the store's kinds that take any spec, for tests which write what no agent would. */
import { STATE_RESOURCES, TARTAN_GROUP, TARTAN_VERSION } from '../../src/model/kubernetes-kinds.ts';
import { waitFor } from '../host/namespace.ts';
import type { ApiServer } from './api-server.ts';

type Names = { readonly kind: string; readonly plural: string; readonly singular?: string };
type Definition = {
  readonly group: string;
  readonly version: string;
  readonly names: Names;
  readonly namespaced?: boolean;
};

/** Resolves when it is served. */
export async function define(
  server: ApiServer,
  { group, version, names, namespaced }: Definition,
): Promise<void> {
  const any = { type: 'object', 'x-kubernetes-preserve-unknown-fields': true };
  const schema = { openAPIV3Schema: any };
  const body = {
    apiVersion: 'apiextensions.k8s.io/v1',
    kind: 'CustomResourceDefinition',
    metadata: {
      name: `${names.plural}.${group}`,
      // Groups of Kubernetes' own want to be asked for.
      annotations: { 'api-approved.kubernetes.io': 'unapproved, for a test' },
    },
    spec: {
      group,
      names,
      scope: namespaced === true ? 'Namespaced' : 'Cluster',
      versions: [{ name: version, served: true, storage: true, schema }],
    },
  };
  const path = '/apis/apiextensions.k8s.io/v1/customresourcedefinitions';
  const { status, body: answer } = await server.ask(path, { method: 'POST', body });
  if (status !== 201) throw new Error(JSON.stringify(answer));
  const isServed = async (): Promise<boolean> =>
    (await server.ask(`/apis/${group}/${version}/${names.plural}`)).status === 200;
  await waitFor(`${names.plural} to be served`, isServed, 30_000);
}

export async function defineState(server: ApiServer): Promise<void> {
  await Promise.all(
    Object.values(STATE_RESOURCES).map(({ kind, plural, singular }) =>
      define(server, { group: TARTAN_GROUP, version: TARTAN_VERSION, names: { kind, plural, singular } }),
    ),
  );
}

/** Removes all objects of the store's kinds. */
export async function clearState(server: ApiServer): Promise<void> {
  await Promise.all(
    Object.values(STATE_RESOURCES).map(({ plural }) =>
      server.ask(`/apis/${TARTAN_GROUP}/${TARTAN_VERSION}/${plural}`, { method: 'DELETE' }),
    ),
  );
}
