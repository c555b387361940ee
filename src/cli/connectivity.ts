/**
 * `tartan test connectivity`: asks over the wire, from this node and from each of its pods, whether they reach every
 * node in the store, its pod subnet, and the pods that are known here: plain, and with packets as large as the road is
 * said to carry. That is one row of the matrix: nothing is started on another host, so each node is asked for its own.
 * Several agents of one host (a lab) are joined by several --run, and then all pairs of their nodes are asked.
 */
import { existsSync } from 'node:fs';
import { Argument, type Command } from 'commander';
import type { PeerStatus, PodStatus, Status } from '#api/status.ts';
import { renderTable } from '#lib/table.ts';
import type { Family } from '#net/address.ts';
import { connectAgent } from './client.ts';
import { requireRoot } from './install.ts';
import { configOf, formatOf, textOption, withConfig, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import { askDns, inParallel, ping } from './probe.ts';
import type { Make } from './program.ts';
import { runDirectory } from './settings-file.ts';

/** Where questions are asked from. */
type Source = {
  readonly name: string;
  readonly kind: 'node' | 'pod';
  readonly netns: string;
  readonly mtu: number;
  /** Families that it has an address of; it asks in no other. */
  readonly families: ReadonlySet<Family>;
};
type Target = {
  readonly name: string;
  /** `inside`: a node's own address in its pod subnet, which is reached by the road of its pods. */
  readonly kind: 'node' | 'inside' | 'pod';
  readonly address: string;
  readonly mtu: number;
};
type Result = { from: string; to: string; address: string; what: string; ok: boolean; detail: string };

export function connectivityCommand(make: Make): Command {
  const command = make('test', async (options) => {
    requireRoot('test connectivity');
    const runs = (options['run'] as string[] | undefined) ?? [runDirectory(configOf(options))];
    const nodes = await Promise.all(runs.map((run) => connectAgent(run).call('status')));
    const targets = [...nodes.flatMap(targetsOf), ...named(options['target'] as string[] | undefined)];
    const results = await inParallel([
      ...nodes.flatMap(sourcesOf).flatMap((source) => questions(source, unique(targets))),
      ...nodes.flatMap(sourcesOf).flatMap((source) => dnsQuestions(source, options)),
    ]);
    const unasked = otherRows(nodes);
    print(formatOf(options), results, (all) => render(all, unasked));
    return results.every((result) => result.ok) ? EXIT.ok : EXIT.found;
  });
  return withOutput(withConfig(command))
    .description(
      'ask over the wire whether this node and its pods reach every node and pod subnet; run it on each node',
    )
    .addArgument(new Argument('<what>', 'what to test').choices(['connectivity']))
    .option('--run <directory...>', 'run directories of the agents on this host (default: from --config)')
    .option('--target <address...>', 'further addresses that must answer, such as pods of other nodes')
    .option('--dns <server>', 'a DNS server that pods must reach')
    .option('--dns-name <name>', 'what to ask it for', 'kubernetes.default.svc.cluster.local');
}

function sourcesOf(status: Status): Source[] {
  const node = {
    name: status.node,
    kind: 'node' as const,
    netns: `/proc/${status.pid}/ns/net`,
    mtu: status.underlay?.mtu ?? 1280,
    families: new Set(ownAddresses(status).map(familyOf)),
  };
  return [node, ...status.pods.filter(isLive).map(podSource)];
}

function ownAddresses({ underlay }: Status): string[] {
  return [underlay?.local[4], underlay?.local[6]].filter((one) => one !== undefined);
}

function familyOf(address: string): Family {
  return address.includes(':') ? 6 : 4;
}

function podSource(pod: PodStatus): Source {
  return {
    name: podName(pod),
    kind: 'pod',
    netns: pod.netns,
    mtu: pod.mtu,
    families: new Set(pod.addresses.map(familyOf)),
  };
}

function targetsOf(status: Status): Target[] {
  const mtu = status.underlay?.mtu ?? 1280;
  const node = (name: string, address: string): Target => ({ name, kind: 'node', address, mtu });
  return [
    ...ownAddresses(status).map((address) => node(status.node, address)),
    ...status.peers.flatMap((peer) => peer.addresses.map((address) => node(peer.name, address))),
    ...status.peers.flatMap(insideOf),
    ...status.pods.filter(isLive).flatMap((pod) =>
      pod.addresses.map((address) => ({
        name: podName(pod),
        kind: 'pod' as const,
        address: address.split('/')[0] ?? address,
        mtu: pod.mtu,
      })),
    ),
  ];
}

function insideOf({ name, inside = [], mtu = 1280 }: PeerStatus): Target[] {
  return inside.map((address) => ({ name: `${name} (pod subnet)`, kind: 'inside', address, mtu }));
}

/** Nodes that nothing was asked from. */
function otherRows(nodes: readonly Status[]): string[] {
  const asked = new Set(nodes.map(({ node }) => node));
  const known = nodes.flatMap(({ peers }) => peers.map(({ name }) => name));
  return [...new Set(known)].filter((name) => !asked.has(name));
}

function named(addresses: readonly string[] = []): Target[] {
  return addresses.map((address) => ({ name: address, kind: 'pod', address, mtu: 1280 }));
}

/** Each address is asked once, however many agents told of it. */
function unique(targets: readonly Target[]): Target[] {
  return [...new Map(targets.map((target) => [target.address, target])).values()];
}

function questions(source: Source, targets: readonly Target[]): (() => Promise<Result>)[] {
  return targets
    .filter(({ name, address }) => name !== source.name && source.families.has(familyOf(address)))
    .flatMap((target) => {
      const result = { from: source.name, to: target.name, address: target.address };
      const size = Math.min(source.mtu, target.mtu);
      const ask = (what: string, packet?: number) => async (): Promise<Result> => {
        const { ok, text } = await ping(source.netns, target.address, packet);
        return { ...result, what, ok, detail: ok ? '' : (text.split('\n').at(-1) ?? '') };
      };
      // Between nodes the packets do not take our road.
      return source.kind === 'node' && target.kind === 'node'
        ? [ask('ping')]
        : [ask('ping'), ask(`ping of ${size} bytes`, size)];
    });
}

function dnsQuestions(source: Source, options: Record<string, unknown>): (() => Promise<Result>)[] {
  const server = textOption(options, 'dns');
  if (server === undefined || source.kind !== 'pod') return [];
  const name = textOption(options, 'dnsName') ?? '';
  return [
    async () => {
      const { ok, text } = await askDns(source.netns, server, name);
      const detail = ok ? '' : (text.split('\n').at(-1) ?? '');
      return { from: source.name, to: server, address: server, what: `DNS ${name}`, ok, detail };
    },
  ];
}

function isLive(pod: PodStatus): boolean {
  return pod.phase === 'ready' && existsSync(pod.netns);
}

function podName(pod: PodStatus): string {
  return pod.name === undefined ? pod.containerId.slice(0, 12) : `${pod.namespace ?? '-'}/${pod.name}`;
}

function render(results: readonly Result[], unasked: readonly string[]): string {
  const bad = results.filter((result) => !result.ok);
  const rows = bad.map(({ from, to, address, what, detail }) => [from, to, address, what, detail]);
  return [
    ...(bad.length === 0 ? [] : [renderTable(['FROM', 'TO', 'ADDRESS', 'WHAT', 'ANSWER'], rows)]),
    `${results.length - bad.length} of ${results.length} questions answered`,
    ...(unasked.length === 0
      ? []
      : [`asked from this host only; run it on ${unasked.join(', ')} for theirs`]),
  ].join('\n');
}
