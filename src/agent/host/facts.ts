/** Looks at the host for `tartan doctor`; what to make of it is the advisor's. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import type { Agent } from '../agent.ts';
import { lookAtMachine } from './machine.ts';
import { lookAtPrograms } from './programs.ts';
import { lookAtRouting } from '../routing/facts.ts';
import { given } from '#lib/given.ts';
import { ADVISOR_SYSCTLS, sysctlsOf } from '#advisor/checks.ts';
import { CONFLIST_FILE } from '#api/admin.ts';
import { describeRoad, roadOverhead, roadsOf } from '#backends/ways.ts';
import type { Ability, ForeignChain, HostFacts, KernelFacts, UdpSocket } from '#model/facts.ts';
import type { HostState, ItemKey, ItemKind, LinkItem } from '#model/host.ts';
import type { Way } from '#model/road.ts';
import type { Settings } from '#model/settings.ts';
import type { Underlay, UnderlayChoice, UnderlayLink } from '#model/underlay.ts';
import { perFamily } from '#net/per-family.ts';

/** What is known of a node, by its agent or without one. */
export type Scene = {
  readonly settings: Settings;
  /** Roads that are taken instead of what the settings say. */
  readonly ways?: readonly Way[] | undefined;
  readonly underlay: Underlay;
  readonly choice?: UnderlayChoice | undefined;
  readonly underlayProblem?: string | undefined;
  readonly podMtu?: number | undefined;
  /** What an agent wants, or what of ours the kernel holds. */
  readonly items: HostState;
  readonly failures: ReadonlyMap<ItemKey, { readonly message: string }>;
  readonly filterChains: readonly ForeignChain[];
};

export function sceneOf(agent: Agent): Scene {
  const { settings, cluster, host } = agent;
  return {
    settings,
    ways: cluster.self?.ways,
    underlay: agent.kernel.underlay(),
    choice: cluster.self?.underlay,
    underlayProblem: cluster.underlayProblem,
    podMtu: cluster.podMtu(),
    items: host.wanted,
    failures: host.failures,
    filterChains: agent.chores.foreign.chains() ?? [],
  };
}

export function gatherFacts(scene: Scene): HostFacts {
  const { choice, underlayProblem } = scene;
  const settings = settingsFacts(scene);
  return {
    settings,
    root: process.geteuid?.() === 0,
    kernel: { release: release(), ...kernelAbilities(scene) },
    ...lookAtMachine(),
    sysctls: readSysctls([...ADVISOR_SYSCTLS, ...sysctlsOf(choice?.link)]),
    underlay: scene.underlay,
    ...(choice === undefined ? {} : { choice }),
    ...(underlayProblem === undefined ? {} : { underlayProblem }),
    cniConfigs: listCniConfigs(settings.cniConf),
    ownCniConfig: CONFLIST_FILE,
    udpSockets: readUdpSockets().filter(({ port }) => !ownPorts(scene).includes(port)),
    filterChains: scene.filterChains.map((chain) => withRefusal(chain, scene)),
    ...lookAtPrograms(settings, nearLinks(scene)),
    ...given('routing', lookAtRouting(scene.settings)),
  };
}

/** The first refusal of a rule of ours that should stand in the chain. */
function withRefusal(chain: ForeignChain, { items, failures }: Scene): ForeignChain {
  for (const [key, { message }] of failures) {
    const item = items.get(key);
    if (item?.kind !== 'foreign-rule' || item.chain !== (chain.userChain ?? chain.chain)) continue;
    if (item.family === chain.family && item.table === chain.table) return { ...chain, refused: message };
  }
  return chain;
}

/** Ours, and the one between nodes. */
function nearLinks({ underlay, choice }: Scene): UnderlayLink[] {
  return underlay.links.filter((link) => link.ours || link.name === choice?.link);
}

function settingsFacts({ settings, ways, choice, podMtu }: Scene): HostFacts['settings'] {
  const taken = { settings, ...(ways === undefined ? {} : { ways }) };
  return {
    roads: roadsOf(taken).map((road) => describeRoad(road, settings)),
    overhead: choice === undefined ? 0 : roadOverhead({ ...taken, underlay: choice }),
    wiring: settings.wiring.type,
    bridge: settings.wiring.bridge.name,
    hairpin: settings.wiring.bridge.hairpin,
    isolated: settings.policy.enforce,
    forwardAccept: settings.forward.accept,
    ranges: perFamily((family) => settings.network.subnets[family]?.range),
    ...(podMtu === undefined ? {} : { podMtu }),
    cniConf: settings.paths.cniConf,
  };
}

/** Ports of tunnel devices that are there: others' sockets on a port are told of before it is ours. */
function ownPorts({ items }: Scene): number[] {
  return [...items.values()].flatMap((item) =>
    (item.kind === 'link' || item.kind === 'fou-port') && 'port' in item ? [item.port] : [],
  );
}

const DEVICES: Partial<Record<LinkItem['type'], keyof KernelFacts>> = {
  vxlan: 'vxlan',
  bridge: 'bridge',
  ipip: 'ipip',
  sit: 'ipip',
  ip6tnl: 'ipip',
  gre: 'gre',
  ip6gre: 'gre',
  wireguard: 'wireguard',
  xfrm: 'ipsec',
  tun: 'tun',
};

const OTHERS: Partial<Record<ItemKind, keyof KernelFacts>> = { 'nft-table': 'nftables', 'fou-port': 'fou' };

/** What the node already proves by having it, or shows it lacks by the kernel's refusal. */
function kernelAbilities({ items, failures }: Scene): Record<string, Ability> {
  const abilities: Record<string, Ability> = {};
  for (const [key, item] of items) {
    const name = item.kind === 'link' ? DEVICES[item.type] : OTHERS[item.kind];
    if (name === undefined || abilities[name]?.available === false) continue;
    const failure = failures.get(key);
    abilities[name] =
      failure === undefined ? { available: true } : { available: false, reason: failure.message };
  }
  abilities['ipv6'] = { available: existsSync('/proc/sys/net/ipv6') };
  abilities['conntrack'] = { available: existsSync('/proc/sys/net/netfilter/nf_conntrack_max') };
  return abilities;
}

function readSysctls(keys: readonly string[]): Record<string, string> {
  const found: Record<string, string> = {};
  for (const key of keys) {
    const value = readText(`/proc/sys/${key}`);
    if (value !== undefined) found[key] = value.trim();
  }
  return found;
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

function listCniConfigs(directory: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => /\.(conflist|conf|json)$/.test(name))
      .sort();
  } catch {
    return [];
  }
}

/** Local ports of /proc/net/udp and udp6 (proc(5)): the second column is address:port in hexadecimal. */
function readUdpSockets(): UdpSocket[] {
  const ports = ['udp', 'udp6'].flatMap((name) =>
    (readText(`/proc/thread-self/net/${name}`) ?? '')
      .split('\n')
      .slice(1)
      .flatMap((line) => {
        const port = /^\s*\d+: [0-9A-F]+:([0-9A-F]{4}) /.exec(line)?.[1];
        return port === undefined ? [] : [Number.parseInt(port, 16)];
      }),
  );
  return [...new Set(ports)].map((port) => ({ port }));
}
