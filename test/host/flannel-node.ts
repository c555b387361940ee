/**
 * A node as flannel leaves it: the device, routes, neighbours, rules, files and keys that flanneld makes, pods by the CNI
 * plugins that it calls. TARTAN_FLANNELD names a real flanneld to run in its place.
 */
import { type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { makeForwarding, makeNamespace, type Namespace, waitFor } from './namespace.ts';
import { REFERENCE_PLUGINS, type Underlay } from './node.ts';

export const PREFIX = '/coreos.com/network';
export type Backend = 'vxlan' | 'host-gw';
export const netConf = (backend: Backend): string =>
  `{"Network":"10.244.0.0/16","Backend":{"Type":"${backend}"}}`;
/** Of pods. */
const MTU: Readonly<Record<Backend, number>> = { vxlan: 1450, 'host-gw': 1500 };
const FLANNELD = process.env['TARTAN_FLANNELD'];

export type Keys = {
  readonly endpoint: string;
  put(key: string, value: string, ttlSeconds?: number): Promise<void>;
  /** Of subnets, by the last part of the key. */
  leases(): Promise<Map<string, string>>;
  stop(): Promise<void>;
};

/** An etcd that nodes of the underlay reach. */
export async function startKeys(underlay: Underlay, directory: string): Promise<Keys> {
  const endpoint = 'http://172.30.0.254:2379';
  const flags = {
    'data-dir': join(directory, 'etcd'),
    'listen-client-urls': `${endpoint},unix://localhost:1`,
    'advertise-client-urls': endpoint,
    'listen-peer-urls': 'unix://localhost:2',
    'initial-advertise-peer-urls': 'http://localhost:2',
    'initial-cluster': 'default=http://localhost:2',
    'unsafe-no-fsync': 'true',
    logger: 'zap',
    'log-level': 'error',
  };
  const words = Object.entries(flags).map(([flag, value]) => `--${flag}=${value}`);
  const etcd = underlay.netns.start(['env', '-C', directory, 'etcd', ...words]);
  const socketPath = join(directory, 'localhost:1');
  const call = (path: string, body: object) => post(socketPath, path, body);
  await waitFor(
    'etcd',
    () =>
      call('/v3/kv/range', { key: 'AA==' }).then(
        () => true,
        () => false,
      ),
    30_000,
  );
  return {
    endpoint,
    put: async (key, value, ttlSeconds) => {
      const { ID } = ttlSeconds === undefined ? {} : await call('/v3/lease/grant', { TTL: ttlSeconds });
      await call('/v3/kv/put', {
        key: base64(key),
        value: base64(value),
        ...(ID === undefined ? {} : { lease: ID }),
      });
    },
    leases: async () => {
      const [key, range_end] = [base64(`${PREFIX}/subnets/`), base64(`${PREFIX}/subnets0`)];
      const { kvs = [] } = (await call('/v3/kv/range', { key, range_end })) as {
        kvs?: Record<string, string>[];
      };
      return new Map(
        kvs.map((kv) => [text(kv['key']).slice(`${PREFIX}/subnets/`.length), text(kv['value'])]),
      );
    },
    stop: () => end(etcd),
  };
}

const base64 = (value: string): string => Buffer.from(value).toString('base64');
const text = (value = ''): string => Buffer.from(value, 'base64').toString();

function post(socketPath: string, path: string, body: object): Promise<Record<string, unknown>> {
  return new Promise((resolve, reject) => {
    const asked = request({ socketPath, path, method: 'POST', agent: false }, (response) => {
      let got = '';
      response.setEncoding('utf8').on('data', (part: string) => (got += part));
      response.on('end', () =>
        response.statusCode === 200 ? resolve(JSON.parse(got)) : reject(new Error(got)),
      );
    });
    asked.on('error', reject);
    asked.end(JSON.stringify(body));
  });
}

async function end(child: ChildProcess, signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const gone = once(child, 'exit');
  child.kill(signal);
  await gone;
}

export type FlannelPod = {
  readonly id: string;
  /** Index of its node. */
  readonly node: number;
  readonly netns: Namespace;
  readonly address: string;
  readonly result: unknown;
};

export type FlannelNode = {
  readonly netns: Namespace;
  readonly index: number;
  readonly directory: string;
  readonly backend: Backend;
  /** By the plugins that flannel's calls: bridge and host-local. */
  addPod(id: string): Promise<FlannelPod>;
  delPod(pod: FlannelPod): Promise<void>;
  /** As flannel's plugin does it: by the plugin and the configuration that were noted when the pod came. */
  delegateDel(pod: FlannelPod): Promise<void>;
  /** What a running flanneld does when keys change. */
  follow(keys: Keys): Promise<void>;
  stopDaemon(): Promise<void>;
  /** flanneld, after it was stopped. */
  start(): Promise<void>;
};

export async function startFlannel(
  place: Omit<Place, 'netns'> & { readonly underlay: Underlay },
  keys: Keys,
): Promise<FlannelNode> {
  const { underlay, index, directory, backend } = place;
  const netns = makeNamespace(`n${index}`);
  await makeForwarding(netns);
  underlay.plug(netns, index);
  mkdirSync(directory, { recursive: true });
  const node = { netns, index, directory, backend };
  let daemon: ChildProcess | undefined;
  const start = async (): Promise<void> => {
    if (FLANNELD === undefined) await makeByHand({ ...node, keys });
    else daemon = await startDaemon(FLANNELD, { ...node, keys });
  };
  await start();
  return {
    ...node,
    start,
    addPod: (id) => addPod(node, id),
    delPod: async (pod) => {
      await callPlugin(node, pod, 'DEL');
      pod.netns.remove();
    },
    delegateDel: async (pod) => {
      const noted = readFileSync(join(directory, 'cni/flannel', pod.id), 'utf8');
      await callPlugin(node, pod, 'DEL', noted);
    },
    follow: async () => {
      if (daemon === undefined) await programPeers(node, keys);
    },
    stopDaemon: async () => {
      // On SIGTERM it removes its rules, and pods would speak to the outside in their own names.
      if (daemon !== undefined) await end(daemon, 'SIGKILL');
      daemon = undefined;
    },
  };
}

type Place = Pick<FlannelNode, 'netns' | 'index' | 'directory' | 'backend'>;

async function startDaemon(
  program: string,
  { netns, index, directory, backend, keys }: Place & { readonly keys: Keys },
): Promise<ChildProcess> {
  const subnetFile = join(directory, 'subnet.env');
  // It takes the subnet that it had.
  writeFileSync(subnetFile, envOf(index, backend));
  const words = [
    `--etcd-endpoints=${keys.endpoint}`,
    '--ip-masq',
    `--subnet-file=${subnetFile}`,
    '--iface=eth0',
  ];
  const daemon = netns.start([program, ...words], { stdio: ['ignore', 'inherit', 'inherit'] });
  const isUp = async (): Promise<boolean> =>
    (await keys.leases()).has(`10.244.${index}.0-24`) &&
    (backend === 'host-gw' || namesOf(netns).includes('flannel.1')) &&
    (await netns.must(['iptables-save'])).includes('FLANNEL-POSTRTG');
  await waitFor('flanneld', isUp, 30_000);
  return daemon;
}

function namesOf(netns: Namespace): string[] {
  return netns.list<{ readonly ifname: string }>('link show').map(({ ifname }) => ifname);
}

function envOf(index: number, backend: Backend): string {
  const values = {
    NETWORK: '10.244.0.0/16',
    SUBNET: `10.244.${index}.1/24`,
    MTU: MTU[backend],
    IPMASQ: true,
  };
  return Object.entries(values)
    .map(([name, value]) => `FLANNEL_${name}=${value}\n`)
    .join('');
}

/** pkg/trafficmngr/iptables; pkg/subnet/etcd. What is there already stays, as flanneld leaves it. */
async function makeByHand({ keys, ...node }: Place & { readonly keys: Keys }): Promise<void> {
  const { netns, index, directory, backend } = node;
  const data = backend === 'vxlan' ? { BackendData: await makeDevice(node) } : {};
  const value = { PublicIP: `172.30.0.${index}`, PublicIPv6: null, BackendType: backend, ...data };
  await keys.put(`${PREFIX}/subnets/10.244.${index}.0-24`, JSON.stringify(value), 86_400);
  await netns.must(['iptables-restore', '--noflush', '--wait'], { input: rules(index) });
  writeFileSync(join(directory, 'subnet.env'), envOf(index, backend));
}

/** pkg/backend/vxlan/device.go and vxlan_network.go. */
async function makeDevice({ netns, index }: Place): Promise<object> {
  if (!namesOf(netns).includes('flannel.1')) {
    netns.ip(`link add flannel.1 type vxlan id 1 dev eth0 local 172.30.0.${index} dstport 8472 nolearning`);
    netns.ip('link set flannel.1 mtu 1450');
    await netns.must(['sysctl', '-qw', 'net.ipv6.conf.flannel/1.accept_ra=0']);
    netns.ip(`addr add 10.244.${index}.0/32 dev flannel.1`);
    netns.ip('link set flannel.1 up');
  }
  const [device] = netns.list<{ address: string }>('link show flannel.1');
  return { VNI: 1, VtepMAC: device?.address };
}

function rules(index: number): string {
  const [net, own] = ['10.244.0.0/16', `10.244.${index}.0/24`];
  const comment = '-m comment --comment "flanneld masq"';
  return `*nat
:FLANNEL-POSTRTG - [0:0]
-A POSTROUTING ${comment} -j FLANNEL-POSTRTG
-A FLANNEL-POSTRTG -m mark --mark 0x4000/0x4000 ${comment} -j RETURN
-A FLANNEL-POSTRTG -s ${own} -d ${net} ${comment} -j RETURN
-A FLANNEL-POSTRTG -s ${net} -d ${own} ${comment} -j RETURN
-A FLANNEL-POSTRTG ! -s ${net} -d ${own} ${comment} -j RETURN
-A FLANNEL-POSTRTG -s ${net} ! -d 224.0.0.0/4 ${comment} -j MASQUERADE --random-fully
-A FLANNEL-POSTRTG ! -s ${net} -d ${net} ${comment} -j MASQUERADE --random-fully
COMMIT
*filter
:FLANNEL-FWD - [0:0]
-A FORWARD -m comment --comment "flanneld forward" -j FLANNEL-FWD
-A FLANNEL-FWD -s ${net} -m comment --comment "flanneld forward" -j ACCEPT
-A FLANNEL-FWD -d ${net} -m comment --comment "flanneld forward" -j ACCEPT
COMMIT
`;
}

async function programPeers({ netns, index, backend }: Place, keys: Keys): Promise<void> {
  for (const [key, value] of await keys.leases()) {
    const { PublicIP: address, BackendData } = JSON.parse(value) as {
      PublicIP: string;
      BackendData?: { VtepMAC: string };
    };
    if (address === `172.30.0.${index}`) continue;
    const subnet = key.replace('-', '/');
    // pkg/backend/route_network.go
    if (backend === 'host-gw') netns.ip(`route replace ${subnet} via ${address} dev eth0`);
    else await programPeer(netns, { subnet, address, mac: BackendData?.VtepMAC ?? '' });
  }
}

/** pkg/backend/vxlan/vxlan_network.go, of one peer. */
export async function programPeer(
  netns: Namespace,
  { subnet, address, mac }: { readonly subnet: string; readonly address: string; readonly mac: string },
): Promise<void> {
  const [net = ''] = subnet.split('/');
  const entry = [mac, 'dev', 'flannel.1', 'dst', address, 'self', 'permanent'];
  netns.ip(`neigh replace ${net} lladdr ${mac} dev flannel.1 nud permanent`);
  await netns.must(['bridge', 'fdb', 'replace', ...entry]);
  netns.ip(`route replace ${subnet} via ${net} dev flannel.1 onlink`);
}

/** What flannel's CNI plugin makes of subnet.env and of its shipped conflist. */
export function delegateOf({ directory }: Pick<Place, 'directory'>): Record<string, unknown> {
  const env = Object.fromEntries(
    readFileSync(join(directory, 'subnet.env'), 'utf8')
      .split('\n')
      .map((line) => line.split('=')),
  ) as Record<string, string>;
  const subnet = env['FLANNEL_SUBNET']?.replace(/\.\d+\//, '.0/');
  return {
    cniVersion: '0.3.1',
    name: 'cbr0',
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    isDefaultGateway: true,
    hairpinMode: true,
    ipMasq: false,
    mtu: Number(env['FLANNEL_MTU']),
    ipam: {
      type: 'host-local',
      dataDir: join(directory, 'cni/networks'),
      ranges: [[{ subnet }]],
      routes: [{ dst: '10.244.0.0/16' }],
    },
  };
}

async function callPlugin(
  node: Place,
  pod: Pick<FlannelPod, 'id' | 'netns'>,
  verb: string,
  config = JSON.stringify(delegateOf(node)),
): Promise<string> {
  const env = { CNI_COMMAND: verb, CNI_CONTAINERID: pod.id, CNI_NETNS: pod.netns.path, CNI_IFNAME: 'eth0' };
  const words = Object.entries({ ...env, CNI_PATH: REFERENCE_PLUGINS }).map(
    ([name, value]) => `${name}=${value}`,
  );
  return node.netns.must(['env', ...words, join(REFERENCE_PLUGINS, 'bridge')], { input: config });
}

async function addPod(node: Place, id: string): Promise<FlannelPod> {
  const netns = makeNamespace(id);
  const stdout = await callPlugin(node, { id, netns }, 'ADD');
  const result = JSON.parse(stdout) as { ips: { address: string }[] };
  return { id, node: node.index, netns, address: result.ips[0]?.address.split('/')[0] ?? '', result };
}
