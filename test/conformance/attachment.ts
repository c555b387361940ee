/** Checklist part b: what an attachment looks like in both namespaces, what CHECK notices, what DEL leaves. */
import assert from 'node:assert/strict';
import type { Case } from './case.ts';
import { expected } from './differences.ts';
import {
  add,
  addressesOf,
  check,
  del,
  deriveConfig,
  environmentOf,
  makePod,
  parseError,
  tryAdd,
  withPod,
  type Attachment,
  type Result,
} from './runtime.ts';
import type { NetworkWish, Subject } from './subject.ts';
import { waitForPing } from './traffic.ts';

type Link = {
  ifname: string;
  address: string;
  mtu: number;
  operstate: string;
  addr_info?: { family: string; local: string; prefixlen: number; scope: string }[];
};
type Route = { dst: string; gateway?: string; dev: string };

const linksOf = (subject: Subject): string[] =>
  subject.host.netns.list<Link>('link').map((link) => link.ifname);

function podLink(pod: Attachment): Link {
  const [link] = pod.netns.list<Link>(`addr show dev ${pod.ifname}`);
  assert.ok(link);
  return link;
}

const globals = (link: Link): string[] =>
  (link.addr_info ?? []).filter((one) => one.scope === 'global').map((one) => one.local);

const hostLinkOf = (result: Result): string =>
  result.interfaces?.findLast((one) => one.sandbox === undefined || one.sandbox === '')?.name ?? '';

const linkNames = ({ netns }: ReturnType<typeof makePod>): string[] =>
  netns.list<Link>('link').map((one) => one.ifname);

async function addAndDelete(subject: Subject, families: readonly (4 | 6)[]): Promise<void> {
  const network = subject.network({ families });
  const before = linksOf(subject);
  const pod = makePod();
  // `lo`, and where tunnel modules are loaded the devices that the kernel gives to every namespace.
  const given = linkNames(pod);
  const result = await add(subject, network, pod);
  const link = podLink(pod);
  assert.deepEqual(
    globals(link).sort(),
    addressesOf(result).sort(),
    'the pod has exactly the addresses of the result',
  );
  assert.equal(addressesOf(result).length, families.length);
  assert.equal(link.operstate, 'UP');
  assert.equal(link.address, result.interfaces?.find((one) => one.name === pod.ifname)?.mac);
  for (const family of families) {
    const defaults = pod.netns.list<Route>(`-${family} route show default`);
    assert.equal(defaults.length, 1, `one default route for IPv${family}`);
    const address = addressesOf(result).find((text) => text.includes(':') === (family === 6)) ?? '';
    await waitForPing(subject.host.netns, address);
    await waitForPing(pod.netns, family === 4 ? '172.30.0.1' : 'fd30::1');
  }
  assert.equal((await subject.leases(network.name)).length, families.length);
  await del(subject, network, pod, result);
  assert.deepEqual(linkNames(pod), given);
  assert.deepEqual(
    linksOf(subject).filter((name) => !before.includes(name) && name !== 'cni0'),
    [],
  );
  assert.deepEqual(await subject.leases(network.name), []);
  await del(subject, network, pod, result);
  pod.netns.remove();
}

type Damage = {
  readonly what: string;
  readonly noticed: boolean;
  readonly do: (pod: Attachment, result: Result) => void;
};

const DAMAGES: readonly Damage[] = [
  { what: 'nothing', noticed: false, do: () => {} },
  {
    what: 'a foreign address added',
    noticed: false,
    do: (pod) => pod.netns.ip(`addr add 192.0.2.9/32 dev ${pod.ifname}`),
  },
  {
    what: 'the address removed',
    noticed: true,
    do: (pod) => pod.netns.ip(`addr flush dev ${pod.ifname} scope global`),
  },
  { what: 'the default route removed', noticed: true, do: (pod) => pod.netns.ip('route del default') },
  {
    what: 'the MAC changed',
    noticed: true,
    do: (pod) => pod.netns.ip(`link set ${pod.ifname} address 02:00:00:00:00:77`),
  },
  { what: 'the pod link removed', noticed: true, do: (pod) => pod.netns.ip(`link del ${pod.ifname}`) },
];

async function checkNotices(subject: Subject): Promise<void> {
  const network = subject.network({ version: '1.0.0' });
  for (const damage of DAMAGES) {
    await withPod(subject, network, {}, async (pod, result) => {
      damage.do(pod, result);
      const error = await check(subject, network, pod, result);
      assert.equal(error !== undefined, damage.noticed, `${damage.what}: ${error?.msg ?? 'CHECK passed'}`);
    });
  }
  const pod = makePod();
  const [plugin] = network.plugins;
  assert.ok(plugin);
  const output = await subject.host.cni('CHECK', environmentOf(pod), deriveConfig(network, plugin, {}));
  parseError(output);
  pod.netns.remove();
}

/** A runtime may start a container again under its name while the kernel still deletes the old link. */
async function addAfterDelete(subject: Subject): Promise<void> {
  const network = subject.network();
  const pods = Array.from({ length: 8 }, () => makePod());
  await Promise.all(
    pods.map(async (pod) => {
      for (let round = 0; round < 10; round += 1) {
        const result = await add(subject, network, pod);
        assert.deepEqual(
          pod.netns.list<Link>('link').map((one) => one.ifname),
          ['lo', 'eth0'],
        );
        await del(subject, network, pod, result);
      }
    }),
  );
  assert.deepEqual(await subject.leases(network.name), []);
  for (const pod of pods) pod.netns.remove();
}

async function deleteUnknown(subject: Subject): Promise<void> {
  const pod = makePod();
  await del(subject, subject.network(), pod);
  pod.netns.remove();
  await del(subject, subject.network(), pod);
}

async function explicitMac(subject: Subject): Promise<void> {
  const network = subject.network({
    extra: { capabilities: { mac: true }, args: { cni: { mac: 'c2:11:22:33:44:66' } } },
  });
  const plain = subject.network({ extra: { capabilities: { mac: true } } });
  const args = 'IgnoreUnknown=1;MAC=c2:11:22:33:44:77';
  const all = { args, runtimeConfig: { mac: 'c2:11:22:33:44:55' } };
  const expectMac = (mac: string, wish: typeof network, options: Partial<Attachment>): Promise<void> =>
    withPod(subject, wish, options, async (pod, result) => {
      assert.equal(podLink(pod).address, mac);
      assert.equal(result.interfaces?.find((one) => one.name === 'eth0')?.mac, mac);
    });
  await expectMac('c2:11:22:33:44:77', plain, { args });
  await expectMac('c2:11:22:33:44:66', network, { args });
  await expectMac('c2:11:22:33:44:55', network, all);
}

async function failureReleases(subject: Subject): Promise<void> {
  const network = subject.network();
  const pod = makePod();
  pod.netns.ip('link add eth0 type veth peer name other');
  const before = linksOf(subject);
  const failed = await tryAdd(subject, network, pod);
  assert.ok('error' in failed, 'the interface name is taken in the pod');
  assert.match(`${failed.error.msg} ${failed.error.details ?? ''}`, /eth0|exist/);
  assert.deepEqual(await subject.leases(network.name), [], 'no lease is left');
  assert.deepEqual(
    linksOf(subject).filter((name) => !before.includes(name) && name !== 'cni0'),
    [],
  );
  assert.ok(podLink(pod), 'the foreign link is untouched');
  pod.netns.remove();
}

async function secondAdd(subject: Subject): Promise<void> {
  const network = subject.network();
  await withPod(subject, network, {}, async (pod, result) => {
    const again = await tryAdd(subject, network, pod);
    assert.equal('error' in again ? again.error.code : 0, expected(subject, 'second-add'));
    if (!('error' in again)) assert.deepEqual(again, result, 'the same answer');
    assert.equal(await check(subject, network, pod, result), undefined, 'the first attachment is unharmed');
  });
}

const rulesOf = async (subject: Subject): Promise<string> =>
  subject.host.netns.must(['nft', 'list', 'ruleset']);

async function masquerade(subject: Subject): Promise<void> {
  const wish: NetworkWish = { extra: { ipMasq: true } };
  const network = subject.network(wish);
  const pod = makePod();
  const result = await add(subject, network, pod);
  assert.match(await rulesOf(subject), /masquerade/);
  await del(subject, network, pod, result);
  assert.doesNotMatch(await rulesOf(subject), new RegExp(pod.containerId.slice(0, 12)));
  pod.netns.remove();
  const gone = makePod();
  const second = await add(subject, network, gone);
  gone.netns.remove();
  const [address = ''] = addressesOf(second);
  await del(subject, network, gone, second);
  const left = (await rulesOf(subject)).includes(address);
  assert.equal(left, expected(subject, 'leftover-after-vanished-netns'));
}

async function podsReachEachOther(subject: Subject): Promise<void> {
  const network = subject.network({ families: [4, 6] });
  await withPod(subject, network, {}, async (first) => {
    await withPod(subject, network, {}, async (_, result) => {
      for (const address of addressesOf(result)) await waitForPing(first.netns, address);
    });
  });
}

async function dnsOverride(subject: Subject): Promise<void> {
  const dns = {
    nameservers: ['192.0.2.53'],
    domain: 'example.org',
    search: ['a.example.org'],
    options: ['ndots:2'],
  };
  await withPod(subject, subject.network({ extra: { dns } }), {}, async (_, result) => {
    assert.deepEqual(result.dns, dns, 'the configuration’s DNS comes out');
  });
  await withPod(subject, subject.network(), {}, async (_, result) => {
    assert.deepEqual(result.dns ?? {}, {});
  });
}

/** Three range sets give three addresses: two of one family, from subnets that are not the node's own. */
async function threeSubnets(subject: Subject): Promise<void> {
  const subnets = ['10.88.0.0/24', 'fd91::/64', 'fd92::/64'];
  const runtimeConfig = { ipRanges: subnets.map((subnet) => [{ subnet }]) };
  const network = subject.network({ runtimeRanges: true, extra: { capabilities: { ipRanges: true } } });
  await withPod(subject, network, { runtimeConfig }, async (pod, result) => {
    const addresses = addressesOf(result);
    assert.deepEqual(globals(podLink(pod)).sort(), [...addresses].sort());
    assert.deepEqual(
      addresses.map((address) => address.replace(/[0-9a-f]+$/, '')),
      ['10.88.0.', 'fd91::', 'fd92::'],
    );
    for (const address of addresses) await waitForPing(subject.host.netns, address);
  });
  assert.deepEqual(await subject.leases(network.name), []);
}

async function surviveLinkBounce(subject: Subject): Promise<void> {
  await withPod(subject, subject.network({ families: [4, 6] }), {}, async (pod, result) => {
    pod.netns.ip('link set eth0 down');
    pod.netns.ip('link set eth0 up');
    const kept = addressesOf(result).every((address) => globals(podLink(pod)).includes(address));
    assert.equal(kept, expected(subject, 'address-kept-when-bounced'));
    assert.ok(globals(podLink(pod)).includes(addressesOf(result)[0] ?? ''), 'IPv4 stays in any case');
  });
}

async function mtu(subject: Subject): Promise<void> {
  await withPod(subject, subject.network({ extra: { mtu: 1400 } }), {}, async (pod, result) => {
    assert.equal(podLink(pod).mtu, 1400);
    const [host] = subject.host.netns.list<Link>(`link show dev ${hostLinkOf(result)}`);
    assert.equal(host?.mtu, 1400);
  });
}

const unlessMac = (subject: Subject): string | undefined =>
  subject.title === 'ptp' ? 'the reference ptp has no MAC setting' : undefined;

export const ATTACHMENT: readonly Case[] = [
  { id: 'B2', name: 'ADD and DEL, IPv4', run: (subject) => addAndDelete(subject, [4]) },
  { id: 'B2', name: 'ADD and DEL, IPv6', run: (subject) => addAndDelete(subject, [6]) },
  { id: 'B2', name: 'ADD and DEL, dual stack', run: (subject) => addAndDelete(subject, [4, 6]) },
  { id: 'B2', name: 'ADD and DEL, three subnets', run: threeSubnets },
  { id: 'B3', name: 'CHECK notices what is gone and tolerates what came', run: checkNotices },
  { id: 'B2', name: 'ADD right after DEL, eight at once', run: addAfterDelete },
  { id: 'B5', name: 'DEL of the unknown', run: deleteUnknown },
  { id: 'B8', name: 'explicit MAC from three sources, precedence', unless: unlessMac, run: explicitMac },
  { id: 'B9/B15', name: 'a failing ADD leaves no lease and no link', run: failureReleases },
  { id: 'B10', name: 'masquerade comes and goes', run: masquerade },
  { id: 'B13', name: 'pods of one node reach each other', run: podsReachEachOther },
  { id: 'B14', name: 'DNS of the configuration', run: dnsOverride },
  { id: 'B16', name: 'addresses survive the link going down and up', run: surviveLinkBounce },
  { id: 'A4', name: 'a second ADD of a live attachment', run: secondAdd },
  { id: 'T1', name: 'MTU on both ends', run: mtu },
];
