/** What the runtime suites run on: nodes on one underlay, each with a CNI provider and its conflist in place. */
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { makeUnderlay, startNode, startReference, type CniHost, type Node } from '../host/node.ts';

export type RuntimeNode = CniHost & { readonly conf: string };
export type RuntimeCluster = { readonly nodes: readonly RuntimeNode[]; stop(): Promise<void> };

const conflistFile = (conf: string, plugins: readonly object[], cniVersion: string): void => {
  mkdirSync(conf, { recursive: true });
  writeFileSync(join(conf, '10-test.conflist'), JSON.stringify({ cniVersion, name: 'bxnet', plugins }));
};

const REFERENCE_PLUGIN = (directory: string): object[] => [
  {
    type: 'bridge',
    bridge: 'cni0',
    isGateway: true,
    hairpinMode: true,
    capabilities: { mac: true },
    ipam: {
      type: 'host-local',
      dataDir: join(directory, 'leases'),
      subnet: '10.88.0.0/24',
      routes: [{ dst: '0.0.0.0/0' }],
    },
  },
  { type: 'portmap', capabilities: { portMappings: true } },
];

/** One node with Debian's bridge plugin: proves the harness. */
export async function referenceCluster(cniVersion: string): Promise<RuntimeCluster> {
  const host = await startReference('bridge');
  const conf = join(host.directory, 'net.d');
  conflistFile(conf, REFERENCE_PLUGIN(host.directory), cniVersion);
  return { nodes: [{ ...host, conf }], stop: () => host.stop() };
}

/** What the runtimes read is what `tartan install` wrote (P18). */
async function installed(node: Node): Promise<RuntimeNode> {
  const done = await node.run(['install']);
  if (done.code !== 0) throw new Error(`tartan install: ${done.stderr}`);
  return { ...node, conf: join(node.directory, 'net.d') };
}

/** Two nodes with Tartan, sharing a store. */
export async function tartanCluster(settings: Record<string, unknown> = {}): Promise<RuntimeCluster> {
  const underlay = await makeUnderlay('rt');
  const started: RuntimeNode[] = [];
  const stop = async (): Promise<void> => {
    for (const node of started.reverse()) await node.stop();
    underlay.remove();
  };
  try {
    const first = await startNode('rt1', settings, { underlay, index: 1 });
    started.push(await installed(first));
    const second = await startNode('rt2', settings, {
      underlay,
      index: 2,
      store: join(first.directory, 'store'),
    });
    started.push(await installed(second));
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodes: [...started], stop };
}
