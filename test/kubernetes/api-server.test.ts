/** The API server that other tests stand on: who may do what, what outlives a restart, and that nothing is left. */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { test } from 'node:test';
import { waitFor } from '../host/namespace.ts';
import { noApiServer, startApiServer } from './api-server.ts';

const map = (name: string) => ({ apiVersion: 'v1', kind: 'ConfigMap', metadata: { name }, data: { a: 'b' } });
const MAPS = '/api/v1/namespaces/default/configmaps';

test('a real API server: rights, restart, wipe, audit', { skip: noApiServer }, async () => {
  const server = await startApiServer({ audit: true, users: { reader: { name: 'reader' } } });
  await using _ = server;
  assert.equal((await server.ask(MAPS, { method: 'POST', body: map('one') })).status, 201);
  assert.equal((await server.ask(MAPS, { user: 'reader' })).status, 403, 'RBAC is on');
  // The role `view` of Kubernetes is put together by the controller manager, which does not run here.
  const role = ['create', 'clusterrole', 'reader', '--verb=get', '--resource=configmaps'];
  const binding = ['create', 'clusterrolebinding', 'reader', '--clusterrole=reader', '--user=reader'];
  for (const words of [role, binding]) assert.equal((await server.kubectl(words)).code, 0);
  const version = await server.kubectl(['version', '--short']);
  assert.match(version.stdout, /Server Version: v1\.20\.2/);
  await server.kill();
  await assert.rejects(server.ask('/readyz'), /ECONNREFUSED/);
  await server.start();
  // Roles are read a moment after it is ready.
  const kept = async (): Promise<boolean> =>
    (await server.kubectl(['get', 'configmap', 'one'], { user: 'reader' })).code === 0;
  await waitFor('the object and who may see it', kept, 30_000);
  await server.wipe();
  assert.equal((await server.ask(`${MAPS}/one`)).status, 404, 'a wiped cluster has lost it');
  const created = server.audited().filter(({ verb, requestURI }) => verb === 'create' && requestURI === MAPS);
  assert.deepEqual(
    created.map(({ user, responseStatus }) => [user.username, responseStatus?.code]),
    [['admin', 201]],
  );
  await server[Symbol.asyncDispose]();
  assert.equal(existsSync(server.directory), false);
});
