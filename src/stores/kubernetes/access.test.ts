import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { stringify } from 'yaml';
import { manualClock } from '#lib/clock.ts';
import { Fault } from '#model/fault.ts';
import { AccessReader } from './access.ts';

const root = mkdtempSync(join(tmpdir(), 'ks-access-'));
after(() => rmSync(root, { recursive: true }));

let count = 0;
function file(text: string): string {
  const path = join(root, `f${(count += 1)}`);
  writeFileSync(path, text);
  return path;
}
const base64 = (text: string): string => Buffer.from(text).toString('base64');

type Parts = { readonly user?: object; readonly cluster?: object; readonly current?: string };

function kubeconfig({ user = {}, cluster = {}, current = 'one' }: Parts): string {
  const clusters = ['one', 'two'].map((name) => ({
    name,
    cluster: { server: `https://${name}:6443`, 'certificate-authority-data': base64('CA'), ...cluster },
  }));
  const contexts = ['one', 'two'].map((name) => ({ name, context: { cluster: name, user: 'me' } }));
  const config = { apiVersion: 'v1', kind: 'Config', clusters, contexts, users: [{ name: 'me', user }] };
  return file(stringify({ ...config, 'current-context': current }));
}

const nowhere = { env: {}, serviceAccount: '/nonexistent' };

test('contexts, data and files, beside the kubeconfig where they are not absolute', async () => {
  const cert = file('CERT');
  const user = { 'client-certificate': cert.slice(root.length + 1), 'client-key-data': base64('KEY') };
  const path = kubeconfig({ user, cluster: { 'tls-server-name': 'kubernetes' } });
  const read = (context?: string, server?: string) =>
    new AccessReader({
      settings: { kubeconfig: path, context, server },
      clock: manualClock(),
      ...nowhere,
    }).read();
  const expected = {
    server: 'https://one:6443',
    serverName: 'kubernetes',
    ca: 'CA',
    cert: 'CERT',
    key: 'KEY',
  };
  assert.deepEqual(await read(), { ...expected, token: undefined });
  assert.equal((await read('two')).server, 'https://two:6443');
  assert.equal((await read('one', 'https://other:1')).server, 'https://other:1');
  await assert.rejects(read('three'), { code: 'settings-invalid' });
  await assert.rejects(read('one', 'http://other:1'), /plain text/);
});

test('tokens are read again after a minute, and when they were refused; a file that is away changes nothing', async () => {
  const clock = manualClock();
  const token = file('first\n');
  const settings = { kubeconfig: kubeconfig({ user: { tokenFile: token, token: 'older' } }) };
  const reader = new AccessReader({ settings, clock, ...nowhere });
  const first = await reader.read();
  assert.equal(first.token, 'first');
  assert.equal(await reader.read(), first);
  writeFileSync(token, 'second');
  assert.equal(await reader.read(), first);
  const second = await reader.read(first);
  assert.equal(second.token, 'second');
  // Somebody else's refusal of what has been exchanged already.
  writeFileSync(token, 'third');
  assert.equal(await reader.read(first), second);
  rmSync(token);
  await clock.advance(61_000);
  assert.equal(await reader.read(), second);
  writeFileSync(token, 'fourth');
  await clock.advance(61_000);
  assert.equal((await reader.read()).token, 'fourth');
});

test('a plug-in is asked with what it must know, again before its credentials end, and when they are refused', async () => {
  const clock = manualClock(Date.parse('2026-01-01T00:00:00Z'));
  const asked = join(root, 'asked');
  const status = '{"token":"T","expirationTimestamp":"2026-01-01T00:10:00Z"}';
  const program = file(
    `#!/bin/sh\necho "$KUBERNETES_EXEC_INFO $1 $EXTRA" >>${asked}\necho '{"kind":"ExecCredential","status":${status}}'\n`,
  );
  chmodSync(program, 0o700);
  const exec = {
    apiVersion: 'client.authentication.k8s.io/v1',
    command: program,
    args: ['arg'],
    env: [{ name: 'EXTRA', value: 'extra' }],
    provideClusterInfo: true,
  };
  const reader = new AccessReader({
    settings: { kubeconfig: kubeconfig({ user: { exec } }) },
    clock,
    ...nowhere,
  });
  const times = (): number => readFileSync(asked, 'utf8').trim().split('\n').length;
  const first = await reader.read();
  assert.equal(first.token, 'T');
  assert.match(readFileSync(asked, 'utf8'), /"server":"https:\/\/one:6443".* arg extra/);
  await clock.advance(120_000);
  await reader.read();
  assert.equal(times(), 1, 'they are good still');
  await reader.read(await reader.read());
  assert.equal(times(), 2, 'they were refused');
  await clock.advance(500_000);
  await reader.read();
  assert.equal(times(), 3, 'they are about to end');
  writeFileSync(program, '#!/bin/sh\necho secret >&2; exit 3\n');
  const failing = new AccessReader({
    settings: { kubeconfig: kubeconfig({ user: { exec } }) },
    clock,
    ...nowhere,
  });
  await assert.rejects(failing.read(), (error: unknown) => {
    assert.ok(error instanceof Fault && error.code === 'store-refused');
    return !JSON.stringify([error, error.message]).includes('secret');
  });
});

test('as a pod: the service account, at the address of the environment', async () => {
  const serviceAccount = mkdtempSync(join(root, 'account-'));
  writeFileSync(join(serviceAccount, 'token'), 'POD\n');
  writeFileSync(join(serviceAccount, 'ca.crt'), 'CA');
  const read = (env: Record<string, string>) =>
    new AccessReader({ settings: {}, clock: manualClock(), env, serviceAccount }).read();
  const six = await read({ KUBERNETES_SERVICE_HOST: 'fd00::1', KUBERNETES_SERVICE_PORT: '6443' });
  assert.equal(six.server, 'https://[fd00::1]:6443');
  assert.equal(six.token, 'POD');
  assert.equal((await read({})).server, 'https://kubernetes.default.svc:443');
});

test('what is wrong is told whole, and no secret with it', async () => {
  const user = {
    username: 'u',
    password: 'SECRET',
    token: 'SECRET',
    as: 'x',
    'auth-provider': { name: 'SECRET' },
  };
  const path = kubeconfig({
    user,
    cluster: { 'insecure-skip-tls-verify': true, 'proxy-url': 'http://SECRET' },
  });
  const problemsOf = async (kubeconfig: string): Promise<string[]> => {
    try {
      await new AccessReader({ settings: { kubeconfig }, clock: manualClock(), ...nowhere }).read();
    } catch (error) {
      assert.ok(error instanceof Fault && error.code === 'settings-invalid');
      assert.ok(!JSON.stringify([error, error.message]).includes('SECRET'));
      return error.problems.map(({ path, message }) => `${path}: ${message}`);
    }
    return [];
  };
  assert.equal((await problemsOf(path)).length, 5);
  assert.match((await problemsOf(file('SECRET: [\n'))).join(), /is not YAML/);
  assert.match((await problemsOf('/nonexistent')).join(), /ENOENT/);
  assert.match((await problemsOf(file('clusters: SECRET'))).join(), /clusters/);
});
