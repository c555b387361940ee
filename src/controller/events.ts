/**
 * What the controller says, as Events of Kubernetes: about the node that it names, else about the state of the cluster, where
 * `kubectl describe clusterstatus cluster` shows it.
 */
import type { Clock } from '#lib/clock.ts';
import { CLUSTER_STATUS } from '#model/cluster-status.ts';
import { STATE_RESOURCES, TARTAN_GROUP, TARTAN_VERSION } from '#model/kubernetes-kinds.ts';
import type { KubernetesClient } from '#stores/kubernetes/client.ts';
import { type EventSender, startEventSender } from '#stores/kubernetes/event-sender.ts';
import { openEvents } from '#stores/kubernetes/node-object.ts';

export type ControllerEventsOptions = {
  readonly client: Pick<KubernetesClient, 'call'>;
  readonly host: string;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onError: (error: unknown) => void;
};

const { kind, plural } = STATE_RESOURCES.ClusterStatus;
const API_VERSION = `${TARTAN_GROUP}/${TARTAN_VERSION}`;

export function startControllerEvents({ client, host, ...loop }: ControllerEventsOptions): EventSender {
  const api = openEvents(client, host);
  const subject = { apiVersion: API_VERSION, kind, name: CLUSTER_STATUS };
  let uid: string | undefined;
  return startEventSender({
    ...loop,
    subject,
    api: {
      sendEvent: async (event) => {
        if (event.about !== subject) return api.sendEvent(event);
        // kubectl finds an object's Events by it, and a new cluster's object comes after its first ones.
        uid ??= await uidOf(client);
        return api.sendEvent({ ...event, about: { ...subject, uid } });
      },
    },
  });
}

async function uidOf(client: Pick<KubernetesClient, 'call'>): Promise<string> {
  const path = `/apis/${API_VERSION}/${plural}/${CLUSTER_STATUS}`;
  const { metadata } = await client.call({ method: 'GET', path });
  return metadata.uid ?? '';
}
