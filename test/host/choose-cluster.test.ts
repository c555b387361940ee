/** `tartan choose --audit cluster` against a real API server: what it reads, of whom, and what it may not. */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { auditSchema } from '../../src/advisor/audit/audit.ts';
import { reportSchema } from '../../src/advisor/choose/report.ts';
import { noApiServer, startApiServer } from '../kubernetes/api-server.ts';
import { execute } from './namespace.ts';

const OBJECTS = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: default }
spec: { podSelector: {}, policyTypes: [Egress], egress: [{ ports: [{ port: 80, protocol: TCP }] }] }
---
apiVersion: apps/v1
kind: Deployment
metadata: { name: shop, namespace: default }
spec:
  selector: { matchLabels: { app: shop } }
  template:
    metadata: { labels: { app: shop } }
    spec: { containers: [{ name: a, image: x, ports: [{ containerPort: 80, hostPort: 8080 }] }] }
---
apiVersion: v1
kind: Service
metadata: { name: front, namespace: default }
spec: { type: LoadBalancer, ports: [{ port: 80 }] }
---
apiVersion: v1
kind: Secret
metadata: { name: hidden, namespace: default, annotations: { projectcalico.org/x: "1" } }
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: { name: ciliumnetworkpolicies.cilium.io }
spec:
  group: cilium.io
  scope: Namespaced
  names: { kind: CiliumNetworkPolicy, plural: ciliumnetworkpolicies }
  versions:
    - name: v2
      served: true
      storage: true
      schema: { openAPIV3Schema: { type: object, x-kubernetes-preserve-unknown-fields: true } }
`;
const NAMES = `apiVersion: cilium.io/v2
kind: CiliumNetworkPolicy
metadata: { name: names, namespace: default }
spec: { endpointSelector: {}, egress: [{ toFQDNs: [{ matchName: example.org }] }] }
`;
/** Of the Deployment above, as its controllers would make it. */
const OWNED = (owner: object, kind: string, name: string): object => ({
  apiVersion: kind === 'Pod' ? 'v1' : 'apps/v1',
  kind,
  metadata: { name, namespace: 'default', labels: { app: 'shop' }, ownerReferences: [owner] },
  spec: {
    ...(kind === 'Pod' ? { serviceAccountName: 'default' } : { selector: { matchLabels: { app: 'shop' } } }),
    containers: [{ name: 'a', image: 'x', ports: [{ containerPort: 80, hostPort: 8080 }] }],
  },
});

test('what the objects of a cluster would become', { skip: noApiServer }, async (t) => {
  await using server = await startApiServer({
    audit: true,
    users: { viewer: { name: 'viewer' } },
  });
  const apply = async (text: string): Promise<void> => {
    const { code, stderr } = await server.kubectl(['apply', '-f', '-'], { input: text });
    assert.equal(code, 0, stderr);
  };
  await apply(OBJECTS);
  await server.kubectl(['wait', '--for=condition=established', 'crd', '--all']);
  await apply(NAMES);
  const shop = await server.ask('/apis/apps/v1/namespaces/default/deployments/shop');
  const { uid } = shop.body['metadata'] as { uid: string };
  const owner = { apiVersion: 'apps/v1', kind: 'Deployment', name: 'shop', uid, controller: true };
  await apply(JSON.stringify(OWNED(owner, 'Pod', 'shop-1')));
  const policies = ['--verb=list', '--resource=networkpolicies.networking.k8s.io'];
  await server.kubectl(['create', 'clusterrole', 'viewer', ...policies]);
  await server.kubectl(['create', 'clusterrolebinding', 'viewer', '--clusterrole=viewer', '--user=viewer']);
  const home = mkdtempSync(join(tmpdir(), 'ac-'));
  t.after(() => rmSync(home, { recursive: true }));
  const asUser = (user: string, words: readonly string[]) =>
    execute(['env', `KUBECONFIG=${server.kubeconfig(user)}`, 'dist/tartan', ...words]);
  const audit = (user: string, ...words: string[]) =>
    asUser(user, ['choose', '--audit', 'cluster', ...words]);

  await t.test(
    'of every kind that may need something, custom ones too; pods by what makes them',
    async () => {
      const { code, stdout, stderr } = await audit('admin', '-o', 'json');
      assert.equal(code, 0, stderr);
      const { objects } = auditSchema.parse(JSON.parse(stdout));
      assert.deepEqual(objects.map(({ object }) => object).sort(), [
        'CiliumNetworkPolicy default/names',
        'Deployment default/shop',
        'NetworkPolicy default/web',
        'Service default/front',
      ]);
      const fateOf = (object: string, id: string): string | undefined =>
        objects.find((one) => one.object === object)?.candidates.find((one) => one.id === id)?.outcome;
      assert.equal(fateOf('CiliumNetworkPolicy default/names', 'cilium'), 'same');
      assert.equal(fateOf('CiliumNetworkPolicy default/names', 'flannel'), 'ignored');
    },
  );

  await t.test('it reads, and no secrets', () => {
    const asked = server.audited().filter(({ user }) => user.username === 'admin');
    const byUs = asked.filter(({ requestURI }) => /limit=500/.test(requestURI));
    assert.ok(byUs.length >= 8, 'the log tells of it');
    assert.deepEqual([...new Set(byUs.map(({ verb }) => verb))], ['list']);
    assert.ok(!byUs.some(({ requestURI }) => /secrets|configmaps/.test(requestURI)));
  });

  await t.test('it answers what need not be asked', async () => {
    const status = { nodeInfo: { kernelVersion: '5.4.250' } };
    const node = { apiVersion: 'v1', kind: 'Node', metadata: { name: 'one' }, status };
    assert.equal((await server.ask('/api/v1/nodes', { method: 'POST', body: node })).status, 201);
    const words = ['choose', '--cluster', '--prefer', 'simplicity', '-o', 'json'];
    const { stdout, stderr } = await asUser('admin', words);
    const { answers, seen } = reportSchema.parse(JSON.parse(stdout));
    assert.deepEqual(
      [answers.nodes, answers.kernel, answers.policies?.includes('kubernetes')],
      [1, '5.4.250', true],
      stderr,
    );
    assert.equal(seen.nodes, 'Nodes of the API server');
  });

  await t.test('what the user may not read is named, and the rest is told', async () => {
    const { code, stdout, stderr } = await audit('viewer');
    assert.equal(code, 0, stderr);
    assert.match(stdout, /NetworkPolicy default\/web/);
    assert.match(stderr, /ciliumnetworkpolicies of cilium.io\/v2: not read: .*forbidden/);
    assert.match(stderr, /nodes of v1: not read/);
    const refused = await audit('nobody');
    assert.equal(refused.code, 5, 'no report of what nobody has seen');
    assert.match(refused.stderr, /lets this user read nothing/);
  });

  await t.test('a cluster that does not answer is an error', async () => {
    await server.kill();
    const { code, stderr } = await audit('admin');
    assert.notEqual(code, 0);
    assert.match(stderr, /API server/);
    await server.start();
  });
});
