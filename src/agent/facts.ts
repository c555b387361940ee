/** Looks at the host for `tartan doctor`; what to make of it is the advisor's. */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import type { Agent } from './agent.ts';
import { ADVISOR_SYSCTLS, sysctlsOf } from '#advisor/checks.ts';
import type { Ability, HostFacts, UdpSocket } from '#model/facts.ts';
import type { Settings } from '#model/settings.ts';
import { perFamily } from '#net/per-family.ts';

export function gatherFacts(agent: Agent): HostFacts {
  const { settings, cluster } = agent;
  const choice = cluster.self?.underlay;
  const podMtu = cluster.podMtu();
  const problem = cluster.underlayProblem;
  return {
    settings: settingsFacts(settings, podMtu),
    root: process.geteuid?.() === 0,
    kernel: { release: release(), ...kernelAbilities(agent) },
    sysctls: readSysctls([...ADVISOR_SYSCTLS, ...sysctlsOf(choice?.link)]),
    underlay: agent.underlay(),
    ...(choice === undefined ? {} : { choice }),
    ...(problem === undefined ? {} : { underlayProblem: problem }),
    cniConfigs: listCniConfigs(settings.paths.cniConf),
    ownCniConfig: '10-tartan.conflist',
    udpSockets: readUdpSockets().filter(
      ({ port }) => cluster.self === undefined || port !== settings.road.vxlan.port,
    ),
    forwardChains: agent.chores.foreign.chains() ?? [],
    services: activeServices(),
  };
}

function settingsFacts(settings: Settings, podMtu: number | undefined): HostFacts['settings'] {
  return {
    road: settings.road.type,
    wiring: settings.wiring.type,
    bridge: settings.wiring.bridge.name,
    hairpin: settings.wiring.bridge.hairpin,
    vxlanPort: settings.road.vxlan.port,
    vni: settings.road.vxlan.vni,
    forwardAccept: settings.forward.accept,
    ranges: perFamily((family) => settings.network.subnets[family]?.range),
    ...(podMtu === undefined ? {} : { podMtu }),
    cniConf: settings.paths.cniConf,
  };
}

/** What the running node already proves by having it, or shows it lacks by the kernel's refusal. */
function kernelAbilities({ host }: Agent): Record<string, Ability> {
  const abilities: Record<string, Ability> = {};
  for (const [key, item] of host.wanted) {
    const name =
      item.kind === 'link' && (item.type === 'vxlan' || item.type === 'bridge')
        ? item.type
        : nftOf(item.kind);
    if (name === undefined) continue;
    const failure = host.failures.get(key);
    abilities[name] =
      failure === undefined ? { available: true } : { available: false, reason: failure.message };
  }
  abilities['ipv6'] = { available: existsSync('/proc/sys/net/ipv6') };
  abilities['conntrack'] = { available: existsSync('/proc/sys/net/netfilter/nf_conntrack_max') };
  return abilities;
}

function nftOf(kind: string): string | undefined {
  return kind === 'nft-table' ? 'nftables' : undefined;
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

/** Units and daemons by the run directories that they keep while they are active. */
function activeServices(): string[] {
  const marks: Record<string, string> = {
    docker: '/run/docker.pid',
    firewalld: '/run/firewalld.pid',
    ufw: '/run/ufw.lock',
    'systemd-networkd': '/run/systemd/netif/state',
    NetworkManager: '/run/NetworkManager/NetworkManager.pid',
  };
  return Object.keys(marks).filter((name) => existsSync(marks[name] ?? ''));
}
