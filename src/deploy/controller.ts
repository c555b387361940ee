/** The controller: what is done once for the cluster. It needs no pod network, as it may be what gives nodes their subnets. */
import { deploymentOf } from './deployment.ts';
import type { KubeObject } from './object.ts';
import { type Installation, portOf } from './options.ts';
import { containerOf, securityOf, serving, SETTINGS_MOUNT } from './pod.ts';

export const CONTROLLER = 'tartan-controller';

export function controllerObjects(installation: Installation): KubeObject[] {
  const { values } = installation;
  const container = {
    ...containerOf(installation, { name: 'controller', words: ['controller'], mounts: [SETTINGS_MOUNT] }),
    securityContext: { ...securityOf(installation), runAsNonRoot: true, runAsUser: 65_534 },
    resources: values.controller.resources,
    ...serving(portOf(values, 'controller')),
  };
  const { replicas } = values.controller;
  return deploymentOf(installation, { name: CONTROLLER, part: 'controller', replicas, container });
}
