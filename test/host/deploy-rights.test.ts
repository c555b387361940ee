/**
 * Agents, a relay and a controller with the rights that `tartan install` grants, at a real API server: they do all that they do, and the
 * audit log knows of nothing that was refused. Blocks here; node CIDRs, taints and Events in kubernetes-agent.test.ts.
 */
import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { stringify } from 'yaml';
import { RELAY_AUDIENCE } from '../../src/model/relay.ts';
import { type ApiServer, noApiServer, startApiServer } from '../kubernetes/api-server.ts';
import { makeNamespace, type Namespace, waitFor, whyNoKernel } from './namespace.ts';
import { makeUnderlay, type Node, startNode, type Underlay, whyNoTartan } from './node.ts';

const skip = noApiServer ?? whyNoKernel(['ip', 'ping']) ?? whyNoTartan() ?? false;
const accountOf = (name: string) => ({
  name: `system:serviceaccount:tartan-system:${name}`,
  groups: ['system:serviceaccounts', 'system:serviceaccounts:tartan-system', 'system:authenticated'],
});

type TokenRequest = { readonly status: { readonly token: string } };

describe('rights', { skip }, () => {
  let underlay: Underlay;
  let place: Namespace;
  let server: ApiServer;
  let controller: ChildProcess | undefined;
  let relay: ChildProcess | undefined;
  const nodes: Node[] = [];
  const pods: Namespace[] = [];
  before(async () => {
    underlay = await makeUnderlay('kd-rights');
    place = makeNamespace('kd-api');
    underlay.plug(place, 9);
    const parts = ['agent', 'controller', 'relay'];
    const users = Object.fromEntries(parts.map((part) => [part, accountOf(`tartan-${part}`)]));
    server = await startApiServer({ users, audit: true, place: { netns: place, address: '172.30.0.9' } });
    const words = ['src/main.ts', 'install', '--profile', 'calico', '--kubernetes', '1.20'];
    const manifest = execFileSync(process.execPath, words, { encoding: 'utf8' });
    const applied = await server.kubectl(['apply', '-f', '-'], { input: manifest });
    assert.equal(applied.code, 0, applied.stderr);
    const objects = [1, 2].map((index) => ({
      apiVersion: 'v1',
      kind: 'Node',
      metadata: { name: `n${index}` },
    }));
    const pool = { apiVersion: 'tartan.dev/v1', kind: 'Pool', metadata: { name: 'p' } };
    const list = [...objects, { ...pool, spec: { prefix: '10.244.0.0/16' } }];
    const input = stringify({ apiVersion: 'v1', kind: 'List', items: list });
    await waitFor('the custom resources', async () => {
      return (await server.kubectl(['apply', '-f', '-'], { input })).code === 0;
    });
  });
  after(async () => {
    controller?.kill('SIGKILL');
    relay?.kill('SIGKILL');
    for (const node of nodes) await node.stop();
    for (const pod of pods) pod.remove();
    await server?.[Symbol.asyncDispose]();
    place?.remove();
    underlay?.remove();
  });

  const storeOf = (user: string) => ({
    type: 'kubernetes',
    kubernetes: { kubeconfig: server.kubeconfig(user) },
  });

  /** On the host of the API server; answers the file of a token for it. */
  async function startRelay(): Promise<string> {
    const file = join(server.directory, 'relay.yaml');
    const head = { apiVersion: 'tartan.dev/v1', kind: 'Settings' };
    writeFileSync(file, stringify({ ...head, relay: { address: '172.30.0.9' }, store: storeOf('relay') }));
    relay = place.start([process.execPath, 'src/main.ts', 'relay', '--config', file]);
    const path = '/api/v1/namespaces/tartan-system/serviceaccounts/tartan-agent/token';
    const request = { apiVersion: 'authentication.k8s.io/v1', kind: 'TokenRequest' };
    const input = JSON.stringify({ ...request, spec: { audiences: [RELAY_AUDIENCE] } });
    const made = await server.kubectl(['create', '--raw', path, '-f', '-'], { input });
    assert.equal(made.code, 0, made.stderr);
    const tokenFile = join(server.directory, 'relay-token');
    writeFileSync(tokenFile, (JSON.parse(made.stdout) as TokenRequest).status.token);
    const has = async (): Promise<boolean> =>
      (await server.kubectl(['get', 'relays.tartan.dev', '-o', 'name'])).stdout !== '';
    await waitFor('a relay', has, 60_000);
    return tokenFile;
  }

  async function attach(node: Node, id: string): Promise<string> {
    const pod = makeNamespace(`kd-${id}`);
    pods.push(pod);
    const body = {
      apiVersion: 'v1',
      kind: 'Pod',
      metadata: { name: id, namespace: 'default' },
      spec: { nodeName: nodeName(node), containers: [{ name: 'a', image: 'a' }] },
    };
    const made = await server.kubectl(['create', '-f', '-'], { input: JSON.stringify(body) });
    assert.equal(made.code, 0, made.stderr);
    const names = `K8S_POD_NAMESPACE=default;K8S_POD_NAME=${id}`;
    const environment = { CNI_CONTAINERID: id, CNI_IFNAME: 'eth0', CNI_NETNS: pod.path, CNI_ARGS: names };
    const config = { cniVersion: '1.0.0', name: 'tartan', type: 'tartan-cni' };
    const { code, stdout } = await node.cni('ADD', environment, config);
    assert.equal(code, 0, `${stdout}\n${node.log()}`);
    const { ips } = JSON.parse(stdout) as { readonly ips: readonly { readonly address: string }[] };
    return ips[0]?.address.split('/')[0] ?? assert.fail(stdout);
  }

  const nodeName = (node: Node): string => `n${nodes.indexOf(node) + 1}`;

  test('agents take blocks, tell of their pods, and reach each other’s; the controller leads', async () => {
    const relayTokenFile = await startRelay();
    const { type, kubernetes } = storeOf('agent');
    for (const index of [1, 2]) {
      const settings = {
        profile: 'calico',
        node: { name: `n${index}` },
        road: { type: 'host-gw', mode: 'Always' },
        store: { type, kubernetes: { ...kubernetes, relayTokenFile } },
      };
      nodes.push(await startNode(`n${index}`, settings, { underlay, index }));
    }
    const [one = assert.fail(), two = assert.fail()] = nodes;
    const settingsFile = join(server.directory, 'controller.yaml');
    const head = { apiVersion: 'tartan.dev/v1', kind: 'Settings', profile: 'calico' };
    const lease = { durationSeconds: 3, deadlineSeconds: 2, retrySeconds: 1 };
    writeFileSync(settingsFile, stringify({ ...head, store: storeOf('controller'), controller: { lease } }));
    controller = place.start([process.execPath, 'src/main.ts', 'controller', '--config', settingsFile]);
    const to = await attach(two, 'b');
    await attach(one, 'a');
    for (const node of nodes) assert.match(node.log(), /the store is watched through the relay/);
    const from = pods[1] ?? assert.fail();
    await waitFor('a ping', async () => (await from.run(['ping', '-c1', '-W1', to])).code === 0, 30_000);
    const has = async (name: string): Promise<boolean> => (await server.kubectl(['get', name])).code === 0;
    await waitFor('the state of the cluster', () => has('clusterstatus/cluster'), 60_000);
    await waitFor('the pods of a node', () => has('workloads/n1'), 30_000);
    const ended = once(controller, 'exit');
    controller.kill('SIGTERM');
    await ended;
  });

  test('commands in an agent’s pod: other kinds are read, and what is refused has a hint that fits', async () => {
    const [one = assert.fail()] = nodes;
    const listed = await one.run(['get', 'networkpolicies']);
    assert.equal(listed.code, 0, listed.stderr);
    assert.match(listed.stdout, /tartan-nothing-else/);
    const status = await one.run(['status', '--cluster']);
    assert.match(status.stdout, /^Controller/m, status.stderr);
    const leases = await one.run(['get', 'leases']);
    assert.match(leases.stderr, /refuses this user/);
    assert.match(leases.stderr, /hint: kubectl auth can-i/);
  });

  test('nothing else was refused', () => {
    const ours = server.audited().filter(({ user }) => user.username.includes(':tartan-'));
    const refused = ours.filter(
      ({ responseStatus, requestURI }) =>
        responseStatus?.code === 403 &&
        !requestURI.startsWith('/apis/coordination.k8s.io/v1/namespaces/kube-system/leases?'),
    );
    assert.deepEqual(
      [...new Set(refused.map(({ user, verb, requestURI }) => `${user.username} ${verb} ${requestURI}`))],
      [],
    );
    const written = ours.filter(
      ({ verb, objectRef }) =>
        objectRef?.resource === 'customresourcedefinitions' && ['create', 'update'].includes(verb),
    );
    assert.deepEqual(written, [], 'the manifest and the controller agree');
    for (const account of ['tartan-agent', 'tartan-controller', 'tartan-relay'])
      assert.ok(ours.filter(({ user }) => user.username.endsWith(account)).length > 10, account);
  });
});
