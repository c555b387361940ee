/** Makes, cuts and removes the network between the lab's nodes. Everything stands in the lab's own namespaces. */
import { readdirSync } from 'node:fs';
import { inNetns, must, run } from './process.ts';
import {
  type LabShape,
  type Lan,
  lans,
  netnsName,
  type NodePlace,
  nodePlaces,
  routerNetns,
  underlayFamilies,
} from './topology.ts';

/** Rules of `cut`, in a table of their own in the router. */
const CUT_TABLE = 'labcut';

export async function buildUnderlay(shape: LabShape): Promise<void> {
  const router = routerNetns(shape.name);
  await addNetns(router);
  await setSysctls(router, ROUTER_SYSCTLS);
  for (const lan of lans(shape)) await ipBatch(router, bridgeLines(lan));
  await Promise.all(nodePlaces(shape).map((place) => plugNode(shape, place)));
}

/** A namespace with its loopback up; one that is there already is an error. */
export async function addNetns(name: string): Promise<void> {
  await must(['ip', 'netns', 'add', name]);
  await must(['ip', '-n', name, 'link', 'set', 'lo', 'up']);
}

/** Removes a namespace and ends what runs in it. Missing is fine. */
export async function removeNetns(name: string): Promise<void> {
  const { stdout } = await run(['ip', 'netns', 'pids', name]);
  for (const pid of stdout.split('\n').filter((line) => line !== '')) {
    try {
      process.kill(Number(pid), 'SIGKILL');
    } catch {
      // It ended by itself.
    }
  }
  await run(['ip', 'netns', 'delete', name]);
}

/** Every namespace of the lab, found by name, so also those that no state file tells of. */
export function labNamespaces(lab: string): string[] {
  try {
    return readdirSync('/run/netns').filter((name) => name.startsWith(netnsName(lab, '')));
  } catch {
    return [];
  }
}

/** Forwarding on; no duplicate address detection, whose second of silence a new node would be measured by. */
const ROUTER_SYSCTLS = {
  'net/ipv4/ip_forward': 1,
  'net/ipv6/conf/all/forwarding': 1,
  'net/ipv6/conf/default/accept_dad': 0,
};

async function setSysctls(netns: string, sysctls: Readonly<Record<string, number>>): Promise<void> {
  const lines = Object.entries(sysctls).map(([key, value]) => `echo ${value} > /proc/sys/${key}`);
  await must(inNetns(netns, ['sh', '-ec', lines.join('\n')]));
}

function bridgeLines({ bridge, gateways, lengths }: Lan): string[] {
  return [
    `link add ${bridge} type bridge`,
    `link set ${bridge} up`,
    `address add ${gateways[4]}/${lengths[4]} dev ${bridge}`,
    `address add ${gateways[6]}/${lengths[6]} dev ${bridge} nodad`,
  ];
}

async function plugNode(shape: LabShape, place: NodePlace): Promise<void> {
  const lan = lans(shape)[place.lan];
  if (lan === undefined) throw new RangeError(`no lan ${place.lan}`);
  const { gateways, lengths } = lan;
  await addNetns(place.netns);
  await ipBatch(routerNetns(shape.name), [
    `link add ${place.port} type veth peer name eth0 netns ${place.netns}`,
    `link set ${place.port} master ${lan.bridge} up`,
  ]);
  await setSysctls(place.netns, { 'net/ipv6/conf/eth0/accept_dad': 0 });
  await ipBatch(place.netns, [
    'link set eth0 up',
    ...underlayFamilies(shape).flatMap((family) => [
      `address add ${place.addresses[family]}/${lengths[family]} dev eth0${family === 6 ? ' nodad' : ''}`,
      `-${family} route add default via ${gateways[family]}`,
    ]),
  ]);
}

/** Lines of `ip`, all or none of which the reader should expect: the first failure ends them. */
async function ipBatch(netns: string, lines: readonly string[]): Promise<void> {
  for (const line of lines) await must(['ip', '-n', netns, ...line.split(' ')]);
}

/** Nothing passes between the two nodes any more, in either direction; with one node, nothing reaches it at all. */
export async function cutNodes(lab: string, a: NodePlace, b?: NodePlace): Promise<void> {
  const router = routerNetns(lab);
  if (b === undefined) {
    await must(['ip', '-n', router, 'link', 'set', a.port, 'down']);
    return;
  }
  await must(inNetns(router, ['nft', '-f', '-']), { input: cutRules(a, b) });
}

/** Undoes every cut. */
export async function healAll(shape: LabShape): Promise<void> {
  const router = routerNetns(shape.name);
  const flush = (['bridge', 'inet'] as const)
    .map((family) => `table ${family} ${CUT_TABLE}\ndelete table ${family} ${CUT_TABLE}\n`)
    .join('');
  await must(inNetns(router, ['nft', '-f', '-']), { input: flush });
  for (const { port } of nodePlaces(shape)) await must(['ip', '-n', router, 'link', 'set', port, 'up']);
}

/** On one bridge by their ports, through the router by their addresses: each kind of pair meets one of the two. */
function cutRules(a: NodePlace, b: NodePlace): string {
  const chain = (rules: string[]): string =>
    `{ chain forward { type filter hook forward priority 0; ${rules.join('; ')}; }; }\n`;
  const ways = [
    [a, b],
    [b, a],
  ] as const;
  const byPort = ways.map(([from, to]) => `iifname ${from.port} oifname ${to.port} drop`);
  const byAddress = ways.flatMap(([from, to]) => [
    `ip saddr ${from.addresses[4]} ip daddr ${to.addresses[4]} drop`,
    `ip6 saddr ${from.addresses[6]} ip6 daddr ${to.addresses[6]} drop`,
  ]);
  return `table bridge ${CUT_TABLE} ${chain(byPort)}table inet ${CUT_TABLE} ${chain(byAddress)}`;
}
