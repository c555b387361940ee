/** `tartan apply`, `get`, `describe`, `delete` and `store`: the same words on every store, and state moved between them. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { stringify } from 'yaml';
import { type Doors, runProgram } from '../../src/cli/program.ts';
import type { StoreSettings } from '../../src/model/settings.ts';
import { openObjects } from '../../src/stores/objects.ts';
import { openStore } from '../../src/stores/open.ts';
import { type Etcd, noEtcd, startEtcd } from '../runtimes/etcd.ts';

const root = mkdtempSync(join(tmpdir(), 'et-objects-'));
let etcd: Etcd | undefined;
before(async () => void (etcd = noEtcd === false ? await startEtcd() : undefined));
after(async () => {
  rmSync(root, { recursive: true });
  await etcd?.[Symbol.asyncDispose]();
});

type Answer = { readonly code: number; readonly out: string; readonly err: string };
type Place = {
  readonly store: StoreSettings;
  readonly tartan: (...words: string[]) => Promise<Answer>;
  readonly file: (name: string, text: string) => string;
};

const elsewhere = (): Promise<never> => Promise.reject(new Error('not a command of the store'));
const doors: Doors = {
  version: 'test',
  objects: ({ store }) => openObjects(store),
  agent: elsewhere,
  controller: elsewhere,
  relay: elsewhere,
  cluster: elsewhere,
  resumeCluster: elsewhere,
  everything: elsewhere,
  facts: elsewhere,
  purge: elsewhere,
  removeDirectory: elsewhere,
  migrateFlannel: elsewhere,
  calicoKeys: elsewhere,
  seedBlocks: elsewhere,
  adoptCalico: elsewhere,
  measure: elsewhere,
  lab: elsewhere,
};

/** In this process, as starting one takes longer than all else. One at a time, for its output. */
async function command(words: readonly string[]): Promise<Answer> {
  const told = { log: '', error: '' };
  const { log, error } = console;
  console.log = (text: string) => void (told.log += `${text}\n`);
  console.error = (text: string) => void (told.error += `${text}\n`);
  try {
    const code = await runProgram(words, doors);
    return { code, out: told.log.trim(), err: told.error.trim() };
  } finally {
    Object.assign(console, { log, error });
  }
}

let count = 0;

/** A store of its own, with the settings of a node that has it. */
function openPlace(type: 'directory' | 'etcd'): Place {
  const directory = join(root, `${type}-${(count += 1)}`);
  mkdirSync(directory);
  const store: StoreSettings =
    type === 'directory'
      ? { type, path: join(directory, 'store') }
      : { type, etcd: { ...(etcd as Etcd).settings, prefix: `/et/${count}` } };
  const settings = { apiVersion: 'tartan.dev/v1', kind: 'Settings', node: { name: 'node-a' }, store };
  const network = { ipv4: { range: '10.244.0.0/16' } };
  writeFileSync(join(directory, 'settings.yaml'), stringify({ ...settings, network }));
  return {
    store,
    tartan: (...words) => command([...words, '-c', join(directory, 'settings.yaml')]),
    file: (name, text) => {
      writeFileSync(join(directory, name), text);
      return join(directory, name);
    },
  };
}

const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: { name: web, namespace: shop }
spec: { podSelector: {}, policyTypes: [Ingress] }
`;
const NAMESPACE = 'apiVersion: v1\nkind: Namespace\nmetadata: { name: shop }\n';
const claim = (subnet: string, name = subnet.replace('/', '-')): string => `apiVersion: tartan.dev/v1
kind: SubnetClaim
metadata: { name: ${name} }
spec: { node: node-z, subnet: ${subnet}, reserved: true }
`;
const WEB = 'networking.k8s.io/v1/NetworkPolicy/shop/web';

for (const type of ['directory', 'etcd'] as const) {
  const skip = type === 'etcd' ? noEtcd : false;

  test(`${type}: objects are applied, shown, described and deleted`, { skip }, async () => {
    const { tartan, file } = openPlace(type);
    const all = file('all.yaml', `${POLICY}---\n${NAMESPACE}---\n${claim('10.244.7.0/24')}`);
    const names = [WEB, 'v1/Namespace/shop', 'tartan.dev/v1/SubnetClaim/10.244.7.0-24'];
    const told = (outcome: string): string => names.map((name) => `${name} ${outcome}`).join('\n');
    assert.deepEqual(await tartan('apply', '-f', all, '--dry-run'), {
      code: 0,
      out: names.map((name) => `${name} created (not done)`).join('\n'),
      err: '',
    });
    assert.equal((await tartan('get', 'all')).out, 'no objects');
    assert.deepEqual(await tartan('apply', '-f', all), { code: 0, out: told('created'), err: '' });
    assert.equal((await tartan('apply', '-f', all)).out, told('unchanged'));
    const changed = file('changed.yaml', POLICY.replace('Ingress', 'Egress'));
    assert.equal((await tartan('apply', '-f', changed)).out, `${WEB} changed`);
    const yaml = (await tartan('get', 'netpol', 'web', '-n', 'shop', '-o', 'yaml')).out;
    assert.match(yaml, /policyTypes:\n +- Egress/);
    assert.equal(
      (
        await tartan('apply', '-f', file('again.yaml', (await tartan('get', 'all', '-o', 'yaml')).out))
      ).out.match(/unchanged/g)?.length,
      3,
    );
    assert.match((await tartan('get', 'networkpolicies.networking.k8s.io')).out, /NetworkPolicy +shop +web/);
    const described = await tartan('describe', 'subnetclaim', '10.244.7.0-24');
    assert.match(described.out, /stands in: .*10\.244\.7\.0-24/);
    assert.equal((await tartan('get', 'netpol', 'none')).code, 2);
    assert.equal((await tartan('delete', 'netpol', 'web', '-n', 'shop')).out, `${WEB} removed`);
    assert.equal(
      (await tartan('delete', '-f', all)).out,
      told('removed').replace('web removed', 'web absent'),
    );
    assert.equal((await tartan('get', 'all')).out, 'no objects');
  });

  test(`${type}: bad input is told of whole, and nothing is changed`, { skip }, async () => {
    const { tartan, file } = openPlace(type);
    const good = file('good.yaml', NAMESPACE);
    const bad = file(
      'bad.yaml',
      [
        POLICY.replace('podSelector: {}', 'podSelecter: {}'),
        claim('10.244.7.0/24', '10.244.8.0-24').replace('node-z', '""'),
        'apiVersion: tartan.dev/v1\nkind: Odd\nmetadata: { name: a }\nspec: {}\n',
        'apiVersion: v1\nkind: Namespace\nmetadata: {}\n',
        'just text\n',
        'broken: [\n',
      ].join('---\n'),
    );
    const { code, out, err } = await tartan('apply', '-f', good, bad);
    assert.equal(code, 2, out + err);
    assert.equal(out, '');
    assert.match(err, /nothing is changed/);
    for (const part of [
      /bad\.yaml:4 spec.*podSelect/,
      /bad\.yaml:\d+ spec\.node: must be the name/,
      /bad\.yaml:\d+ metadata\.name: must be 10\.244\.7\.0-24/,
      /bad\.yaml:\d+: is not an object/,
      /bad\.yaml:2\d/,
    ])
      assert.match(err, part);
    assert.equal((await tartan('get', 'all')).out, 'no objects');
    // What only the store knows is wrong is told as whole.
    const odd = file(
      'odd.yaml',
      `${NAMESPACE}---\napiVersion: tartan.dev/v1\nkind: Odd\nmetadata: { name: a }\nspec: {}\n---\n${NAMESPACE}`,
    );
    const refused = await tartan('apply', '-f', odd);
    assert.match(refused.err, /unknown kind "Odd"[\s\S]*is also in/);
    assert.equal((await tartan('delete', 'netpol', 'a', 'b')).err.match(/is not in the store/g)?.length, 2);
    assert.equal((await tartan('get', 'all')).out, 'no objects');
  });
}

test('directory: what somebody wrote by hand is his', async () => {
  const { tartan, file, store } = openPlace('directory');
  const path = store.type === 'directory' ? store.path : '';
  mkdirSync(join(path, 'manifests'), { recursive: true });
  const own = join(path, 'manifests', 'mine.yaml');
  writeFileSync(own, `# mine\n${POLICY}`);
  await sleep(200);
  const { code, err } = await tartan(
    'apply',
    '-f',
    file('p.yaml', `${POLICY.replace('Ingress', 'Egress')}---\n${NAMESPACE}`),
  );
  assert.equal(code, 2);
  assert.match(err, new RegExp(`${WEB} stands in ${own}: change it there`));
  assert.match((await tartan('delete', 'netpol', 'web')).err, /change it there/);
  assert.equal((await tartan('apply', '-f', own)).out, `${WEB} unchanged`);
  assert.equal(readFileSync(own, 'utf8'), `# mine\n${POLICY}`);
  assert.deepEqual(readdirSync(join(path, 'manifests')), ['mine.yaml']);
});

test('state moves from a directory to etcd and back, whole', { skip: noEtcd }, async () => {
  const [from, to, back] = [openPlace('directory'), openPlace('etcd'), openPlace('directory')];
  await from.tartan(
    'apply',
    '-f',
    from.file('all.yaml', `${POLICY}---\n${NAMESPACE}---\n${claim('fd00:1:2:3::/64')}`),
  );
  const store = await openStore(from.store);
  const node = { name: 'node-a', addresses: { 4: '192.168.1.1' } };
  await store.put('Node', 'node-a', node);
  const leased = { node: 'node-a', subnet: '10.244.1.0/24', reserved: false };
  await store.put('SubnetClaim', '10.244.1.0-24', leased, { ttlSeconds: 3600 });
  store.close();
  const names = async ({ tartan }: Place): Promise<unknown> =>
    JSON.parse((await tartan('get', 'all', '-o', 'json')).out);
  const [one, two] = [join(root, 'export-1'), join(root, 'export-2')];
  assert.equal((await from.tartan('store', 'export', one)).out, `${one}: 5 created`);
  assert.match((await from.tartan('store', 'export', one)).err, /is not empty/);
  assert.equal((await to.tartan('store', 'import', one)).out, `${one}: 5 created`);
  assert.equal((await to.tartan('store', 'import', one)).out, `${one}: 5 unchanged`);
  assert.deepEqual(await names(to), await names(from));
  const moved = await openStore(to.store);
  const { expiresAtMs = 0 } = (await moved.get('SubnetClaim', '10.244.1.0-24')) ?? {};
  assert.ok(Math.abs(expiresAtMs - Date.now() - 3_600_000) < 300_000, 'its time goes on');
  moved.close();
  assert.equal((await to.tartan('store', 'export', two)).out, `${two}: 5 created`);
  assert.equal((await back.tartan('store', 'import', two)).out, `${two}: 5 created`);
  assert.deepEqual(await names(back), await names(from));
  // Others under the same names: all are told of, and nothing is changed.
  const other = openPlace('etcd');
  await other.tartan(
    'apply',
    '-f',
    other.file(
      'o.yaml',
      `${POLICY.replace('Ingress', 'Egress')}---\n${claim('fd00:1:2:3::/64').replace('node-z', 'node-y')}`,
    ),
  );
  const before = await names(other);
  const { code, err } = await other.tartan('store', 'import', one);
  assert.equal(code, 2);
  assert.equal(err.match(/is another one in the store/g)?.length, 2);
  assert.deepEqual(await names(other), before);
  writeFileSync(join(one, 'state', 'Node', 'node-a.yaml'), '{"broken');
  assert.match((await openPlace('etcd').tartan('store', 'import', one)).err, /node-a\.yaml:1/);
  assert.match((await from.tartan('store', 'import', join(root, 'nowhere'))).err, /has no manifests/);
});
