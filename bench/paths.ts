/**
 * The path between pods twice: as Tartan makes it, and by hand with ip and bridge in other namespaces of the same shape
 * and with the same names, addresses and MACs, so that what differs is only what Tartan does otherwise.
 *
 *     a1 ┐                       ┌ b1        node n: 172.30.0.n on the underlay, 10.244.n.0/24 for its pods
 *     a2 ┴ node 1 ── bridge ── node 2
 */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeForwarding, makeNamespace, type Namespace, waitFor } from '../test/host/namespace.ts';
import { makeUnderlay, type Node, startNode } from '../test/host/node.ts';

export type PodName = 'a1' | 'a2' | 'b1';
const PODS: readonly PodName[] = ['a1', 'a2', 'b1'];
export const nodeOf = (pod: PodName): 1 | 2 => (pod.startsWith('a') ? 1 : 2);

export type Setup = { readonly title: string; readonly settings: Record<string, unknown> };

/** What the hand-made path copies. `gatewayMac`: of the host end where the pod is routed. */
export type Pod = {
  readonly netns: Namespace;
  readonly address: string;
  readonly hostLink: string;
  readonly hostMac: string;
  readonly mac: string;
  readonly mtu: number;
};

export type Side = {
  readonly nodes: Readonly<Record<1 | 2, Namespace>>;
  readonly pods: Readonly<Record<PodName, Pod>>;
  stop(): Promise<void>;
};

type Link = { ifname: string; address: string; mtu: number; link_index?: number; ifindex: number };

function describePod(node: Namespace, netns: Namespace, address: string): Pod {
  const [inside] = netns.list<Link>('link show eth0');
  const outside = node.list<Link>('link show type veth').find((link) => link.ifindex === inside?.link_index);
  if (inside === undefined || outside === undefined) throw new Error(`${netns.name} has no pair`);
  return {
    netns,
    address,
    hostLink: outside.ifname,
    hostMac: outside.address,
    mac: inside.address,
    mtu: inside.mtu,
  };
}

async function addPod(node: Node, name: PodName): Promise<Pod> {
  const netns = makeNamespace(`be-our-${name}`);
  const environment = { CNI_CONTAINERID: netns.name, CNI_NETNS: netns.path, CNI_IFNAME: 'eth0' };
  const config = { cniVersion: '1.1.0', name: 'tartan', type: 'tartan-cni' };
  const { code, stdout } = await node.cni('ADD', environment, config);
  if (code !== 0) throw new Error(`ADD of ${name}: ${stdout}`);
  const { ips } = JSON.parse(stdout) as { ips: { address: string }[] };
  return describePod(node.netns, netns, ips[0]?.address.split('/')[0] ?? '');
}

async function expectReachable({ pods }: Side): Promise<void> {
  for (const to of ['a2', 'b1'] as const) {
    const ping = ['ping', '-c1', '-W1', pods[to].address];
    await waitFor(`a1 to reach ${to}`, async () => (await pods.a1.netns.run(ping)).code === 0);
  }
}

/** Two agents, three pods. */
export async function makeOurs({ settings }: Setup): Promise<Side> {
  const undo = new AsyncDisposableStack();
  try {
    const store = mkdtempSync(join(tmpdir(), 'be-store-'));
    undo.defer(() => rmSync(store, { recursive: true, force: true }));
    const underlay = await makeUnderlay('be-our');
    undo.defer(() => underlay.remove());
    const start = async (index: 1 | 2): Promise<Node> => {
      const network = {
        name: 'tartan',
        ipv4: { range: '10.244.0.0/16', nodeSubnet: `10.244.${index}.0/24` },
      };
      const node = await startNode(`be-our${index}`, { ...settings, network }, { underlay, index, store });
      undo.defer(() => node.stop());
      return node;
    };
    const nodes = { 1: await start(1), 2: await start(2) };
    const pods: Partial<Record<PodName, Pod>> = {};
    for (const name of PODS) {
      const pod = await addPod(nodes[nodeOf(name)], name);
      undo.defer(() => pod.netns.remove());
      pods[name] = pod;
    }
    const side: Side = {
      nodes: { 1: nodes[1].netns, 2: nodes[2].netns },
      pods: pods as Side['pods'],
      stop: () => undo.disposeAsync(),
    };
    await expectReachable(side);
    return side;
  } catch (error) {
    await undo.disposeAsync();
    throw error;
  }
}

type Hand = { readonly node: Namespace; readonly index: 1 | 2; readonly ours: Side };

/** The MAC of a link of ours, which the hand-made one gets too; undefined where we have no such link. */
function macOf({ ours, index }: Hand, link: string, node = index): string | undefined {
  return ours.nodes[node].list<Link>('link show').find(({ ifname }) => ifname === link)?.address;
}

function makeBridge(hand: Hand): void {
  const { node, index, ours } = hand;
  const mac = macOf(hand, 'cni0');
  if (mac === undefined) return;
  node.ip(`link add cni0 address ${mac} mtu ${ours.pods.a1.mtu} type bridge`);
  node.ip('link set cni0 up');
  node.ip(`address add 10.244.${index}.1/24 dev cni0`);
}

/** As flannel's VXLAN backend makes it, under our name. */
function makeTunnel(hand: Hand): void {
  const { node, index } = hand;
  const mac = macOf(hand, 'tartan.1');
  if (mac === undefined) return;
  const options = `id 1 local 172.30.0.${index} dev eth0 dstport 8472 nolearning`;
  node.ip(`link add tartan.1 address ${mac} mtu 1450 type vxlan ${options}`);
  node.ip('link set tartan.1 addrgenmode none');
  node.ip('link set tartan.1 up');
  node.ip(`address add 10.244.${index}.0/32 dev tartan.1`);
}

async function makeRoad(hand: Hand): Promise<void> {
  const { node, index, ours } = hand;
  const other = index === 1 ? 2 : 1;
  const isDirect = ours.nodes[index].ip(`route get 10.244.${other}.2`).includes('dev eth0');
  if (isDirect) {
    node.ip(`route add 10.244.${other}.0/24 via 172.30.0.${other} dev eth0`);
    return;
  }
  const mac = macOf(hand, 'tartan.1', other) ?? '';
  node.ip(`neighbor add 10.244.${other}.0 lladdr ${mac} dev tartan.1 nud permanent`);
  await node.must(['bridge', 'fdb', 'add', mac, 'dev', 'tartan.1', 'dst', `172.30.0.${other}`]);
  node.ip(`route add 10.244.${other}.0/24 via 10.244.${other}.0 dev tartan.1 onlink`);
}

async function makePair(hand: Hand, pod: Pod, netns: Namespace): Promise<void> {
  const { node, index } = hand;
  const { hostLink, hostMac, mac, mtu, address } = pod;
  node.ip(
    `link add ${hostLink} address ${hostMac} mtu ${mtu} type veth peer name eth0 address ${mac} mtu ${mtu} netns ${netns.name}`,
  );
  if (macOf(hand, 'cni0') !== undefined) {
    node.ip(`link set ${hostLink} master cni0 up`);
    await node.must(['bridge', 'link', 'set', 'dev', hostLink, 'hairpin', 'on']);
    netns.ip('link set eth0 up');
    netns.ip(`address add ${address}/24 dev eth0`);
    netns.ip(`route add default via 10.244.${index}.1`);
    return;
  }
  node.ip(`link set ${hostLink} up`);
  netns.ip('link set eth0 up');
  netns.ip(`address add ${address}/32 dev eth0`);
  netns.ip(`neighbor add 169.254.1.1 lladdr ${hostMac} dev eth0 nud permanent`);
  netns.ip('route add 169.254.1.1 dev eth0 scope link');
  netns.ip('route add default via 169.254.1.1 dev eth0');
  node.ip(`neighbor add ${address} lladdr ${mac} dev ${hostLink} nud permanent`);
  node.ip(`route add ${address}/32 dev ${hostLink} scope link`);
}

/**
 * What nftables the hand-made path has. `masquerade`: one chain, as whoever masquerades needs, which brings connection
 * tracking; `ours`: the rules of the other side.
 */
export type Rules = 'none' | 'masquerade' | 'ours';

const MASQUERADE = `table ip hand { chain out { type nat hook postrouting priority srcnat;
  ip saddr 10.244.0.0/16 ip daddr != 10.244.0.0/16 masquerade;\n  }\n}`;

/** The same by hand. */
export async function makeByHand(ours: Side, rules: Rules): Promise<Side> {
  const undo = new AsyncDisposableStack();
  const keep = (netns: Namespace): Namespace => {
    undo.defer(() => netns.remove());
    return netns;
  };
  try {
    const underlay = await makeUnderlay('be-hand');
    undo.defer(() => underlay.remove());
    const nodes: Record<1 | 2, Namespace> = {
      1: keep(makeNamespace('be-hand1')),
      2: keep(makeNamespace('be-hand2')),
    };
    const pods: Partial<Record<PodName, Pod>> = {};
    for (const index of [1, 2] as const) {
      const hand = { node: nodes[index], index, ours };
      await makeForwarding(hand.node);
      underlay.plug(hand.node, index);
      hand.node.ip(`link set eth0 address ${macOf(hand, 'eth0')}`);
      makeBridge(hand);
      makeTunnel(hand);
      await makeRoad(hand);
      for (const name of PODS.filter((pod) => nodeOf(pod) === index)) {
        const netns = keep(makeNamespace(`be-hand-${name}`));
        await makePair(hand, ours.pods[name], netns);
        pods[name] = { ...ours.pods[name], netns };
      }
      if (rules === 'none') continue;
      const input = rules === 'ours' ? await ours.nodes[index].must(['nft', 'list', 'ruleset']) : MASQUERADE;
      await hand.node.must(['nft', '-f', '-'], { input });
    }
    const side: Side = { nodes, pods: pods as Side['pods'], stop: () => undo.disposeAsync() };
    await expectReachable(side);
    return side;
  } catch (error) {
    await undo.disposeAsync();
    throw error;
  }
}
