/**
 * A node with pods on its bridge for tests of policy: the plans of node and pods are applied by the real kernel, and the
 * policy table is loaded beside them. What is sent and seen are whole frames.
 *
 *     pod a (10.244.0.2, fd00::2) ─┐
 *     pod b (10.244.0.3, fd00::3) ─┴─ cbr0 (10.244.0.1, fd00::1) of node a
 */
import { closeSync, globSync, readFileSync } from 'node:fs';
import { basename } from 'node:path';
import type { Self } from '#backends/backend.ts';
import { planNode } from '#backends/node-plan.ts';
import { parseSettings } from '#config/parse.ts';
import type { Kernel } from '#kernel/kernel.ts';
import { openKernel } from '#kernel/linux.ts';
import { inNetns, openNetns, ready } from '#kernel/netns.ts';
import { openPolicy, type PolicyTable } from '#kernel/nftables/policy/policy.ts';
import { bind, close, recvNow, sendto, socket } from '#kernel/sys.ts';
import type { Attachment } from '#model/attachment.ts';
import { diff, type Step } from '#model/diff.ts';
import { hostState, type Item, keyOf } from '#model/host.ts';
import type { RuleBook } from '#model/policy.ts';
import type { HairpinMode, Settings } from '#model/settings.ts';
import type { PolicyWorld } from '#model/workload.ts';
import { address } from '#net/address.ts';
import { mapFamilies } from '#net/per-family.ts';
import { nthSubnet, prefix } from '#net/prefix.ts';
import { createCompiler } from '#policy/compile/compiler.ts';
import { makeWorld } from '#policy/testing/world.ts';
import { hostLinkName, podMac } from '#wiring/names.ts';
import { planPod, shapeAddresses, type WiringContext } from '#wiring/pod.ts';
import { makeForwarding, makeNamespace, type Namespace } from './namespace.ts';

export const BRIDGE = 'cbr0';
export type PodId = 'a' | 'b';
/** The address of pod a or b, or of the bridge. */
export const at = (family: 4 | 6, who: PodId | 'bridge'): string => {
  const host = { bridge: 1, a: 2, b: 3 }[who];
  return family === 4 ? `10.244.0.${host}` : `fd00::${host}`;
};
/** `shop/a` and `shop/b`, as the node's pods are. */
export const WORLD: PolicyWorld = makeWorld({
  pods: ['shop/nobody', 'shop/a', 'shop/b'].map((name, index) => ({ name, node: index === 0 ? 'b' : 'a' })),
});

const AF_PACKET = 17;
const [SOCK_RAW, ETH_P_ALL] = [3, 3];

export type Pod = {
  readonly netns: Namespace;
  readonly attachment: Attachment;
  /** Sends a whole frame. */
  send(frame: Uint8Array): void;
  /** Frames that came or went since the last time. */
  take(): Buffer[];
};

export type Wish = {
  readonly enforce: boolean;
  readonly hairpin?: HairpinMode;
  readonly dropSpoofed?: boolean;
  /** Whether br_netfilter shows bridged packets to the IP hooks. */
  readonly netfilter?: 0 | 1;
};

export type BridgeNode = {
  readonly netns: Namespace;
  readonly pods: Readonly<Record<PodId, Pod>>;
  readonly mac: string;
  readonly table: PolicyTable;
  /** Makes of the node what is wished; answers the steps that it took. */
  converge(wish: Wish): Promise<Step[]>;
  /** Steps that a pass would take now. */
  drift(wish: Wish): Step[];
  enforce(book: RuleBook): void;
  remove(): void;
};

function settingsOf({ enforce, hairpin = 'hairpin-veth', dropSpoofed = true }: Wish): Settings {
  const profiles = Object.fromEntries(
    globSync('profiles/*.yaml').map((file) => [basename(file, '.yaml'), readFileSync(file, 'utf8')]),
  );
  const { settings } = parseSettings([], profiles, {
    profile: 'kubenet',
    'node.name': 'a',
    'network.ipv6.range': 'fd00::/48',
    'wiring.bridge.hairpin': hairpin,
    'policy.enforce': enforce,
  });
  // Settings refuse policies beside pods that may use any address: what holds there holds twice.
  return { ...settings, wiring: { ...settings.wiring, dropSpoofed } };
}

function selfOf(settings: Settings): Self {
  const local = { 4: address('192.0.2.1'), 6: address('2001:db8::1') };
  const connected = [prefix('192.0.2.0/24')];
  return {
    name: 'a',
    subnets: mapFamilies(settings.network.subnets, ({ range, length }) => nthSubnet(range, length, 0n)),
    underlay: { link: 'eth0', mtu: 1500, local, announced: local, connected, why: 'test' },
    settings,
  };
}

function attachmentOf(id: PodId): Attachment {
  const key = { network: 'pods', containerId: id, ifname: 'eth0' };
  const own = ([4, 6] as const).map((family) => address(at(family, id)));
  return {
    ...key,
    ...shapeAddresses('bridge', own, { 4: prefix('10.244.0.0/24'), 6: prefix('fd00::/64') }),
    phase: 'ready',
    netns: '',
    netnsInode: 0,
    bootId: '',
    configHash: '',
    wiring: 'bridge',
    hostLink: hostLinkName(key),
    mac: podMac(key),
    mtu: 1500,
    routes: [],
    portMappings: [],
  };
}

const contextOf = ({ wiring, policy }: Settings): WiringContext => ({
  bridge: { ...wiring.bridge, isolated: policy.enforce, present: true },
});

/** All interfaces and protocols of the namespace's eth0, as frames. */
function openTap(netns: Namespace): Pick<Pod, 'send' | 'take'> & Disposable {
  const descriptor = openNetns(netns.path);
  const [{ ifindex } = { ifindex: 0 }] = netns.list<{ ifindex: number }>('link show dev eth0');
  const place = Buffer.alloc(20);
  place.writeUInt16LE(AF_PACKET);
  place.writeUInt16BE(ETH_P_ALL, 2);
  place.writeInt32LE(ifindex, 4);
  const fd = inNetns(descriptor, () => socket(AF_PACKET, SOCK_RAW, place.readUInt16LE(2)));
  closeSync(descriptor);
  bind(fd, place, place.length);
  const buffer = Buffer.alloc(4096);
  return {
    send: (frame) => void sendto(fd, frame, frame.length, 0, place, place.length),
    take() {
      const frames: Buffer[] = [];
      for (let size = recvNow(fd, buffer); size >= 0; size = recvNow(fd, buffer))
        frames.push(Buffer.from(buffer.subarray(0, size)));
      return frames;
    },
    [Symbol.dispose]: () => close(fd),
  };
}

function apply(kernel: Kernel, steps: readonly Step[]): void {
  const failures = kernel.apply(steps);
  if (failures.length > 0) throw new Error(JSON.stringify(failures));
}

const asSteps = (items: readonly Item[]): Step[] =>
  items.map((item) => ({ op: 'add', key: keyOf(item), item }));

export async function makeBridgeNode(label: string, first: Wish): Promise<BridgeNode> {
  await ready;
  using undo = new DisposableStack();
  const place = (name: string): Namespace => {
    const made = makeNamespace(`${label}-${name}`);
    undo.defer(() => made.remove());
    return made;
  };
  const netns = place('node');
  await makeForwarding(netns);
  const descriptor = openNetns(netns.path);
  undo.defer(() => closeSync(descriptor));
  const home = undo.use(openKernel());
  const kernel = undo.use(home.within(descriptor));
  const table = inNetns(descriptor, openPolicy);
  undo.defer(() => table.close());
  const attachments = { a: attachmentOf('a'), b: attachmentOf('b') };

  const itemsOf = (wish: Wish): Item[] => {
    const settings = settingsOf(wish);
    const pods = Object.values(attachments);
    return [
      ...planNode(selfOf(settings)),
      ...pods.flatMap((each) => planPod(each, contextOf(settings)).host),
    ];
  };
  const drift = (wish: Wish): Step[] => {
    const items = itemsOf(wish);
    const sysctls = items.flatMap((item) => (item.kind === 'sysctl' ? [item.key] : []));
    const seen = kernel.observe({ sysctls, foreignLinks: [] });
    return diff(hostState(items), seen);
  };
  const converge = async (wish: Wish): Promise<Step[]> => {
    const { netfilter = 1 } = wish;
    const calls = ['iptables', 'ip6tables'].map((each) => `net.bridge.bridge-nf-call-${each}=${netfilter}`);
    await netns.run(['sysctl', '-qw', ...calls]);
    const steps = drift(wish);
    apply(kernel, steps);
    return steps;
  };
  const pods = Object.fromEntries(
    Object.entries(attachments).map(([id, attachment]): [string, Pod] => {
      const inside = place(id);
      const { pair, container } = planPod(attachment, contextOf(settingsOf(first)));
      const podNetns = openNetns(inside.path);
      if (pair !== undefined) kernel.createPair({ ...pair, netns: podNetns });
      {
        using within = kernel.within(podNetns);
        apply(within, asSteps(container));
      }
      closeSync(podNetns);
      return [id, { netns: inside, attachment, ...undo.use(openTap(inside)) }];
    }),
  ) as Record<PodId, Pod>;
  await converge(first);
  const [link] = netns.list<{ address: string }>(`link show dev ${BRIDGE}`);
  const kept = undo.move();
  return {
    netns,
    pods,
    table,
    mac: link?.address ?? '',
    converge,
    drift,
    enforce(book) {
      const compiler = createCompiler('a');
      compiler.update(book, WORLD);
      table.replacePolicy(compiler.program());
    },
    remove: () => kept.dispose(),
  };
}
