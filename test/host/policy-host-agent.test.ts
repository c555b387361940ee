/**
 * Host endpoints from a file in the store to the packet, with real agents: nodes close but for their failsafe ports, and
 * nothing that pods do, on one node or between nodes, is cut with them.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PodRecord } from '../../src/lab/lab-file.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { bracketed, type PolicyLab, reaches, startPolicyLab } from './policy-pods.ts';

const skip = whyNoKernel(['ip', 'nft', 'conntrack', 'socat', 'curl']) ?? false;
const DUAL = { network: { ipv4: { range: '10.244.0.0/16' }, ipv6: { range: 'fd77::/48' } } };
const NODES = ['node1', 'node2'];

function object(kind: string, name: string, spec: object): object {
  return { apiVersion: 'projectcalico.org/v3', kind, metadata: { name }, spec };
}
const hostEndpoint = (profiles: readonly string[]): string =>
  JSON.stringify(object('HostEndpoint', 'all', { node: 'node1', interfaceName: '*', profiles }));

type Address = { readonly addr_info: readonly { readonly local: string; readonly scope: string }[] };

async function underlayOf({ lab }: PolicyLab, node: string): Promise<string> {
  const { stdout } = await lab.exec(node, ['ip', '-j', '-4', 'address', 'show', 'scope', 'global']);
  const all = (JSON.parse(stdout) as Address[]).flatMap(({ addr_info: info }) => info);
  const found = all.find(({ local }) => !local.startsWith('10.244.'))?.local;
  assert.ok(found !== undefined, stdout);
  return found;
}

test('a node closes but for failsafe ports, and its pods do not notice', { skip }, async () => {
  await using policies = await startPolicyLab({ label: 'pe', settings: DUAL });
  const { lab } = policies;
  const near = await lab.addPod('node1', 'near', { namespace: 'shop', labels: {} });
  const pods: PodRecord[] = [near, await lab.addPod('node1', 'next', { namespace: 'shop', labels: {} })];
  await lab.addPod('node2', 'far', { namespace: 'shop', labels: {} });
  const [first, second] = (await Promise.all(NODES.map((node) => underlayOf(policies, node)))) as [
    string,
    string,
  ];
  for (const port of [22, 8080])
    policies.start(`lab-${lab.name}.node1`, `exec socat TCP-LISTEN:${port},fork,reuseaddr EXEC:'echo open'`);
  const answers = async (from: string, port: number): Promise<boolean> => {
    const argv = ['socat', '-T1', '-u', `TCP:${first}:${port},connect-timeout=1`, 'STDOUT'];
    return (await lab.exec(from, argv)).stdout.includes('open');
  };
  const until = (what: string, probe: () => Promise<boolean>): Promise<unknown> =>
    waitFor(what, probe, 20_000);
  const podsTalk = async (): Promise<void> => {
    for (const pod of pods) {
      for (const address of pod.addresses) {
        await until(`far to reach ${pod.name} at ${address}`, () => reaches(policies, 'far', address));
        const page = ['curl', '-s', '-g', '-m', '2', `http://${bracketed(address)}/`];
        await until(`node1 to reach ${pod.name}`, async () => (await lab.exec('node1', page)).stdout !== '');
      }
    }
    await until('near to reach its node', () => answers('near', 8080));
  };
  await until('an open port', () => answers('node2', 8080));
  await podsTalk();

  lab.apply('hosts', hostEndpoint([]));
  await until('the port to be closed', async () => !(await answers('node2', 8080)));
  await lab.exec('node1', ['conntrack', '-F']);
  await lab.exec('node2', ['conntrack', '-F']);
  await podsTalk();
  assert.ok(!(await answers('node2', 8080)));
  await until('failsafe', () => answers('node2', 22));
  const ping = ['ping', '-c1', '-W1', second];
  assert.notEqual((await lab.exec('node1', ping)).code, 0, 'node1 reaches out no more');

  lab.apply('hosts', hostEndpoint(['projectcalico-default-allow']));
  await until('the port to be open', () => answers('node2', 8080));
  lab.apply('hosts', '');
  await until(
    'no hooks',
    async () => !(await lab.exec('node1', ['nft', 'list', 'ruleset'])).stdout.includes('host-'),
  );
  await podsTalk();
});
