import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readManifests } from '#model/manifest.ts';
import { parseFacts } from '../facts/parse.ts';
import { audit, auditSchema } from './audit.ts';
import { usesOf } from './uses.ts';

const cell = (value: string): string => `[{value: ${value}, source: s}]`;
const FACTS = parseFacts({
  sources: "s: {title: S, date: '2026'}",
  able: `title: A\nfacts: {networkPolicy: ${cell('yes')}, egressPolicy: ${cell('yes')}, portRanges: ${cell('yes')}}`,
  old: `title: O\nfacts: {networkPolicy: ${cell('yes')}, egressPolicy: ${cell('yes')}, portRanges: ${cell('no')}}`,
  partial: `title: P\nfacts: {networkPolicy: ${cell('partly')}, egressPolicy: ${cell('yes')}, portRanges: ${cell('yes')}}`,
  without: `title: W\nfacts: {networkPolicy: ${cell('no')}, portRanges: ${cell('no')}}`,
  silent: 'title: X\nfacts: {}',
  own: `title: T\nprofile: t\nfacts: {networkPolicy: ${cell('yes')}}`,
});
const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: shop}
spec:
  podSelector: {}
  ingress: [{ports: [{port: 1, endPort: 9}]}]
`;
const manifests = (text: string) => readManifests('f.yaml', text).manifests;

test('ignored, changed, half, unknown, same: by the worst of what the object uses, each with its source', () => {
  const {
    objects: found,
    summary,
    others,
  } = auditSchema.parse(audit(FACTS, manifests(`${POLICY}---\nkind: ConfigMap\n`), () => []));
  assert.equal(found.length, 1);
  assert.equal(found[0]?.object, 'NetworkPolicy shop/web');
  const outcomes = Object.fromEntries(found[0].candidates.map(({ id, outcome }) => [id, outcome]));
  const expected = {
    able: 'same',
    old: 'changed',
    partial: 'half',
    without: 'ignored',
    silent: 'unknown',
    own: 'unknown',
  };
  assert.deepEqual(outcomes, expected);
  assert.deepEqual(others, { ConfigMap: 1 });
  assert.equal(summary.find(({ id }) => id === 'old')?.counts.changed, 1);
  const old = found[0].candidates.find(({ id }) => id === 'old');
  assert.deepEqual(old?.because, [
    {
      path: 'spec.ingress.0.ports.0.endPort',
      what: 'port ranges (endPort) in policies',
      value: 'no',
      source: 's',
    },
  ]);
});

test('what Tartan itself refuses is refused, at its path, by its profiles alone', () => {
  const { objects } = audit(FACTS, manifests(POLICY), () => [{ path: 'f.yaml:3 spec', message: 'is wrong' }]);
  const [found] = objects;
  const refused = found?.candidates.filter(({ outcome }) => outcome === 'refused').map(({ id }) => id);
  assert.deepEqual(refused, ['own']);
});

test('what objects use: kinds by their group, fields by their name and value', () => {
  const features = (text: string) =>
    manifests(text).map((one) => {
      const uses = usesOf(one);
      return uses && [uses.kind, ...uses.fields.map(({ feature }) => feature)];
    });
  assert.deepEqual(features('apiVersion: v1\nkind: ConfigMap'), [undefined]);
  assert.deepEqual(features('apiVersion: v1\nkind: Pod\nspec: {containers: [{ports: [{hostPort: 1}]}]}'), [
    [undefined, 'hostPorts'],
  ]);
  assert.deepEqual(
    features(
      'apiVersion: cilium.io/v2\nkind: CiliumNetworkPolicy\nspec: {egress: [{toFQDNs: [{matchName: a}], toPorts: [{ports: [{port: "80"}], rules: {http: [{}]}}]}]}',
    ),
    [['ciliumPolicy', 'egressPolicy', 'dnsPolicy', 'httpPolicy']],
  );
  assert.deepEqual(features('apiVersion: projectcalico.org/v3\nkind: HostEndpoint'), [['hostPolicy']]);
  assert.deepEqual(
    features(
      'apiVersion: projectcalico.org/v3\nkind: NetworkPolicy\nspec: {ingress: [{destination: {ports: [80, http]}}]}',
    ),
    [['calicoPolicy', 'namedPorts']],
  );
});

test('services and annotations: of services, namespaces, pods and what makes pods', () => {
  const features = (text: string) =>
    manifests(text).flatMap(
      (one) => usesOf(one)?.fields.map(({ feature, path }) => `${feature} ${path}`) ?? [],
    );
  const service =
    'apiVersion: v1\nkind: Service\nmetadata: {name: s, annotations: {service.cilium.io/global: "true", kube-router.io/service.dsr: tunnel}}\nspec: {type: LoadBalancer}';
  assert.deepEqual(features(service), [
    'severalClusters metadata.annotations.service.cilium.io/global',
    'kubeRouterAnnotations metadata.annotations.kube-router.io/service.dsr',
    'loadBalancer spec.type',
  ]);
  assert.deepEqual(features('apiVersion: v1\nkind: Service\nspec: {type: ClusterIP}'), []);
  assert.deepEqual(
    features(
      'apiVersion: v1\nkind: Namespace\nmetadata: {annotations: {cni.projectcalico.org/ipv4pools: "[]"}}',
    ),
    ['calicoAnnotations metadata.annotations.cni.projectcalico.org/ipv4pools'],
  );
  const deployment =
    'kind: Deployment\nspec: {template: {metadata: {annotations: {kubernetes.io/egress-bandwidth: 1M, vpc.amazonaws.com/pod-ips: x}}}}';
  assert.deepEqual(features(deployment), [
    'bandwidth spec.template.metadata.annotations.kubernetes.io/egress-bandwidth',
    'awsAnnotations spec.template.metadata.annotations.vpc.amazonaws.com/pod-ips',
  ]);
  const kinds = (text: string) => manifests(text).map((one) => usesOf(one)?.kind);
  assert.deepEqual(kinds('apiVersion: vpcresources.k8s.aws/v1beta1\nkind: SecurityGroupPolicy'), [
    'awsAnnotations',
  ]);
  assert.deepEqual(kinds('apiVersion: crd.projectcalico.org/v1\nkind: IPPool'), ['calicoAnnotations']);
  assert.deepEqual(kinds('apiVersion: cilium.io/v2\nkind: CiliumLocalRedirectPolicy'), ['ciliumAnnotations']);
});
