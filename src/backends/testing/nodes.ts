/** A node and its peers for tests of plans: both families, `peerOf` on this node's subnet or behind a router. */
import type { IpsecSelf } from '#model/ipsec.ts';
import type { RoutingConfig } from '#model/routing.ts';
import type { RoadName, Settings } from '#model/settings.ts';
import type { NodeAdvert } from '#model/world.ts';
import { address, addressFrom } from '#net/address.ts';
import { nthSubnet, prefix } from '#net/prefix.ts';
import type { Self } from '../backend.ts';
import { vtepMac } from '../vxlan.ts';

const ROUTING: RoutingConfig = {
  enabled: false,
  speaker: {
    as: 64_512,
    port: 179,
    mesh: 'all',
    restartS: 120,
    routerId: 'address',
    bindToNode: false,
    logLevel: 'warning',
    ignoredInterfaces: [],
    services: { ranges: { cluster: [], external: [], 'load-balancer': [] }, single: [] },
    aggregates: [],
    tags: [],
  },
  peers: [],
  node: {},
  secrets: '/etc/tartan/secrets',
};

const KUBERNETES: Pick<Settings, 'kubernetes' | 'controller' | 'relay'> = {
  kubernetes: {
    startupTaint: 'tartan.dev/agent-not-ready',
    garbageSeconds: 900,
    condition: true,
    events: true,
    flannel: { peers: true, prefix: 'flannel.alpha.coreos.com' },
  },
  relay: { port: 5473, maxReaders: 1000 },
  controller: {
    lease: { durationSeconds: 15, deadlineSeconds: 10, retrySeconds: 2 },
    graceSeconds: 900,
    answerSeconds: 150,
    brake: { share: 0.5, minimum: 3 },
  },
};

const POLICY_OFF: Settings['policy'] = {
  enforce: false,
  audit: false,
  logDeniedPerSecond: 0,
  established: 'cut',
  dns: { servers: [], minimumSeconds: 60 },
  failsafe: {},
};

export function settings(road: RoadName, directRouting = false): Settings {
  const range4 = { range: prefix('10.244.0.0/16'), length: 24 };
  const range6 = { range: prefix('fd00:244::/48'), length: 64 };
  return {
    profile: 'test',
    node: { name: 'a' },
    network: {
      name: 'net',
      subnets: {
        4: { ...range4, min: prefix('10.244.1.0/24'), max: prefix('10.244.255.0/24') },
        6: { ...range6, min: prefix('fd00:244:0:1::/64'), max: prefix('fd00:244:0:ffff::/64') },
      },
      nodeSubnets: {},
      lease: { ttlSeconds: 100, renewBeforeSeconds: 10 },
    },
    addresses: {
      exclude: [],
      quarantineSeconds: 0,
      type: 'subnet',
      blocks: { ipv4Length: 26, ipv6Length: 122, strictAffinity: false, maxPerNode: 20, reclaimSeconds: 900 },
    },
    underlay: { interfaces: [], interfaceRegexes: [], publicAddress: {} },
    road: {
      type: road,
      mode: directRouting ? 'CrossSubnet' : 'Always',
      ipip: { ttl: 64 },
      fou: { port: 5555, ttl: 64 },
      layer2: { vni: 2, port: 8472 },
      gre: { ttl: 64, tos: 8 },
      wireguard: { port: 51_820, strict: false },
      auto: { encrypt: false },
      ipsec: { secretsFile: '/s', port: 4500, udp: 'auto', strict: true },
      udp: { port: 8285, cipher: 'aes-256-gcm', strict: false },
      vxlan: { vni: 7, port: 8472, learning: false, gbp: false, directRouting, txChecksumOffload: true },
    },
    routing: ROUTING,
    wiring: { type: 'bridge', bridge: { name: 'cni0', hairpin: 'promiscuous-bridge' }, dropSpoofed: true },
    masquerade: { enabled: true, exclude: [], randomFully: true },
    policy: POLICY_OFF,
    forward: { accept: true },
    blackhole: true,
    brake: { share: 0.5, minimum: 10 },
    store: { type: 'directory', path: '/s' },
    ...KUBERNETES,
    paths: { run: '/r', state: '/t', cniBin: '/b', cniConf: '/c', etc: '/e' },
    log: { level: 'info' },
  };
}

export function keyOfNode(name: string): string {
  return Buffer.alloc(32, name).toString('base64');
}

/** Every node has the same secret. */
export function ipsecOf(name: string): IpsecSelf {
  const secrets = ['one:0123456789abcdef'];
  return { nonce: Buffer.alloc(16, name).toString('base64url'), again: {}, secrets, announced: secrets };
}

export function selfOf(road: RoadName, directRouting = false): Self {
  const local = { 4: address('192.0.2.1'), 6: address('2001:db8::1') };
  return {
    name: 'a',
    subnets: { 4: prefix('10.244.1.0/24'), 6: prefix('fd00:244:0:1::/64') },
    underlay: {
      link: 'eth0',
      mtu: 1500,
      local,
      announced: local,
      connected: [prefix('192.0.2.0/24'), prefix('2001:db8::/64')],
      why: 'test',
    },
    settings: settings(road, directRouting),
    ...(road === 'wireguard' ? { wireguardKey: keyOfNode('a') } : {}),
    ...(road === 'ipsec' ? { ipsec: ipsecOf('a') } : {}),
    ...(road === 'udp' ? { tunnelKeys: [keyOfNode('a')] } : {}),
  };
}

export function peerOf(road: RoadName, index = 2, near = true): NodeAdvert {
  const range = { 4: prefix('10.244.0.0/16'), 6: prefix('fd00:244::/48') };
  const name = `peer-${index}`;
  return {
    name,
    addresses: near
      ? { 4: addressFrom(4, 0xc0000200n + BigInt(index)), 6: address(`2001:db8::${index.toString(16)}`) }
      : { 4: addressFrom(4, 0xc6336400n + BigInt(index)), 6: address(`2001:db8:1::${index.toString(16)}`) },
    subnets: { 4: nthSubnet(range[4], 24, BigInt(index)), 6: nthSubnet(range[6], 64, BigInt(index)) },
    road,
    ...(road === 'vxlan'
      ? { vxlan: { vni: 7, port: 8472, mac: { 4: vtepMac(name, 7), 6: vtepMac(name, 7) } } }
      : {}),
    ...(road === 'wireguard' ? { wireguard: { publicKey: keyOfNode(name), port: 51_820 } } : {}),
    ...(road === 'ipsec' ? { ipsec: { ...ipsecOf(name), port: 4500, udp: false } } : {}),
    ...(road === 'udp'
      ? { udp: { port: 8285, cipher: 'aes-256-gcm', publicKeys: [keyOfNode(name)] } as const }
      : {}),
    ...(road === 'fou' ? { fou: { port: 5555 } } : {}),
    ...(road === 'layer2' ? { layer2: { vni: 2, port: 8472 } } : {}),
    mtu: 1500,
    ready: true,
  };
}
