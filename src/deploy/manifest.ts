/**
 * All objects of an installation, in the order in which an API server can take them. The same options always give the same
 * objects, in the same words.
 */
import { Document, isMap, isSeq } from 'yaml';
import type { AccessRule } from './access.ts';
import { agentDaemonSet, cleanupDaemonSet } from './agent.ts';
import { controllerObjects } from './controller.ts';
import { customResourceDefinitions } from './crds.ts';
import { metricsServices, monitoringObjects } from './monitoring.ts';
import { type KubeObject, labelsOf, objectOf } from './object.ts';
import type { Installation } from './options.ts';
import { SETTINGS_MAP } from './pod.ts';
import { relayObjects } from './relay.ts';
import { rightsOf } from './rights.ts';

/** Rights to a namespace that may do what these pods do. */
export function namespaceObject({ namespace }: Installation): KubeObject {
  const level = 'pod-security.kubernetes.io';
  return {
    apiVersion: 'v1',
    kind: 'Namespace',
    metadata: {
      name: namespace,
      labels: { ...labelsOf(), [`${level}/enforce`]: 'privileged', [`${level}/warn`]: 'privileged' },
    },
  };
}

/** All but the namespace, which a Helm chart leaves to Helm. */
export function installationObjects(installation: Installation): KubeObject[] {
  return [
    ...customResourceDefinitions({
      expressions: installation.epoch !== '1.20',
      version: installation.version,
    }),
    ...rightsOf(installation),
    settingsMap(installation),
    agentDaemonSet(installation),
    ...controllerObjects(installation),
    ...relayObjects(installation),
    ...metricsServices(installation),
    nothingElse(installation),
    ...(installation.values.monitoring ? monitoringObjects(installation) : []),
  ];
}

/** What takes Tartan off all nodes; the rest goes with `kubectl delete` afterwards. */
export function cleanupObjects(installation: Installation): KubeObject[] {
  return [cleanupDaemonSet(installation)];
}

function settingsMap({ namespace, values }: Installation): KubeObject {
  return objectOf(
    { apiVersion: 'v1', kind: 'ConfigMap', name: SETTINGS_MAP, namespace },
    { data: { 'settings.yaml': settingsText(values.settings) } },
  );
}

/** As Helm's toYaml writes it: keys in order, lists not indented. */
export function settingsText(settings: Readonly<Record<string, unknown>>): string {
  const document = new Document(settings, { sortMapEntries: true });
  return document.toString({ indentSeq: false, lineWidth: 0, singleQuote: true });
}

/** Our own pods have the hosts' network, of which no policy speaks. Whatever else is started here gets no network. */
function nothingElse({ namespace }: Installation): KubeObject {
  return objectOf(
    { apiVersion: 'networking.k8s.io/v1', kind: 'NetworkPolicy', name: 'tartan-nothing-else', namespace },
    { spec: { podSelector: {}, policyTypes: ['Ingress', 'Egress'] } },
  );
}

/** As an API server takes them: without the reasons of rules. */
export function plainObjects(objects: readonly KubeObject[]): KubeObject[] {
  return objects.map((object) =>
    Array.isArray(object['rules']) ? { ...object, rules: object['rules'].map(withoutReason) } : object,
  );
}

function withoutReason(rule: AccessRule): Omit<AccessRule, 'why'> {
  const { why: _why, ...rest } = rule;
  return rest;
}

/** As YAML documents; reasons of rules become comments above them. */
export function renderObjects(objects: readonly KubeObject[]): string {
  return objects.map((object) => `---\n${renderObject(object)}`).join('');
}

export function renderObject(object: KubeObject): string {
  const document = new Document(object, { aliasDuplicateObjects: false });
  const rules = document.get('rules');
  if (isSeq(rules)) {
    for (const rule of rules.items) {
      if (!isMap(rule)) continue;
      rule.commentBefore = ` ${String(rule.get('why'))}`;
      rule.delete('why');
    }
  }
  return document.toString({ lineWidth: 0 });
}
