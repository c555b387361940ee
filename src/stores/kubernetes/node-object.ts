/**
 * What an agent writes into its own Node object, and the Events that it sends. Each write is a patch that can be made
 * twice; whether it would change anything is for the caller to know.
 */
import type { KubernetesClient } from './client.ts';
import { APPLY } from './client.ts';
import type { KubernetesObject } from './messages.ts';
import { isStatus } from './refusal.ts';
import { FIELD_MANAGER } from '#model/kubernetes-kinds.ts';

/** Of the annotations alone: what it applied before and does not any more goes. */
const NODE_MANAGER = 'tartan-node';
const STRATEGIC = 'application/strategic-merge-patch+json';
const JSON_PATCH = 'application/json-patch+json';

export type Taint = { readonly key: string; readonly value?: string; readonly effect: string };

/** kubernetes/api core/v1/types.go NodeCondition; times in RFC 3339. */
export type NodeCondition = {
  readonly type: string;
  readonly status: 'True' | 'False';
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
  readonly lastHeartbeatTime: string;
};

export type NodeObject = KubernetesObject & {
  readonly metadata: { readonly managedFields?: readonly ManagedFields[] };
  readonly spec?: { readonly taints?: readonly Taint[] | null };
  readonly status?: { readonly conditions?: readonly NodeCondition[] | null };
};

type ManagedFields = {
  readonly manager?: string;
  readonly fieldsV1?: { readonly 'f:metadata'?: { readonly 'f:annotations'?: object } };
};

/** Names of annotations that `annotate` has set. */
export function annotatedBy({ metadata }: NodeObject): string[] {
  const ours = (metadata.managedFields ?? []).filter(({ manager }) => manager === NODE_MANAGER);
  const keys = ours.flatMap(({ fieldsV1 }) => Object.keys(fieldsV1?.['f:metadata']?.['f:annotations'] ?? {}));
  return keys.filter((key) => key.startsWith('f:')).map((key) => key.slice(2));
}

export type EventSubject = {
  /** Absent: v1. */
  readonly apiVersion?: string;
  readonly kind: string;
  readonly name: string;
  readonly namespace?: string;
  readonly uid?: string;
};

/** Of core/v1, as kubectl describe shows them. */
export type KubernetesEvent = {
  readonly namespace: string;
  /** Whose times this is one more of has the same name. */
  readonly name: string;
  readonly about: EventSubject;
  readonly type: 'Normal' | 'Warning';
  /** In CamelCase, for machines. */
  readonly reason: string;
  readonly message: string;
  readonly count: number;
  readonly firstTimestamp: string;
  readonly lastTimestamp: string;
};

export interface EventApi {
  sendEvent(event: KubernetesEvent): Promise<void>;
}

export interface NodeApi extends EventApi {
  /** Undefined: the API server knows no such node. */
  get(): Promise<NodeObject | undefined>;
  /** Sets exactly these of our annotations: what we set before and is not among them goes. */
  annotate(annotations: Readonly<Record<string, string>>): Promise<void>;
  setCondition(condition: NodeCondition): Promise<void>;
  /** Answers false when somebody else has changed the taints since they were read. */
  removeTaint(node: NodeObject, key: string): Promise<boolean>;
}

/** Calls throw as the client's. */
export function openNodeApi(client: Pick<KubernetesClient, 'call'>, node: string): NodeApi {
  const path = `/api/v1/nodes/${encodeURIComponent(node)}`;
  const head = { apiVersion: 'v1', kind: 'Node' };
  return {
    get: () => absentAsUndefined(client.call<NodeObject>({ method: 'GET', path })),
    annotate: (annotations) =>
      apply(client, path, {
        body: { ...head, metadata: { name: node, annotations } },
        manager: NODE_MANAGER,
      }),
    async setCondition(condition) {
      const body = { status: { conditions: [condition] } };
      await client.call({ method: 'PATCH', path: `${path}/status`, body, contentType: STRATEGIC });
    },
    removeTaint: (object, key) => removeTaint(client, path, { object, key }),
    ...openEvents(client, node),
  };
}

/** `host`: who says so. */
export function openEvents(client: Pick<KubernetesClient, 'call'>, host: string): EventApi {
  return {
    sendEvent: (event) =>
      apply(client, `/api/v1/namespaces/${event.namespace}/events/${event.name}`, {
        body: eventBody(event, host),
        manager: FIELD_MANAGER,
      }),
  };
}

async function apply(
  client: Pick<KubernetesClient, 'call'>,
  path: string,
  { body, manager }: { readonly body: object; readonly manager: string },
): Promise<void> {
  const query = { fieldManager: manager, force: 'true' };
  await client.call({ method: 'PATCH', path, query, body, contentType: APPLY });
}

/** From the end, so that places stay as they were; only what was read is taken. */
async function removeTaint(
  client: Pick<KubernetesClient, 'call'>,
  path: string,
  { object, key }: { readonly object: NodeObject; readonly key: string },
): Promise<boolean> {
  const taints = [...(object.spec?.taints ?? []).entries()].reverse();
  const body = taints
    .filter(([, taint]) => taint.key === key)
    .flatMap(([index, value]) => [
      { op: 'test', path: `/spec/taints/${index}`, value },
      { op: 'remove', path: `/spec/taints/${index}` },
    ]);
  try {
    await client.call({ method: 'PATCH', path, body, contentType: JSON_PATCH });
    return true;
  } catch (error) {
    if (isStatus(error, 409) || isStatus(error, 422)) return false;
    throw error;
  }
}

function eventBody(event: KubernetesEvent, host: string): object {
  const { namespace, name, about, ...said } = event;
  const involvedObject = { apiVersion: 'v1', ...about };
  const source = { component: FIELD_MANAGER, host };
  return {
    apiVersion: 'v1',
    kind: 'Event',
    metadata: { namespace, name },
    involvedObject,
    source,
    ...said,
  };
}

async function absentAsUndefined<T>(answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (isStatus(error, 404)) return undefined;
    throw error;
  }
}
