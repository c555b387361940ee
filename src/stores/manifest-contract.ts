import assert from 'node:assert/strict';
import type { Manifest } from '#model/manifest.ts';
import type { Run, StoreHarness } from './contract.ts';
import type { Stored } from './store.ts';

/** What every store must do with the operator's objects; a part of ./contract.ts. */
const object = (head: string, metadata: string, more = ''): string =>
  `${head}\nmetadata: ${metadata}\n${more}`;
const POLICY = 'apiVersion: networking.k8s.io/v1\nkind: NetworkPolicy';
const NAMESPACE = 'apiVersion: v1\nkind: Namespace';
const WEB = 'networking.k8s.io/v1/NetworkPolicy/shop/web';

function valueOf(stored: Stored | undefined): unknown {
  return (stored?.value as Manifest | undefined)?.value;
}

export function manifestContract(run: Run<StoreHarness>): void {
  run('the operator’s objects, whatever their kind, under their full names', async (harness, follow) => {
    const { store, other, writeManifests } = harness;
    const policy = object(POLICY, '{ name: web, namespace: shop }', 'spec: { podSelector: {} }\n');
    await writeManifests('a.yaml', `${policy}---\n${object(NAMESPACE, '{ name: shop, labels: { a: b } }')}`);
    const follower = follow('Manifest');
    await follower.synced();
    assert.deepEqual([...follower.objects.keys()].sort(), [WEB, 'v1/Namespace/shop']);
    assert.equal(follower.types, 'put put synced');
    const [apiVersion, kind] = ['networking.k8s.io/v1', 'NetworkPolicy'];
    const value = {
      apiVersion,
      kind,
      metadata: { name: 'web', namespace: 'shop' },
      spec: { podSelector: {} },
    };
    assert.deepEqual(valueOf(follower.objects.get(WEB)), value);
    for (const reader of [store, other]) {
      assert.deepEqual(valueOf(await reader.get('Manifest', WEB)), value);
      assert.equal((await reader.list('Manifest')).length, 2);
      assert.equal(await reader.get('Manifest', 'v1/Namespace/none'), undefined);
      await assert.rejects(reader.put('Manifest', WEB, value), { code: 'store-conflict' });
      await assert.rejects(reader.remove('Manifest', WEB), { code: 'store-conflict' });
    }
  });
  run('their changes and removals, each once, and nothing of other kinds', async (harness, follow) => {
    const { store, writeManifests } = harness;
    const item = (app: string): string =>
      `${POLICY}\nmetadata: { name: web, namespace: shop }\nspec: { app: ${app} }\n`;
    await writeManifests('a.yaml', `${item('one')}---\n${object(NAMESPACE, '{ name: shop }')}`);
    const follower = follow('Manifest');
    await follower.synced();
    await store.put('Workloads', 'node-a', { node: 'node-a', pods: [] });
    await writeManifests('a.yaml', `${item('two')}---\n${object(NAMESPACE, '{ name: shop }')}`);
    await follower.until(() => JSON.stringify(valueOf(follower.objects.get(WEB))).includes('two'));
    await writeManifests('a.yaml', item('two'));
    await follower.until(() => follower.objects.size === 1);
    await writeManifests('a.yaml', undefined);
    await follower.until(() => follower.objects.size === 0);
    assert.equal(follower.types, 'put put synced put removed removed');
  });
  listContract(run);
}

function listContract(run: Run<StoreHarness>): void {
  run('a list of the API is the objects in it', async ({ writeManifests }, follow) => {
    const items = ['a', 'b'].map(
      (name) => `- apiVersion: v1\n  kind: Namespace\n  metadata: { name: ${name} }\n`,
    );
    await writeManifests('a.yaml', `apiVersion: v1\nkind: List\nitems:\n${items.join('')}`);
    const follower = follow('Manifest');
    await follower.synced();
    assert.deepEqual([...follower.objects.keys()].sort(), ['v1/Namespace/a', 'v1/Namespace/b']);
  });
}
