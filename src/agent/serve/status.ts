/** The agent's own account of itself, in the shape of the admin API. */
import type { Agent } from '../agent.ts';
import type { PrefixUsage } from '../addresses/allocator.ts';
import { peerState } from '../readiness.ts';
import { summarizeRoad } from './road-answers.ts';
import type { ItemStatus, PeerStatus, PodStatus, PoolStatus, RelayStatus, Status } from '#api/status.ts';
import { given } from '#lib/given.ts';
import { type Item, type ItemKey, satisfies } from '#model/host.ts';
import type { NodeAdvert } from '#model/world.ts';
import { showItem } from '#model/show.ts';
import { familyValues } from '#net/per-family.ts';
import type { RelayUse } from '#stores/relay/relays.ts';
import type { TunnelStatus } from '#tunnel/tunnel.ts';

/** `tunnel`: of the userspace tunnel, when it carries something. */
export function describeStatus(agent: Agent, tunnel?: TunnelStatus): Status {
  const ways = new Map(tunnel?.peers.map((way) => [way.name, way]));
  const { settings, cluster, host } = agent;
  const { place, pools, blocks } = agent.addresses;
  const reasons = agent.notReadyReasons();
  const mtu = cluster.podMtu();
  return {
    version: agent.version,
    node: settings.node.name,
    profile: settings.profile,
    pid: process.pid,
    startedAt: agent.startedAt,
    ready: reasons.length === 0,
    reasons,
    paused: host.paused,
    ...(host.braked === undefined
      ? {}
      : {
          braked: `${host.braked.removals} of ${host.braked.of} routes would be removed; tartan resume agrees to it`,
        }),
    ...(cluster.self === undefined
      ? {}
      : { underlay: { ...cluster.self.underlay, connected: [...cluster.self.underlay.connected] } }),
    subnets: place.held,
    ...(mtu === undefined ? {} : { podMtu: mtu }),
    road: summarizeRoad(agent),
    ...given('relays', describeRelays(agent.kubernetes.relayUse())),
    ...(agent.policies === undefined ? {} : { policy: agent.policies.describe() }),
    peers: [...cluster.adverts.values()]
      .sort((a, b) => (a.name < b.name ? -1 : 1))
      .map((advert) => describePeer(agent, advert, ways.get(advert.name))),
    items: describeItems(agent),
    pods: agent.ledger.list().map(describePod),
    pools: pools.usages().map(describePool),
    ...blocks.describe(),
    events: [...agent.events.list()],
  };
}

function describeRelays(use: RelayUse | undefined): RelayStatus | undefined {
  if (use === undefined) return undefined;
  const { known, through, watches, problem } = use;
  return { known, through: [...through], watches, ...given('problem', problem) };
}

function describePeer(agent: Agent, advert: NodeAdvert, way?: TunnelStatus['peers'][number]): PeerStatus {
  const plan = agent.cluster.peers.get(advert.name);
  const leg = plan?.legs[0];
  const reasons = plan?.unreachable.map((one) => one.why) ?? [];
  return {
    name: advert.name,
    addresses: familyValues(advert.addresses),
    subnets: [...new Set([...familyValues(advert.subnets), ...(advert.blocks ?? [])])],
    inside: familyValues(advert.inside ?? {}),
    ...(leg === undefined ? {} : { road: leg.carrier, mtu: leg.mtu }),
    why: [...(leg === undefined ? [] : [leg.why]), ...reasons].join('; '),
    ...(way === undefined ? {} : { tunnel: describeWay(way) }),
    state: peerState(agent, advert.name),
  };
}

function describeWay(way: TunnelStatus['peers'][number]): NonNullable<PeerStatus['tunnel']> {
  const { endpoint, mtu, silent, heardMs, sessionMs, newestKeys, counters } = way;
  const seconds = (ms: number): number => Math.round(ms / 1000);
  return {
    ...(endpoint === undefined ? {} : { endpoint: `${endpoint.address} ${endpoint.port}` }),
    mtu,
    silent,
    heardSeconds: seconds(heardMs),
    ...(sessionMs === undefined ? {} : { sessionSeconds: seconds(sessionMs) }),
    newestKeys,
    sentBytes: counters.sentBytes,
    receivedBytes: counters.receivedBytes,
  };
}

function describeItems({ host }: Agent): ItemStatus[] {
  const keys = new Set<ItemKey>([...host.wanted.keys(), ...host.seen.keys()]);
  return [...keys].map((key) => {
    const wanted = host.wanted.get(key);
    const seen = host.seen.get(key);
    const failure = host.failures.get(key);
    return {
      key,
      text: showItem((wanted ?? seen) as Item),
      wanted: wanted !== undefined,
      seen: compare(wanted, seen),
      ...(failure === undefined
        ? {}
        : { error: `${failure.code}: ${failure.message}`, hint: hintFor(failure.code) }),
    };
  });
}

function compare(wanted: Item | undefined, seen: Item | undefined): ItemStatus['seen'] {
  if (wanted === undefined) return 'extra';
  if (seen === undefined) return 'missing';
  return satisfies(seen, wanted) ? 'ok' : 'different';
}

const HINTS: Record<string, string> = {
  EOPNOTSUPP: 'the kernel lacks this; tartan doctor says what is missing',
  ENODEV: 'the link is not there (yet); it is tried again',
  ENETUNREACH: 'no connected prefix leads to the next hop; check the underlay address',
  EEXIST: 'something else occupies it; ip route / ip link shows what',
  EPERM: 'the agent needs CAP_NET_ADMIN',
  EADDRINUSE: 'another VXLAN device uses this VNI and port',
};

function hintFor(code: string): string {
  return HINTS[code] ?? 'it is tried again; tartan doctor checks the host';
}

function describePod(pod: ReturnType<Agent['ledger']['list']>[number]): PodStatus {
  return {
    network: pod.network,
    ...(pod.pod === undefined ? {} : { namespace: pod.pod.namespace, name: pod.pod.name }),
    containerId: pod.containerId,
    ifname: pod.ifname,
    netns: pod.netns,
    addresses: [...pod.addresses],
    hostLink: pod.hostLink,
    mtu: pod.mtu,
    phase: pod.phase,
  };
}

function describePool({ prefix, usage: { used, free, quarantined } }: PrefixUsage): PoolStatus {
  return { prefix, used, free: String(free), quarantined };
}
