/** How Prometheus finds the agents, and the alerts, as objects of its operator where that runs. */
import { AGENT } from './agent.ts';
import { ALERTS } from './alerts.ts';
import { type KubeObject, objectOf, selectorOf } from './object.ts';
import { AGENT_PORT, type Installation } from './options.ts';

export function metricsService({ namespace }: Installation): KubeObject {
  return objectOf(
    { apiVersion: 'v1', kind: 'Service', name: AGENT, namespace, part: 'agent' },
    {
      spec: {
        // Nobody speaks with just any agent: it is a list of them.
        clusterIP: 'None',
        selector: selectorOf('agent'),
        ports: [{ name: 'metrics', port: AGENT_PORT, targetPort: AGENT_PORT }],
      },
    },
  );
}

export function monitoringObjects({ namespace }: Installation): KubeObject[] {
  const part = 'agent';
  const apiVersion = 'monitoring.coreos.com/v1';
  return [
    objectOf(
      { apiVersion, kind: 'ServiceMonitor', name: AGENT, namespace, part },
      {
        spec: {
          selector: { matchLabels: selectorOf(part) },
          endpoints: [{ port: 'metrics', honorLabels: true }],
        },
      },
    ),
    objectOf(
      { apiVersion, kind: 'PrometheusRule', name: 'tartan', namespace, part },
      { spec: { groups: ALERTS } },
    ),
  ];
}
