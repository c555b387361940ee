/**
 * What is generated for Kubernetes, compared with the files in the tree. To accept a change of the manifest: UPDATE_GOLDEN=1
 * npm exec -- node --test test/house/deploy.test.ts; of deploy/: make docs
 */
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { env } from 'node:process';
import { test } from 'node:test';
import { parseAllDocuments, stringify } from 'yaml';
import { openMetrics } from '#agent/metrics.ts';
import { openMetrics as openControllerMetrics } from '#controller/metrics.ts';
import { openMetrics as openRelayMetrics } from '#relay/metrics.ts';
import { ALERTS } from '#deploy/alerts.ts';
import { installationObjects, namespaceObject, plainObjects, renderObjects } from '#deploy/manifest.ts';
import { type Installation, planInstallation } from '#deploy/options.ts';
import { readProfiles } from '../../src/cli/profiles.ts';

const GOLDEN = 'test/golden/kubernetes-calico.yaml';
const profiles = readProfiles();

function calico(kubernetes?: string): Installation {
  const words = { profile: 'calico', version: '0.0.0', image: 'example.org/tartan:0', monitoring: true };
  return planInstallation({ ...words, kubernetes, set: ['network.ipv4.range=10.9.0.0/16'] }, profiles);
}

const objectsOf = (installation: Installation) => [
  namespaceObject(installation),
  ...installationObjects(installation),
];

test('the manifest is as it was', () => {
  const text = renderObjects(objectsOf(calico()));
  if (env['UPDATE_GOLDEN'] !== undefined) writeFileSync(GOLDEN, text);
  assert.equal(text, readFileSync(GOLDEN, 'utf8'));
});

test('the text is the objects, without the reasons, and each has its name once', () => {
  for (const profile of Object.keys(profiles)) {
    const objects = objectsOf(planInstallation({ profile, version: '0.0.0' }, profiles));
    const read = parseAllDocuments(renderObjects(objects)).map((document) => document.toJS() as unknown);
    assert.deepEqual(read, plainObjects(objects));
    const names = objects.map(({ kind, metadata }) => `${kind}/${metadata.namespace}/${metadata.name}`);
    assert.equal(new Set(names).size, names.length);
  }
});

test('older clusters get what they know', () => {
  const textOf = (version: string): string => renderObjects(objectsOf(calico(version)));
  assert.match(textOf('v1.20.2'), /policy\/v1beta1/);
  assert.match(textOf('1.24.3-gke.1'), /apparmor\.security\.beta/);
  assert.doesNotMatch(textOf('1.24'), /x-kubernetes-validations/);
  assert.match(textOf('1.25'), /x-kubernetes-validations/);
  assert.match(textOf('1.25'), /apparmor\.security\.beta/);
  assert.doesNotMatch(textOf('1.31'), /apparmor\.security\.beta/);
  assert.equal(textOf('1.31'), renderObjects(objectsOf(calico())));
});

test('agents see what flannel noted only while the cluster moves from it', () => {
  type Pods = {
    spec: { template: { spec: { volumes: object[]; containers: { volumeMounts: object[] }[] } } };
  };
  const seenWith = (...set: readonly string[]): string[] => {
    const objects = installationObjects(
      planInstallation({ profile: 'flannel', version: '0', set }, profiles),
    );
    const { volumes, containers } = (objects.find(({ kind }) => kind === 'DaemonSet') as unknown as Pods).spec
      .template.spec;
    const texts = [...volumes, ...containers.flatMap(({ volumeMounts }) => volumeMounts)].map((each) =>
      JSON.stringify(each),
    );
    return texts.filter((text) => /flannel|cni-state/.test(text));
  };
  assert.deepEqual(seenWith(), []);
  assert.deepEqual(seenWith('migration.flannel=null'), []);
  assert.deepEqual(seenWith('migration.flannel={}'), [
    '{"name":"flannel","hostPath":{"path":"/run/flannel","type":"DirectoryOrCreate"}}',
    '{"name":"cni-state","hostPath":{"path":"/var/lib/cni","type":"DirectoryOrCreate"}}',
    '{"name":"flannel","mountPath":"/run/flannel"}',
    '{"name":"cni-state","mountPath":"/var/lib/cni","readOnly":true}',
  ]);
  assert.match(seenWith('migration.flannel.subnetFile=/run/f/env').join(), /"path":"\/run\/f"/);
});

test('no rule has a wildcard, and none leads to Secrets or to more rights', () => {
  type Rule = Readonly<Record<'apiGroups' | 'resources' | 'verbs', readonly string[]>>;
  const rules = installationObjects(calico()).flatMap(({ rules }) => (rules ?? []) as readonly Rule[]);
  assert.ok(rules.length > 10);
  for (const rule of rules) {
    const words = [...rule.apiGroups, ...rule.resources, ...rule.verbs];
    for (const word of ['*', 'secrets', 'impersonate', 'escalate', 'bind', 'deletecollection'])
      assert.ok(!words.includes(word), `${word} in ${JSON.stringify(rule)}`);
    assert.ok(!words.some((word) => word.startsWith('clusterrole') || word.startsWith('serviceaccounts/')));
  }
});

const POLICY_METRICS = readFileSync('src/agent/policy-flows/metrics.ts', 'utf8');

test('alerts ask of metrics that agents have, and each has its page', async () => {
  const opened = [openMetrics('a'), openControllerMetrics(), openRelayMetrics()];
  const registries = opened.map(({ registry }) => registry);
  const metrics = await Promise.all(registries.map((registry) => registry.getMetricsAsJSON()));
  const known = new Set(metrics.flat().map(({ name }) => name));
  const page = readFileSync('docs/guide/alerts.md', 'utf8');
  let asked = 0;
  for (const { alert, expr, annotations } of ALERTS.flatMap(({ rules }) => rules)) {
    for (const [name] of expr.matchAll(/\btartan_[a-z_]+\b/g)) {
      asked += 1;
      const base = name.replace(/_(?:count|bucket|sum)$/, '');
      assert.ok(known.has(base) || POLICY_METRICS.includes(`'${base}'`), `${alert}: no metric ${name}`);
    }
    assert.ok(page.includes(`\n## ${alert}\n`), `${alert} is not in docs/guide/alerts.md`);
    assert.equal(annotations.runbook, `docs/guide/alerts.md#${alert.toLowerCase()}`);
  }
  assert.ok(asked > 8, `only ${asked} metrics asked`);
});

test('the file of alerts is printed from them', () => {
  const text = readFileSync('deploy/monitoring/alerts.yaml', 'utf8');
  assert.equal(
    text.slice(text.indexOf('groups:')),
    stringify({ groups: ALERTS }, { lineWidth: 0, singleQuote: true }),
  );
});
