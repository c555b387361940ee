/**
 * What the conformance cases are run against: one CNI provider on one node, whatever it is made of. A case asks a
 * subject for the network it wants (`network`), lets the small runtime (runtime.ts) execute it, and looks at the two
 * namespaces; only this file and differences.ts know that there are two sides.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { startNode, startReference, type CniHost, type Node } from '../host/node.ts';

export type Side = 'reference' | 'ours';
export type PluginConfig = Readonly<Record<string, unknown>> & { readonly type: string };
export type NetworkConfig = {
  readonly cniVersion: string;
  readonly name: string;
  readonly plugins: readonly PluginConfig[];
};

export type NetworkWish = {
  readonly version?: string;
  readonly name?: string;
  /** Families of the pods' addresses; default IPv4. */
  readonly families?: readonly (4 | 6)[];
  /** The runtime names the ranges; the configuration has none of its own. */
  readonly runtimeRanges?: boolean;
  readonly portMappings?: boolean;
  readonly bandwidth?: boolean;
  /** Keys put into the first plugin's own configuration. */
  readonly extra?: Readonly<Record<string, unknown>>;
};

export type Subject = {
  readonly side: Side;
  readonly title: string;
  readonly host: CniHost;
  /** Plugin type that the protocol cases execute. */
  readonly type: string;
  readonly versions: readonly string[];
  network(wish?: NetworkWish): NetworkConfig;
  /** Address texts that the provider holds for pods of a network. */
  leases(network: string): Promise<string[]>;
  stop(): Promise<void>;
};

export const VERSIONS = ['0.1.0', '0.2.0', '0.3.0', '0.3.1', '0.4.0', '1.0.0'] as const;

const V4 = '10.88.0.0/24';
const V6 = 'fd88::/112';

function hostLocal(directory: string, families: readonly (4 | 6)[]): object {
  const subnets = families.map((family) => [{ subnet: family === 4 ? V4 : V6 }]);
  const routes = families.map((family) => ({ dst: family === 4 ? '0.0.0.0/0' : '::/0' }));
  return { type: 'host-local', dataDir: join(directory, 'leases'), ranges: subnets, routes };
}

/** Files of host-local are named by the address, with `_` for `:` where the file system wants it. */
export function hostLocalLeases(directory: string, network: string): string[] {
  const folder = join(directory, 'leases', network);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((file) => /^[0-9a-f.:]+$/i.test(file))
    .sort();
}

const MAIN: Record<string, Record<string, unknown>> = {
  bridge: { bridge: 'cni0', isGateway: true, hairpinMode: true },
  ptp: {},
};

/** Debian's plugins: `plugin` with host-local, chained with portmap and bandwidth where a case wants them. */
export async function referenceSubject(plugin: 'bridge' | 'ptp'): Promise<Subject> {
  const host = await startReference(plugin);
  return {
    side: 'reference',
    title: plugin,
    host,
    type: plugin,
    versions: VERSIONS,
    network: ({ version = '1.0.0', name = 'bxnet', families = [4], ...wish }: NetworkWish = {}) => ({
      cniVersion: version,
      name,
      plugins: [
        {
          type: plugin,
          ...MAIN[plugin],
          ipam: hostLocal(host.directory, wish.runtimeRanges ? [] : families),
          ...wish.extra,
        },
        ...(wish.portMappings ? [{ type: 'portmap', capabilities: { portMappings: true } }] : []),
        ...(wish.bandwidth ? [{ type: 'bandwidth', capabilities: { bandwidth: true } }] : []),
      ],
    }),
    leases: async (network) => hostLocalLeases(host.directory, network),
    stop: () => host.stop(),
  };
}

/** Our pools come from the node's subnets; ranges in the configuration narrow them to the families that a case wants. */
function ownRanges(families: readonly (4 | 6)[]): object {
  const ranges = families.map((family) => [{ subnet: family === 4 ? V4 : V6 }]);
  return { type: 'tartan', ranges };
}

const CAPABILITIES = ['portMappings', 'bandwidth', 'ips', 'mac', 'ipRanges', 'dns', 'aliases'];

/** Tartan with the given wiring; one executable does what the reference does by a chain. */
export async function tartanSubject(wiring: 'routed' | 'bridge'): Promise<Subject & { readonly host: Node }> {
  const host = await startNode(`our-${wiring}`, {
    network: {
      name: 'bxnet',
      ipv4: { range: '10.88.0.0/16', nodeSubnet: V4 },
      ipv6: { range: 'fd88::/96', subnetLength: 112, nodeSubnet: V6 },
    },
    addresses: { quarantineSeconds: 0 },
    wiring: { type: wiring },
  });
  return {
    side: 'ours',
    title: `tartan ${wiring}`,
    host,
    type: 'tartan-cni',
    versions: [...VERSIONS, '1.1.0'],
    network: ({ version = '1.0.0', name = 'bxnet', families = [4], ...wish }: NetworkWish = {}) => ({
      cniVersion: version,
      name,
      plugins: [
        {
          type: 'tartan-cni',
          capabilities: Object.fromEntries(CAPABILITIES.map((capability) => [capability, true])),
          ...(wish.runtimeRanges ? {} : { ipam: ownRanges(families) }),
          ...wish.extra,
        },
      ],
    }),
    leases: async () => {
      const done = await host.run(['status', '-o', 'json']);
      const { pods } = JSON.parse(done.stdout) as { pods: { addresses: string[] }[] };
      return pods.flatMap((pod) => pod.addresses.map((address) => address.split('/')[0] ?? '')).sort();
    },
    stop: () => host.stop(),
  };
}
