/** Nothing whatever that an object turns into makes the inputs stumble, or takes out of force what was in force. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { manifestOf, readManifests } from '#model/manifest.ts';
import { createInputs } from './inputs.ts';
import { manifestName } from './reading.ts';

const GOOD = readManifests(
  'good.yaml',
  `
apiVersion: v1
kind: List
items:
  - {apiVersion: networking.k8s.io/v1, kind: NetworkPolicy, metadata: {name: p, namespace: x}, spec: {podSelector: {matchLabels: {a: b}}, ingress: [{from: [{ipBlock: {cidr: 10.0.0.0/8}}], ports: [{port: 80}]}]}}
  - {apiVersion: projectcalico.org/v3, kind: Tier, metadata: {name: ops}, spec: {order: 1}}
  - {apiVersion: projectcalico.org/v3, kind: GlobalNetworkPolicy, metadata: {name: ops.g}, spec: {tier: ops, selector: all(), egress: [{action: Deny}]}}
  - {apiVersion: projectcalico.org/v3, kind: HostEndpoint, metadata: {name: h}, spec: {node: a, expectedIPs: [192.0.2.1]}}
  - {apiVersion: v1, kind: Namespace, metadata: {name: x, labels: {a: b}}}
  - {apiVersion: v1, kind: ServiceAccount, metadata: {name: s, namespace: x, labels: {a: b}}}
  - {apiVersion: v1, kind: Node, metadata: {name: a, labels: {a: b}}, status: {addresses: [{type: InternalIP, address: 192.0.2.1}]}}
  - {apiVersion: v1, kind: Pod, metadata: {name: p, namespace: x, labels: {a: b}}, spec: {nodeName: a, hostNetwork: false, serviceAccountName: s, containers: [{ports: [{name: http, containerPort: 80, protocol: TCP}]}], initContainers: [{restartPolicy: Always, ports: []}]}, status: {phase: Running, podIP: 10.0.0.1, podIPs: [{ip: 10.0.0.1}], conditions: [{type: Ready, status: 'True'}]}}
  - {apiVersion: v1, kind: Service, metadata: {name: s, namespace: x}, spec: {type: ClusterIP, selector: {a: b}, ports: [{port: 80, targetPort: http, protocol: TCP}], ipFamilies: [IPv4], publishNotReadyAddresses: true}}
  - {apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, metadata: {name: e, namespace: x, labels: {kubernetes.io/service-name: t}}, addressType: IPv4, endpoints: [{addresses: [10.0.0.1], conditions: {ready: true, serving: true}}], ports: [{port: 80, protocol: TCP}]}
  - {apiVersion: v1, kind: Endpoints, metadata: {name: u, namespace: x}, subsets: [{addresses: [{ip: 10.0.0.1}], ports: [{port: 80, protocol: TCP}]}]}
`,
).manifests;

/** Every place in a value, as the keys to it. */
function placesIn(value: unknown): string[][] {
  if (typeof value !== 'object' || value === null) return [[]];
  const inside = Object.entries(value);
  return [[], ...inside.flatMap(([key, inner]) => placesIn(inner).map((path) => [key, ...path]))];
}

function replaceAt(value: unknown, [key, ...rest]: readonly string[], by: unknown): unknown {
  if (key === undefined) return by;
  const made: unknown = Array.isArray(value) ? [...(value as unknown[])] : { ...(value as object) };
  const fields = made as Record<string, unknown>;
  fields[key] = replaceAt(fields[key], rest, by);
  return made;
}

const changed = fc
  .constantFrom(...GOOD)
  .chain((manifest) =>
    fc
      .tuple(
        fc.constantFrom(...placesIn(manifest.value)),
        fc.oneof(
          fc.jsonValue({ maxDepth: 2 }),
          fc.constantFrom('10.0.0.0', '', -1, 1e9, 1.5, true, null, [], {}, [null]),
        ),
      )
      .map(([path, junk]) => ({ manifest, value: replaceAt(manifest.value, path, junk) })),
  );

test('an object that becomes anything at all is taken, or refused with problems and nothing else is changed', () => {
  const inputs = createInputs({ node: 'a' });
  for (const manifest of GOOD) assert.deepEqual(inputs.setManifest(manifestName(manifest), manifest), []);
  const good = inputs.view();
  assert.equal(good.world.endpoints.length, 2);
  const seen = { taken: 0, refused: 0 };
  fc.assert(
    fc.property(changed, ({ manifest, value }) => {
      const name = manifestName(manifest);
      const problems = inputs.setManifest(name, manifestOf('bad.yaml', value));
      const view = inputs.view();
      if (problems.length > 0) {
        seen.refused += 1;
        assert.deepEqual(view.problems, problems);
        for (const { path } of problems) assert.ok(path.startsWith('bad.yaml'));
        assert.deepEqual([view.book, view.world], [good.book, good.world]);
      } else seen.taken += 1;
      inputs.setManifest(name, manifest);
      assert.deepEqual(inputs.view(), good);
    }),
    { numRuns: 800 },
  );
  for (const [what, count] of Object.entries(seen)) assert.ok(count > 30, `${what}: only ${count}`);
});
