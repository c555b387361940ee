/** Addresses of services, and the nodes that have endpoints of them. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readManifests } from '#model/manifest.ts';
import { readServiceObject, serviceAddresses } from './services.ts';

const OBJECTS = `
apiVersion: v1
kind: Service
metadata: { name: web, namespace: shop }
spec:
  clusterIP: 10.96.0.7
  clusterIPs: [10.96.0.7, 'fd96::7']
  externalIPs: [203.0.113.7]
  externalTrafficPolicy: Local
status: { loadBalancer: { ingress: [{ ip: 198.51.100.7 }, { hostname: lb.example }] } }
---
apiVersion: v1
kind: Service
metadata: { name: headless, namespace: shop }
spec: { clusterIP: None }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-1, namespace: shop, labels: { kubernetes.io/service-name: web } }
endpoints:
  - { addresses: [10.77.2.5], nodeName: n2, conditions: { ready: true } }
  - { addresses: [10.77.1.5], nodeName: n1 }
  - { addresses: [10.77.3.5], nodeName: n3, conditions: { ready: false } }
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: { name: web-2, namespace: other, labels: { kubernetes.io/service-name: web } }
endpoints: [{ addresses: [10.77.4.5], nodeName: n4 }]
---
apiVersion: v1
kind: ConfigMap
metadata: { name: c }
`;

test('every address of a service, with the nodes that are ready for it', () => {
  const { manifests } = readManifests('objects.yaml', OBJECTS);
  const found = serviceAddresses(manifests.flatMap((manifest) => readServiceObject(manifest) ?? []));
  const ready = ['n1', 'n2'];
  assert.deepEqual(found, [
    { address: '10.96.0.7', kind: 'cluster', local: true, ready },
    { address: 'fd96::7', kind: 'cluster', local: true, ready },
    { address: '203.0.113.7', kind: 'external', local: true, ready },
    { address: '198.51.100.7', kind: 'load-balancer', local: true, ready },
  ]);
});

test('kube-router’s annotations of a service say what is announced alone, and by whom', () => {
  const service = (annotations: string): unknown[] => {
    const { manifests } = readManifests(
      'objects.yaml',
      `{ apiVersion: v1, kind: Service, metadata: { name: web, annotations: { ${annotations} } }, spec: { clusterIP: 10.96.0.7,
        externalIPs: [203.0.113.7] }, status: { loadBalancer: { ingress: [{ ip: 198.51.100.7 }] } } }`,
    );
    return serviceAddresses(manifests.flatMap((manifest) => readServiceObject(manifest) ?? [])).map(
      ({ kind, local, alone }) => [kind, local, alone],
    );
  };
  assert.deepEqual(
    service(
      "'kube-router.io/service.advertise.clusterip': 'true', 'kube-router.io/service.advertise.externalip': 'false'",
    ),
    [
      ['cluster', false, true],
      ['external', false, false],
      ['load-balancer', false, undefined],
    ],
  );
  assert.deepEqual(service("'kube-router.io/service.local': '', 'kube-router.io/service.skiplbips': ''"), [
    ['cluster', true, undefined],
    ['external', true, undefined],
  ]);
});
