/** What runs a few times in a cluster, on nodes apart, whether these are ready or not: they may become so by it. */
import { type KubeObject, labelsOf, objectOf, type Part, selectorOf } from './object.ts';
import type { Installation } from './options.ts';
import { type Container, podOf, SETTINGS_MOUNT, volumesOf } from './pod.ts';

/** Nobody is ready yet where there is no network. */
const TOLERATIONS = [
  { key: 'node.kubernetes.io/not-ready', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node.kubernetes.io/network-unavailable', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node-role.kubernetes.io/control-plane', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'node-role.kubernetes.io/master', operator: 'Exists', effect: 'NoSchedule' },
  { key: 'tartan.dev/agent-not-ready', operator: 'Exists' },
];

export type Deployed = {
  /** Of its account too. */
  readonly name: string;
  readonly part: Part;
  readonly replicas: number;
  readonly container: Container;
};

/** With what keeps it from being evicted whole. */
export function deploymentOf(installation: Installation, deployed: Deployed): KubeObject[] {
  const { namespace, epoch } = installation;
  const { name, part, replicas, container } = deployed;
  const matchLabels = selectorOf(part);
  const spec = podOf(installation, {
    serviceAccountName: name,
    priorityClassName: 'system-cluster-critical',
    tolerations: TOLERATIONS,
    affinity: { podAntiAffinity: apart(matchLabels) },
    containers: [container],
    volumes: volumesOf([SETTINGS_MOUNT]),
  });
  const template = { metadata: { labels: labelsOf(part) }, spec };
  const budgetVersion = epoch === '1.20' ? 'policy/v1beta1' : 'policy/v1';
  return [
    objectOf(
      { apiVersion: 'apps/v1', kind: 'Deployment', name, namespace, part },
      { spec: { replicas, selector: { matchLabels }, template } },
    ),
    objectOf(
      { apiVersion: budgetVersion, kind: 'PodDisruptionBudget', name, namespace, part },
      { spec: { maxUnavailable: 1, selector: { matchLabels } } },
    ),
  ];
}

function apart(matchLabels: Readonly<Record<string, string>>): object {
  const term = { labelSelector: { matchLabels }, topologyKey: 'kubernetes.io/hostname' };
  return { preferredDuringSchedulingIgnoredDuringExecution: [{ weight: 100, podAffinityTerm: term }] };
}
