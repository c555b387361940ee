/** How Prometheus finds the agents, and the alerts, as objects of its operator where that runs. */
import { AGENT } from './agent.ts';
import { ALERTS } from './alerts.ts';
import { CONTROLLER } from './controller.ts';
import { type KubeObject, labelsOf, objectOf, selectorOf } from './object.ts';
import { type Installation, portOf } from './options.ts';
import { RELAY } from './relay.ts';

/** Nobody speaks with just any of them: a Service is a list of them. */
export function metricsServices({ namespace, values }: Installation): KubeObject[] {
  const service = (name: string, part: 'agent' | 'controller' | 'relay'): KubeObject => {
    const port = portOf(values, part);
    return objectOf(
      { apiVersion: 'v1', kind: 'Service', name, namespace, part },
      {
        spec: {
          clusterIP: 'None',
          selector: selectorOf(part),
          ports: [{ name: 'metrics', port, targetPort: port }],
        },
      },
    );
  };
  return [service(AGENT, 'agent'), service(CONTROLLER, 'controller'), service(RELAY, 'relay')];
}

export function monitoringObjects({ namespace }: Installation): KubeObject[] {
  const apiVersion = 'monitoring.coreos.com/v1';
  return [
    objectOf(
      { apiVersion, kind: 'ServiceMonitor', name: 'tartan', namespace },
      {
        spec: {
          selector: { matchLabels: labelsOf() },
          endpoints: [{ port: 'metrics', honorLabels: true }],
        },
      },
    ),
    objectOf({ apiVersion, kind: 'PrometheusRule', name: 'tartan', namespace }, { spec: { groups: ALERTS } }),
  ];
}
