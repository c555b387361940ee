/** Two nodes, each with a room for other programs and a pod that serves a page, also on a host port of its node. */
import assert from 'node:assert/strict';
import type { ChildProcess } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { makeRoom, type Room, whyNoNeighbours } from '../runtimes/neighbours.ts';
import { makeNamespace, type Namespace, waitFor, whyNoKernel } from './namespace.ts';
import { makeUnderlay, type Node, startNode, whyNoTartan } from './node.ts';

export const HOST_PORT = 18080;
export const DUAL = { network: { ipv6: { range: 'fd44::/48' } } };

/** Why tests beside other programs cannot run here, or false; `tools` are needed besides those of every such test. */
export function whyNotBeside(...tools: string[]): string | false {
  return whyNoKernel(['nft', 'curl', 'conntrack', ...tools]) ?? whyNoTartan() ?? whyNoNeighbours() ?? false;
}

export type Place = {
  readonly node: Node;
  readonly room: Room;
  readonly pod: Namespace;
  /** Of IPv4, and of IPv6 where the pair has it. */
  readonly address: string;
  readonly addresses: readonly string[];
};
export type Pair = { readonly places: readonly [Place, Place] } & AsyncDisposable;

export type Finding = { check: string; severity: string; title: string; detail?: string; hint?: string };

/** `settings`: of the first and the second node. */
export async function startPair(
  label: string,
  settings: readonly [Record<string, unknown>, Record<string, unknown>],
): Promise<Pair> {
  await using undo = new AsyncDisposableStack();
  const store = mkdtempSync(join(tmpdir(), 'bo-store-'));
  undo.defer(() => rmSync(store, { recursive: true, force: true }));
  const underlay = await makeUnderlay(label);
  undo.defer(() => underlay.remove());
  const start = async (index: 1 | 2): Promise<Place> => {
    let room: Room | undefined;
    const node = await startNode(`${label}-${index}`, settings[index - 1], {
      underlay,
      index,
      store,
      room: async (netns, directory) => (room = await makeRoom(netns, directory)),
    });
    undo.defer(() => node.stop());
    assert.ok(room !== undefined);
    const pod = makeNamespace(`${label}-p${index}`);
    undo.defer(() => pod.remove());
    const addresses = await addPod(node, pod);
    const [address = ''] = addresses;
    const server = serve(pod, address, join(node.directory, 'www'));
    undo.defer(() => void server.kill('SIGKILL'));
    return { node, room, pod, address, addresses };
  };
  const places: [Place, Place] = [await start(1), await start(2)];
  await waitFor('the pods to reach each other before anybody else comes', () => reachBothWays(places));
  const all = undo.move();
  return { places, [Symbol.asyncDispose]: () => all.disposeAsync() };
}

async function addPod(node: Node, pod: Namespace): Promise<string[]> {
  const environment = { CNI_CONTAINERID: pod.name, CNI_NETNS: pod.path, CNI_IFNAME: 'eth0' };
  const config = {
    cniVersion: '1.1.0',
    name: 'tartan',
    type: 'tartan-cni',
    capabilities: { portMappings: true },
    runtimeConfig: { portMappings: [{ hostPort: HOST_PORT, containerPort: 8080, protocol: 'tcp' }] },
  };
  const { code, stdout, stderr } = await node.cni('ADD', environment, config);
  assert.equal(code, 0, stdout + stderr);
  const { ips } = JSON.parse(stdout) as { ips: { address: string }[] };
  return ips.map(({ address }) => address.split('/')[0] ?? '');
}

/** A page that says whose it is. */
function serve(pod: Namespace, address: string, folder: string): ChildProcess {
  const script = `mkdir -p "$1"; echo "page of $2" >"$1/index.html"; exec busybox httpd -f -p 8080 -h "$1"`;
  return pod.start(['sh', '-c', script, 'sh', folder, address]);
}

/** Whether a new connection from `from` gets the page of the pod at `address`. */
export async function gets(from: Namespace, url: string, address: string): Promise<boolean> {
  const { stdout } = await from.run(['curl', '-sS', '-m', '1', url]);
  return stdout.includes(`page of ${address}`);
}

export async function reachBothWays([a, b]: readonly [Place, Place]): Promise<boolean> {
  return (await reaches(a, b)) && (await reaches(b, a));
}

/** The tunnel is tried as it is for nodes that did not talk lately: nothing of it is an established flow. */
export async function reaches(from: Place, to: Place): Promise<boolean> {
  for (const { node } of [from, to]) await node.netns.run(['conntrack', '-F']);
  for (const address of to.addresses) {
    const host = address.includes(':') ? `[${address}]` : address;
    if (!(await gets(from.pod, `http://${host}:8080/`, to.address))) return false;
  }
  return true;
}

/** From the other node, by the address of the place's own. */
export function reachesHostPort(from: Place, to: Place): Promise<boolean> {
  const [host = ''] = to.node.netns
    .list<{ addr_info: { local: string; family: string }[] }>('addr show dev eth0')
    .flatMap(({ addr_info }) =>
      addr_info.filter(({ family }) => family === 'inet').map(({ local }) => local),
    );
  return gets(from.node.netns, `http://${host}:${HOST_PORT}/`, to.address);
}

export async function findingsOf({ node }: Place): Promise<Finding[]> {
  return JSON.parse((await node.run(['doctor', '--all', '-o', 'json'])).stdout) as Finding[];
}

export async function findingOf(place: Place, check: string, severity: string): Promise<Finding> {
  const all = await findingsOf(place);
  const found = all.find((finding) => finding.check === check && finding.severity === severity);
  assert.ok(found, `${check} ${severity} in ${JSON.stringify(all, undefined, 1)}`);
  return found;
}

/** Types what a finding says, word by word. */
export async function typeHint(place: Place, { hint = '' }: Finding): Promise<void> {
  await place.room.must(['sh', '-ec', hint]);
}
