/**
 * Egress to DNS names, with real agents, pods and a real server (dnsmasq): what answers tell is allowed and nothing else is, with
 * the agent there and with it gone.
 *
 *     web, free ──▶ dns (kube-system, k8s-app: kube-dns), liar (a server of nobody's choice)
 *         └───────▶ shop, wild, vault: by the names that dns gives them
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { NameStatus } from '../../src/api/status.ts';
import type { PodRecord } from '../../src/lab/lab-file.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { admits, awaitPolicies, type PolicyLab, reaches, startPolicyLab } from './policy-pods.ts';
import { whyLacking } from '../vm/features.ts';

const skip =
  whyNoKernel(['ip', 'nft', 'conntrack', 'socat', 'curl', 'dnsmasq', 'busybox']) ??
  whyLacking('packet log') ??
  false;
const DUAL = { network: { ipv4: { range: '10.244.0.0/16' }, ipv6: { range: 'fd77::/48' } } };
const labelled = (namespace: string, labels: Record<string, string>) => ({ namespace, labels });
const shop = (app: string) => labelled('shop', { app });

/** Of the cluster's DNS: the address is another's than its pod's, as in a cluster; node1 translates it. */
const VIRTUAL = '10.96.0.10';
const DNS_SERVICE = JSON.stringify({
  apiVersion: 'v1',
  kind: 'Service',
  metadata: { name: 'kube-dns', namespace: 'kube-system', labels: { 'k8s-app': 'kube-dns' } },
  spec: {
    clusterIP: VIRTUAL,
    clusterIPs: [VIRTUAL],
    selector: { 'k8s-app': 'kube-dns' },
    ports: [{ port: 53, protocol: 'UDP' }],
  },
});

const NAMES = JSON.stringify({
  apiVersion: 'policy.networking.k8s.io/v1alpha2',
  kind: 'ClusterNetworkPolicy',
  metadata: { name: 'names' },
  spec: {
    tier: 'Admin',
    priority: 1,
    subject: { pods: { podSelector: { matchLabels: { app: 'web' } } } },
    egress: [
      {
        action: 'Accept',
        to: [{ networks: ['0.0.0.0/0', '::/0'] }],
        protocols: ['udp', 'tcp'].map((each) => ({ [each]: { destinationPort: { number: 53 } } })),
      },
      {
        action: 'Accept',
        to: [{ domainNames: ['Shop.example.org.', '*.wild.example.org', 'alias.example.org'] }],
      },
      { action: 'Deny', to: [{ networks: ['0.0.0.0/0', '::/0'] }] },
    ],
  },
});

type Cluster = PolicyLab &
  Readonly<Record<'dns' | 'liar' | 'web' | 'free' | 'store' | 'wild' | 'vault', PodRecord>>;

const both = (pod: PodRecord): string => pod.addresses.join(',');

/** Goes on in the pod until the lab ends. */
async function serve(policies: PolicyLab, pod: PodRecord, records: readonly string[]): Promise<void> {
  const words = [
    'dnsmasq',
    '-k',
    '-C',
    '/dev/null',
    '--no-resolv',
    '--no-hosts',
    '--pid-file=',
    '--user=root',
  ];
  const more = ['--local-ttl=1', '--bind-interfaces', '--cache-size=0', ...records];
  policies.start(pod.netns, `exec ${[...words, ...more].join(' ')}`);
  await waitFor(`a server in ${pod.name}`, async () =>
    (await policies.lab.exec(pod.name, ['ss', '-lnuH'])).stdout.includes(':53 '),
  );
}

async function startNames(label: string): Promise<Cluster> {
  const policies = await startPolicyLab({
    label,
    nodes: 1,
    subnets: 1,
    settings: { ...DUAL, policy: { enforce: true, dns: { minimumSeconds: 1 } } },
  });
  const { lab } = policies;
  try {
    const dns = await lab.addPod('node1', 'dns', labelled('kube-system', { 'k8s-app': 'kube-dns' }));
    const pods = { dns } as Record<string, PodRecord>;
    for (const name of ['liar', 'web', 'free', 'store', 'wild', 'vault'])
      pods[name] = await lab.addPod('node1', name, shop(name));
    const cluster = { ...policies, ...pods } as unknown as Cluster;
    const { liar, store, wild, vault } = cluster;
    await serve(policies, dns, [
      `--host-record=shop.example.org,${both(store)}`,
      `--host-record=a.b.wild.example.org,${both(wild)}`,
      `--host-record=wild.example.org,${both(vault)}`,
      `--host-record=vault.example.org,${both(vault)}`,
      `--host-record=late.wild.example.org,${both(vault)}`,
      `--cname=alias.example.org,shop.example.org`,
      `--host-record=meta.wild.example.org,169.254.169.254,fe80::1`,
    ]);
    await serve(policies, liar, [`--host-record=shop.example.org,${both(vault)}`]);
    lab.apply('dns', DNS_SERVICE);
    lab.apply('names', NAMES);
    await awaitPolicies(policies, 'node1', 1);
    await waitFor('the servers', async () =>
      new Set([VIRTUAL, ...dns.addresses]).isSubsetOf(new Set(await servers(cluster))),
    );
    return cluster;
  } catch (error) {
    await policies[Symbol.asyncDispose]();
    throw error;
  }
}

/** Undefined also while a busy agent does not answer. */
const nameStatus = async (cluster: PolicyLab): Promise<NameStatus | undefined> =>
  (await cluster.status('node1').catch(() => undefined))?.policy?.names;

const servers = async (cluster: Cluster): Promise<readonly string[]> =>
  (await nameStatus(cluster))?.servers ?? [];

/** What the pod is told. */
async function resolve({ lab }: PolicyLab, pod: string, name: string, server: string): Promise<string> {
  const { stdout, stderr, code } = await lab.exec(pod, ['busybox', 'nslookup', `${name}.`, server]);
  assert.equal(code, 0, `${name} of ${server}: ${stdout}${stderr}`);
  return stdout;
}

/** Each address of it, at the same time. */
async function reach(cluster: Cluster, from: string, pod: PodRecord): Promise<boolean[]> {
  return Promise.all(pod.addresses.map((each) => reaches(cluster, from, each)));
}

async function awaitReach(cluster: Cluster, from: string, pod: PodRecord): Promise<void> {
  await waitFor(`${from} to reach ${pod.name}`, async () => (await reach(cluster, from, pod)).every(Boolean));
}

const NEVER = [false, false];

test(
  'a name is allowed from the moment its answer comes, in both families; another is not',
  { skip },
  async (t) => {
    await using cluster = await startNames('pn1');
    const { lab, dns, liar, store, wild, vault } = cluster;
    const [server4 = '', server6 = ''] = dns.addresses;
    t.diagnostic(`answers are followed by ${(await cluster.status('node1')).policy?.names?.way}`);
    assert.deepEqual(await reach(cluster, 'web', store), NEVER, 'before anybody asked');

    assert.ok(
      (await resolve(cluster, 'web', 'shop.example.org', server4)).includes(store.addresses[0] ?? ''),
    );
    await awaitReach(cluster, 'web', store);
    for (const name of ['vault.example.org', 'wild.example.org'])
      await resolve(cluster, 'web', name, server4);
    assert.deepEqual(await reach(cluster, 'web', vault), NEVER, 'names that no rule has');
    await resolve(cluster, 'web', 'a.b.wild.example.org', server6);
    await awaitReach(cluster, 'web', wild);

    for (const address of liar.addresses) await resolve(cluster, 'web', 'shop.example.org', address);
    assert.deepEqual(await reach(cluster, 'web', vault), NEVER, 'a server of nobody’s choice lied');
    await resolve(cluster, 'free', 'vault.example.org', server4);
    assert.deepEqual(await reach(cluster, 'free', vault), [true, true], 'whom no policy selects');

    const known = (await cluster.status('node1')).policy?.names;
    assert.deepEqual([known?.names, known?.addresses, known?.problem], [2, 4, undefined]);
    const explained = await lab.tartan('node1', 'policy', 'explain', 'shop/web', `${store.addresses[0]}:80`);
    assert.match(
      explained.stdout,
      /allow, decided by ClusterNetworkPolicy names, .*names\.yaml:1 spec\.egress\.1\n/,
    );

    await lab.addPod('node1', 'late', shop('web'));
    await resolve(cluster, 'late', 'late.wild.example.org', server4);
    await awaitReach(cluster, 'late', vault);
  },
);

test(
  'as the pod has asked: by the address of a service, through aliases; and never to the metadata of a cloud',
  { skip },
  async () => {
    await using cluster = await startNames('pn2');
    const { lab, dns, store } = cluster;
    const rule = `ip daddr ${VIRTUAL} udp dport 53 dnat ip to ${dns.addresses[0]}`;
    const table = `table inet dn { chain c { type nat hook prerouting priority dstnat; ${rule}; }; }`;
    assert.equal((await lab.exec('node1', ['nft', table])).code, 0);
    await resolve(cluster, 'web', 'alias.example.org', VIRTUAL);
    await awaitReach(cluster, 'web', store);
    await resolve(cluster, 'web', 'meta.wild.example.org', VIRTUAL);
    const { names, addresses } = (await cluster.status('node1')).policy?.names ?? {};
    assert.deepEqual([names, addresses], [1, 2], 'link-local addresses are nobody’s');
  },
);

test(
  'the agent goes and comes: DNS and what was learned stay, nothing is learned meanwhile, and time cuts no connection',
  { skip },
  async () => {
    await using cluster = await startNames('pn3');
    const { lab, dns, store, wild, web } = cluster;
    const [server = ''] = dns.addresses;
    await resolve(cluster, 'web', 'shop.example.org', server);
    await awaitReach(cluster, 'web', store);
    const probe = await cluster.accept(store, 81);
    const stream = cluster.stream(web.netns, store.addresses[0] ?? '', 81);
    await waitFor('the stream', () => probe.received() > 0);

    // What is learned is written a moment later.
    await waitFor('what was learned, in its file', () => existsSync(fileOf(cluster)));
    await lab.kill('node1');
    await resolve(cluster, 'web', 'a.b.wild.example.org', server);
    assert.deepEqual(await reach(cluster, 'web', store), [true, true], 'known names stay');
    assert.deepEqual(await reach(cluster, 'web', wild), NEVER, 'and no others come');
    await lab.start('node1');
    assert.deepEqual(await reach(cluster, 'web', store), [true, true], 'kept over the restart');
    await resolve(cluster, 'web', 'a.b.wild.example.org', server);
    await awaitReach(cluster, 'web', wild);

    // Two connections a second keep no address: only one that lives does.
    await waitFor(
      'addresses without a connection to go',
      async () => {
        for (const pod of [wild, store])
          await lab.exec('node1', ['conntrack', '-D', '-d', pod.addresses[1] ?? '']);
        await lab.exec('node1', ['conntrack', '-D', '-d', wild.addresses[0] ?? '']);
        return (await nameStatus(cluster))?.addresses === 1;
      },
      60_000,
    );
    assert.deepEqual(await reach(cluster, 'web', wild), NEVER, 'its time is over');
    lab.apply('other', admits('free', []));
    await awaitPolicies(cluster, 'node1', 2);
    const before = probe.received();
    await waitFor('the stream to go on after a change of policies', () => probe.received() > before + 50);
    assert.equal(stream.exitCode, null);
  },
);

const fileOf = ({ lab }: PolicyLab): string => {
  const [node] = lab.nodes;
  assert.ok(node !== undefined);
  return join(node.paths.run, 'policy-names.json');
};
