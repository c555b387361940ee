/** The controller: what is done once for the cluster. It needs no pod network, as it may be what gives nodes their subnets. */
import { type KubeObject, labelsOf, objectOf, selectorOf } from './object.ts';
import { type Installation, portOf } from './options.ts';
import { containerOf, podOf, securityOf, serving, SETTINGS_MOUNT, volumesOf } from './pod.ts';

export const CONTROLLER = 'tartan-controller';

/** Nobody is ready yet where there is no network. */
const TOLERATIONS = [
  { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/network-unavailable', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node-role.kubernetes.io/control-plane', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node-role.kubernetes.io/master', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'tartan.dev/agent-not-ready', operator: 'Exists' },
];

export function controllerObjects(installation: Installation): KubeObject[] {
  const { namespace, epoch } = installation;
  const part = 'controller';
  const selector = { matchLabels: selectorOf(part) };
  const budgetVersion = epoch === '1.20' ? 'policy/v1beta1' : 'policy/v1';
  return [
    deployment(installation),
    objectOf(
      { apiVersion: budgetVersion, kind: 'PodDisruptionBudget', name: CONTROLLER, namespace, part },
      { spec: { maxUnavailable: 1, selector } },
    ),
  ];
}

function deployment(installation: Installation): KubeObject {
  const { namespace, values } = installation;
  const part = 'controller';
  const matchLabels = selectorOf(part);
  const container = {
    ...containerOf(installation, { name: 'controller', words: ['controller'], mounts: [SETTINGS_MOUNT] }),
    securityContext: { ...securityOf(installation), runAsNonRoot: true, runAsUser: 65_534 },
    resources: values.controller.resources,
    ...serving(portOf(values, 'controller')),
  };
  const spec = podOf(installation, {
    serviceAccountName: CONTROLLER,
    priorityClassName: 'system-cluster-critical',
    tolerations: TOLERATIONS,
    affinity: { podAntiAffinity: apart(matchLabels) },
    containers: [container],
    volumes: volumesOf([SETTINGS_MOUNT]),
  });
  return objectOf(
    { apiVersion: 'apps/v1', kind: 'Deployment', name: CONTROLLER, namespace, part },
    {
      spec: {
        replicas: values.controller.replicas,
        selector: { matchLabels },
        template: { metadata: { labels: labelsOf(part) }, spec },
      },
    },
  );
}

function apart(matchLabels: Readonly<Record<string, string>>): object {
  const term = { labelSelector: { matchLabels }, topologyKey: 'kubernetes.io/hostname' };
  return { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm: term }] };
}
