/** Relays: none at first. There may be any number, and whoever scales the Deployment need do nothing else. */
import { deploymentOf } from './deployment.ts';
import type { KubeObject } from './object.ts';
import { type Installation, portOf } from './options.ts';
import { containerOf, securityOf, serving, SETTINGS_MOUNT } from './pod.ts';

export const RELAY = 'tartan-relay';

export function relayObjects(installation: Installation): KubeObject[] {
  const { values } = installation;
  const made = containerOf(installation, { name: 'relay', words: ['relay'], mounts: [SETTINGS_MOUNT] });
  const address = { name: 'TARTAN_ADDRESS', valueFrom: { fieldRef: { fieldPath: 'status.hostIP' } } };
  const container = {
    ...made,
    env: [...made.env, address],
    securityContext: { ...securityOf(installation), runAsNonRoot: true, runAsUser: 65_534 },
    resources: values.relay.resources,
    ...serving(portOf(values, 'relay')),
  };
  const { replicas } = values.relay;
  return deploymentOf(installation, { name: RELAY, part: 'relay', replicas, container });
}
