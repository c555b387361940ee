/** `npm run bench [name …]`: every benchmark, or those named. Each prints its ratios and keeps its figures in bench/results. */
import { whyNoKernel } from '../test/host/namespace.ts';
import { benchBlocks } from './blocks.ts';
import { benchCni } from './cni.ts';
import { benchDataPath } from './data-path.ts';
import { benchKubernetes } from './kubernetes.ts';
import { benchPeers } from './peers.ts';
import { benchPolicy } from './policy.ts';
import { benchRoutes } from './routes.ts';
import { benchTunnel } from './tunnel.ts';

const BENCHES: Readonly<Record<string, () => Promise<void>>> = {
  cni: benchCni,
  blocks: benchBlocks,
  peers: benchPeers,
  kubernetes: benchKubernetes,
  policy: benchPolicy,
  routes: benchRoutes,
  'data-path': benchDataPath,
  tunnel: benchTunnel,
};

const why = whyNoKernel(['ip', 'gcc', 'nsenter', 'bridge', 'nft', 'ethtool']);
if (why !== undefined) throw new Error(`benchmarks cannot run: ${why}`);
const named = process.argv.slice(2);
for (const name of named.length > 0 ? named : Object.keys(BENCHES)) {
  const bench = BENCHES[name];
  if (bench === undefined) throw new Error(`no benchmark ${name} (${Object.keys(BENCHES).join(', ')})`);
  await bench();
}
