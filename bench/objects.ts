/**
 * Whether two paths are made of the same kernel objects: everything that ip, bridge, ethtool, sysctl and nft tell of
 * their namespaces, attribute by attribute. What the kernel numbers or learns by itself is left out.
 */
import type { Namespace } from '../test/host/namespace.ts';
import { nodeOf, type Side } from './paths.ts';

export type Difference = {
  readonly where: string;
  readonly attribute: string;
  readonly ours: string;
  readonly byHand: string;
  /** Why it is so on purpose, or why it does not matter; absent: nobody has explained it. */
  readonly reason?: string;
};

/** Numbers of this kernel's counting, timers, and what is derived from them. */
const NOISE =
  /(?:ifindex|link_index|link_netnsid|link|timer|root_id|bridge_id|designated_bridge|root_port|expires|updated|used|stable_secret|cache|parentdev|valid_life_time|preferred_life_time|tentative)$/;

/** The uplink's own, which neither side makes: link-local addresses come late, and their multicast groups with them. */
const UPLINK = /fe80::\S* eth0|33:33:ff:/;

/** Differences that are meant, by object and attribute. The first that matches counts. */
const REASONS: readonly (readonly [RegExp, string])[] = [
  [/ ifalias$/, 'marks what is ours to change and delete'],
  [/^link .* num_[tr]x_queues$/, 'made with the one queue that is used, by hand with one per processor'],
  [/^(?:route|neigh) .* protocol$/, 'marks what is ours'],
  [/^route .* metric$/, 'room for a second road beside this one while roads change'],
  [
    /^route 10[.]244[.]\S+ main whole$/,
    'the own subnet’s blackhole: packets to addresses that no pod has do not leave',
  ],
  [/^sysctl .*route_localnet/, '127.0.0.1:hostPort leads to pods'],
  [/^sysctl .*rp_filter/, 'loose on the tunnel, because roads may change; strict or off elsewhere'],
  [/^nft /, 'guards, masquerade, host ports: the only additional objects'],
];

type Facts = Map<string, string>;

function flatten(into: Facts, place: string, value: unknown, path = ''): void {
  if (NOISE.test(path)) return;
  if (typeof value === 'object' && value !== null) {
    const isList = Array.isArray(value);
    if (isList && value.every((one) => typeof one !== 'object'))
      into.set(`${place}\t${path}`, value.join(' '));
    else
      for (const [key, one] of Object.entries(value))
        flatten(into, place, one, path === '' ? key : `${path}.${key}`);
    return;
  }
  into.set(`${place}\t${path}`, String(value));
}

type Row = Readonly<Record<string, unknown>>;
type Named = Readonly<Record<string, string | number | undefined>>;

/** An object's identity among those that one command lists. */
const named = (row: Row, ...keys: readonly string[]): string =>
  keys
    .map((key) => String((row as Named)[key] ?? ''))
    .filter((text) => text !== '')
    .join(' ');

async function listObjects(into: Facts, where: string, netns: Namespace): Promise<void> {
  const rows = async (argv: readonly string[]): Promise<Row[]> =>
    JSON.parse((await netns.must(argv)) || '[]') as Row[];
  const note = (kind: string, row: Row, ...keys: readonly string[]): void =>
    flatten(into, `${where}\t${kind} ${named(row, ...keys)}`, row);
  for (const row of await rows(['ip', '-d', '-j', 'link'])) note('link', row, 'ifname');
  for (const row of await rows(['ip', '-d', '-j', 'address'])) {
    for (const one of row['addr_info'] as Row[])
      flatten(into, `${where}\taddr ${named(one, 'local')} ${named(row, 'ifname')}`, one);
  }
  for (const family of ['-4', '-6']) {
    for (const row of await rows(['ip', family, '-d', '-j', 'route', 'show', 'table', 'all']))
      note('route', row, 'dst', 'dev', 'table');
    for (const row of await rows(['ip', family, '-d', '-j', 'neigh']))
      if ((row['state'] as string[]).includes('PERMANENT')) note('neigh', row, 'dst', 'dev');
  }
  for (const row of await rows(['bridge', '-d', '-j', 'fdb']))
    if (row['state'] === 'permanent' || row['state'] === 'static')
      note('fdb', row, 'mac', 'ifname', 'master');
  for (const row of await rows(['bridge', '-d', '-j', 'link'])) note('port', row, 'ifname');
}

async function listSettings(into: Facts, where: string, netns: Namespace): Promise<void> {
  for (const { ifname } of netns.list<{ ifname: string }>('link show')) {
    const { stdout } = await netns.run(['ethtool', '-k', ifname]);
    for (const line of stdout.split('\n').slice(1)) {
      const [feature = '', value = ''] = line.trim().split(': ');
      if (value !== '') into.set(`${where}\toffload ${ifname}\t${feature}`, value);
    }
  }
  const { stdout } = await netns.run(['sysctl', '-a', '-r', '^net[.]ipv[46][.](conf|neigh|ip_forward)']);
  for (const line of stdout.split('\n')) {
    const [key = '', value = ''] = line.split(' = ');
    if (key !== '' && !NOISE.test(key)) into.set(`${where}\tsysctl\t${key}`, value.trim());
  }
  const rules = await netns.must(['nft', 'list', 'tables']);
  for (const table of rules.split('\n').filter((line) => line !== ''))
    into.set(`${where}\tnft ${table}\tis`, 'there');
}

async function factsOf(side: Side): Promise<Facts> {
  const facts: Facts = new Map();
  const places: (readonly [string, Namespace])[] = [
    ['node 1', side.nodes[1]],
    ['node 2', side.nodes[2]],
    ...Object.entries(side.pods).map(
      ([name, pod]) => [`pod ${name} on node ${nodeOf(name as 'a1')}`, pod.netns] as const,
    ),
  ];
  for (const [where, netns] of places) {
    await listObjects(facts, where, netns);
    await listSettings(facts, where, netns);
  }
  return facts;
}

const objectOf = (key: string): string => key.slice(0, key.lastIndexOf('\t'));

function describe(key: string, ours: string, byHand: string): Difference {
  const [where = '', object = '', name = ''] = key.split('\t');
  const attribute = `${object} ${name}`;
  const reason = REASONS.find(([pattern]) => pattern.test(attribute))?.[1];
  return { where, attribute, ours, byHand, ...(reason === undefined ? {} : { reason }) };
}

/** Every attribute in which the two differ; of an object that only one of them has, the object. */
export async function compareObjects(ours: Side, byHand: Side): Promise<Difference[]> {
  const [left, right] = [await factsOf(ours), await factsOf(byHand)];
  const [leftObjects, rightObjects] = [left, right].map((facts) => new Set([...facts.keys()].map(objectOf)));
  const differences = new Map<string, Difference>();
  for (const key of [...new Set([...left.keys(), ...right.keys()])].sort()) {
    if (left.get(key) === right.get(key) || UPLINK.test(key)) continue;
    const object = objectOf(key);
    const [has, had] = [leftObjects?.has(object), rightObjects?.has(object)];
    if (has === had) differences.set(key, describe(key, left.get(key) ?? '–', right.get(key) ?? '–'));
    else differences.set(object, describe(`${object}\twhole`, has ? 'there' : '–', had ? 'there' : '–'));
  }
  return [...differences.values()];
}
