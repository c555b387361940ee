/**
 * What the reliability tests share: pods as a runtime sees them, and the question what a node holds beyond its pods.
 * A node is asked from outside (ip, nft) and its agent by status; both must account for the same pods and no more.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import type { Status } from '../../src/api/status.ts';
import { connectAgent } from '../../src/cli/client.ts';
import { makeNamespace, type Namespace, type Output, waitFor } from './namespace.ts';
import { type Node, startNode } from './node.ts';

export type Wiring = 'routed' | 'bridge';
export type Pod = {
  readonly id: string;
  readonly netns: Namespace;
  readonly config: object;
  readonly shaped: boolean;
};

let made = 0;
/** A pod that asks for everything an ADD can make: with `hostPort` also nftables elements and shaping links. */
export function makePod(hostPort?: number): Pod {
  made += 1;
  const wishes =
    hostPort === undefined
      ? {}
      : {
          portMappings: [{ hostPort, containerPort: 80, protocol: 'tcp' }],
          bandwidth: { ingressRate: 1e8, ingressBurst: 1e7, egressRate: 1e8, egressBurst: 1e7 },
        };
  return {
    id: randomBytes(16).toString('hex'),
    netns: makeNamespace(`rl${made}`),
    shaped: hostPort !== undefined,
    config: {
      cniVersion: '1.1.0',
      name: 'tartan',
      type: 'tartan-cni',
      capabilities: { portMappings: true, bandwidth: true },
      runtimeConfig: wishes,
    },
  };
}

/** `prevResult`: what ADD answered; CHECK needs it. */
export function request(
  node: Node,
  verb: 'ADD' | 'DEL' | 'CHECK',
  pod: Pod,
  prevResult?: string,
): Promise<Output> {
  const environment = { CNI_CONTAINERID: pod.id, CNI_NETNS: pod.netns.path, CNI_IFNAME: 'eth0' };
  const previous = prevResult === undefined ? {} : { prevResult: JSON.parse(prevResult) as object };
  return node.cni(verb, environment, { ...pod.config, ...previous });
}

export async function succeed(node: Node, verb: 'ADD' | 'DEL', pod: Pod): Promise<string> {
  const { code, stdout, stderr } = await request(node, verb, pod);
  assert.equal(code, 0, `${verb}: ${stdout}${stderr}\n${node.log().slice(-2000)}`);
  return stdout;
}

export function statusOf(node: Node): Promise<Status> {
  return connectAgent(join(node.directory, 'run')).call('status');
}

/** The ruleset without what counts or numbers. */
export async function ruleset(node: Node): Promise<string> {
  const text = await node.netns.must(['nft', 'list', 'ruleset']);
  return text.replaceAll(/packets \d+ bytes \d+/g, '').replaceAll(/ expires \S+/g, '');
}

type Link = { ifname: string };
type Route = { dst: string; dev?: string };

/** Pool addresses by use, links and routes that only pods have, entries of the ledger, items that are not as wanted. */
function holdings(node: Node, status: Status): Record<string, unknown> {
  const links = node.netns.list<Link>('link show').map(({ ifname }) => ifname);
  const routes = ['-4', '-6'].flatMap((family) => node.netns.list<Route>(`${family} route show table all`));
  const ofPods = routes.filter(
    ({ dst, dev }) => dev?.startsWith('tt') === true && !/^(fe80|ff00|multicast)/.test(dst),
  );
  return {
    ledger: status.pods.map(({ containerId, phase }) => `${containerId} ${phase}`).sort(),
    used: status.pools.map(({ used }) => used),
    quarantined: status.pools.map(({ quarantined }) => quarantined),
    links: links.filter((name) => name.startsWith('tt')).sort(),
    shapers: links.filter((name) => name.startsWith('ti')).length,
    routes: ofPods.map(({ dst }) => dst).sort(),
    wrong: status.items.filter(({ seen }) => seen !== 'ok').map(({ key, seen }) => `${key} ${seen}`),
  };
}

/** The same as these pods need it; names and addresses of links are the agent's choice. */
function needs(pods: readonly Pod[], status: Status, wiring: Wiring): Record<string, unknown> {
  const ids = new Set(pods.map(({ id }) => id));
  const known = status.pods.filter(({ containerId }) => ids.has(containerId));
  const addresses = known.flatMap((pod) => pod.addresses.map((address) => address.split('/')[0] ?? ''));
  return {
    ledger: pods.map(({ id }) => `${id} ready`).sort(),
    used: [pods.length],
    quarantined: [0],
    links: known.map(({ hostLink }) => hostLink).sort(),
    shapers: pods.filter(({ shaped }) => shaped).length,
    routes: wiring === 'routed' ? addresses.sort() : [],
    wrong: [],
  };
}

/** Waits until the node holds these pods and nothing more; else the difference is the error. */
export async function assertHolds(node: Node, pods: readonly Pod[], wiring: Wiring): Promise<void> {
  let seen: unknown;
  let needed: unknown;
  const holds = async (): Promise<boolean> => {
    const status = await statusOf(node);
    [seen, needed] = [holdings(node, status), needs(pods, status, wiring)];
    return JSON.stringify(seen) === JSON.stringify(needed);
  };
  await waitFor('the node to hold its pods', holds).catch((error: unknown) => {
    assert.deepEqual(seen, needed, node.log().slice(-2000));
    throw error;
  });
}

/** Until the agent has ended by itself: it came to the place where it kills itself. */
export async function waitDead(node: Node): Promise<void> {
  const pid = node.pid();
  await waitFor('the agent to die at its place', () => {
    try {
      return !process.kill(pid, 0);
    } catch {
      return true;
    }
  });
}

/** Starts the agent again, armed to kill itself at a place, or not. */
export async function restartArmed(node: Node, place?: string): Promise<void> {
  if (place !== undefined) process.env['TARTAN_KILL_AT'] = place;
  try {
    await node.restart();
  } finally {
    delete process.env['TARTAN_KILL_AT'];
  }
}

/** One node of our own, without peers; `addresses.quarantineSeconds: 0`, so that a leaked address shows. */
export function startLoneNode(name: string, wiring: Wiring): Promise<Node> {
  return startNode(name, {
    network: { name: 'tartan', ipv4: { range: '10.77.0.0/16', nodeSubnet: '10.77.1.0/24' } },
    addresses: { quarantineSeconds: 0 },
    wiring: { type: wiring },
  });
}
