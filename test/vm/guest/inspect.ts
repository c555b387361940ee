/** Prints what the running kernel has (features.ts) and what `tartan doctor` finds wrong with it, as a line of JSON. */
import { release } from 'node:os';
import { startNode } from '../../host/node.ts';
import { FEATURES, hasFeature, type FeatureName } from '../features.ts';

export type Inspection = {
  readonly release: string;
  readonly features: Readonly<Record<string, boolean>>;
  /** What the kernel lacks, by doctor's findings; over both wirings, with VXLAN and both families. */
  readonly doctor: readonly string[];
};

type Finding = { readonly check: string; readonly severity: string; readonly title: string };

async function askDoctor(wiring: 'routed' | 'bridge'): Promise<string[]> {
  await using stack = new AsyncDisposableStack();
  const node = await startNode(`qv-${wiring}`, {
    network: { ipv4: { range: '10.88.0.0/16' }, ipv6: { range: 'fd88::/96', subnetLength: 112 } },
    wiring: { type: wiring },
  });
  stack.defer(() => node.stop());
  const { stdout, stderr } = await node.run(['doctor', '-o', 'json', '--all']);
  if (!stdout.startsWith('[')) throw new Error(`doctor: ${stderr}${stdout}`);
  return (JSON.parse(stdout) as Finding[])
    .filter(({ check, title }) => check.startsWith('kernel-') && title.includes('lacks'))
    .map(({ severity, title }) => `${severity}: ${title}`);
}

const names = Object.keys(FEATURES) as FeatureName[];
const features = Object.fromEntries(names.map((name) => [name, hasFeature(name)]));
const doctor = [...new Set([...(await askDoctor('routed')), ...(await askDoctor('bridge'))])].sort();
console.log(JSON.stringify({ release: release(), features, doctor } satisfies Inspection));
