/**
 * What `tartan install --profile` prints, given to a real API server by the kubectl that Debian has: every object is taken, a
 * second time nothing changes, and custom resources hold what agents write and nothing else.
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { after, before, describe, test } from 'node:test';
import { type ApiServer, noApiServer, startApiServer } from '../kubernetes/api-server.ts';
import { waitFor } from './namespace.ts';

function printManifest(...words: readonly string[]): string {
  const all = ['src/main.ts', 'install', '--profile', 'calico', ...words];
  return execFileSync(process.execPath, all, { encoding: 'utf8' });
}

const NODE = { name: 'a', addresses: { 4: '10.0.0.1' }, subnets: {}, road: 'vxlan', mtu: 1500, ready: true };
const objectOf = (kind: string, name: string, spec: object) => ({
  apiVersion: 'tartan.dev/v1',
  kind,
  metadata: { name },
  spec,
});
/** One of each kind, by plural; empty texts and nulls among them. */
const OBJECTS: Readonly<Record<string, ReturnType<typeof objectOf>>> = {
  nodeadverts: objectOf('NodeAdvert', 'a', NODE),
  subnetclaims: objectOf('SubnetClaim', '10.244.7.0-24', {
    node: 'a',
    subnet: '10.244.7.0/24',
    reserved: false,
  }),
  workloads: objectOf('Workloads', 'a', {
    node: 'a',
    pods: [{ namespace: 'x', name: 'y', addresses: ['fd00::1'], labels: { 'a.b/c': '' } }],
  }),
  blocks: objectOf('Block', '10.244.0.0-26', {
    prefix: '10.244.0.0/26',
    free: '',
    holders: { a: { numbers: '1-62', term: 3 } },
  }),
  pools: objectOf('Pool', 'main', { prefix: '10.244.0.0/16', mode: null, uses: [] }),
};

describe('the manifest at an API server', { skip: noApiServer ?? false }, () => {
  let server: ApiServer;
  before(async () => {
    server = await startApiServer();
    const manifest = printManifest('--kubernetes', '1.20');
    const applied = await server.kubectl(['apply', '-f', '-'], { input: manifest });
    assert.equal(applied.code, 0, applied.stderr);
    await waitFor('the custom resources', async () =>
      (await server.kubectl(['get', 'tartan'])).stderr.includes('No resources found'),
    );
  });
  after(async () => {
    await server?.[Symbol.asyncDispose]();
  });

  test('the server takes it again, by itself and with other values, and finds nothing new in the same', async () => {
    const again = await server.kubectl(['apply', '-f', '-'], {
      input: printManifest('--kubernetes', '1.20'),
    });
    assert.equal(again.code, 0, again.stderr);
    const lines = again.stdout.trim().split('\n');
    assert.ok(lines.length > 15, again.stdout);
    for (const line of lines) assert.match(line, / unchanged$/);
    const words = ['--kubernetes', '1.20', '--namespace', 'elsewhere', '--image', 'example.org/tartan:2'];
    const manifest = printManifest(...words, '--set', 'policy.audit=true', '--set', 'log.level=debug');
    const trial = await server.kubectl(['apply', '--dry-run=server', '-f', '-'], {
      input: manifest.replaceAll('namespace: elsewhere', 'namespace: tartan-system'),
    });
    assert.equal(trial.code, 0, trial.stderr);
    assert.match(trial.stdout, /daemonset.apps\/tartan-agent configured/);
    const cleanup = printManifest('--kubernetes', '1.20', '--uninstall');
    const gone = await server.kubectl(['apply', '--dry-run=server', '-f', '-'], { input: cleanup });
    assert.equal(gone.stdout.trim(), 'daemonset.apps/tartan-cleanup created (server dry run)', gone.stderr);
  });

  test('what newer servers know is dropped by this one, not refused', async () => {
    const words = ['apply', '--validate=false', '--dry-run=server', '-f', '-'];
    const crds = printManifest()
      .split(/^---\n/m)
      .filter((text) => text.includes('kind: CustomResourceDefinition'));
    assert.match(crds.join(''), /x-kubernetes-validations/);
    const applied = await server.kubectl(words, { input: crds.map((text) => `---\n${text}`).join('') });
    assert.equal(applied.code, 0, applied.stderr);
  });

  for (const [plural, object] of Object.entries(OBJECTS)) {
    test(`${plural} are kept as they were written`, async () => {
      const path = `/apis/tartan.dev/v1/${plural}`;
      const created = await server.ask(path, { method: 'POST', body: object });
      assert.equal(created.status, 201, JSON.stringify(created.body));
      const { body } = await server.ask(`${path}/${object.metadata.name}`);
      assert.deepEqual(body['spec'], object.spec);
    });
  }

  test('what no agent could read is refused, and unknown fields are not kept', async () => {
    const path = '/apis/tartan.dev/v1/nodeadverts';
    const write = async (name: string, spec: object): Promise<number> => {
      return (await server.ask(path, { method: 'POST', body: objectOf('NodeAdvert', name, spec) })).status;
    };
    assert.equal(await write('b', { ...NODE, road: 'by-sea' }), 422);
    assert.equal(await write('b', { ...NODE, mtu: 'large' }), 422);
    assert.equal(await write('b', { ...NODE, addresses: { 4: 'over there' } }), 422);
    assert.equal(await write('b', { name: 'b' }), 422);
    assert.equal(await write('b', { ...NODE, name: 'b', mood: 'good' }), 201);
    const { body } = await server.ask(`${path}/b`);
    assert.deepEqual(body['spec'], { ...NODE, name: 'b' });
    const wide = await server.kubectl(['get', 'tna', 'b', '-o', 'wide']);
    assert.match(wide.stdout, /vxlan +10\.0\.0\.1 .*true .*1500/);
  });
});
