/**
 * Network policy: 10,000 policies in a cluster of 10,000 pods, of which 250 are here. What compiling, loading and changing
 * them takes in the engine alone and in the agent, and what a pod's packets pay for them. BENCH_POLICY names the parts to
 * be run (engine, agent, traffic; default: all). Everything happens in namespaces of its own.
 */
import { join } from 'node:path';
import { ready } from '#kernel/netns.ts';
import { execute, whyNoKernel } from '../test/host/namespace.ts';
import { whyNoTartan } from '../test/host/node.ts';
import { benchAgent } from './policy/agent.ts';
import { benchTraffic, ROUNDS } from './policy/traffic.ts';
import { keepReport, printReport, type Row } from './report.ts';

type Measured = { readonly rows: Row[]; readonly kept: object };

type Part = {
  readonly title: string;
  readonly whyNot: () => string | undefined;
  run(): Promise<Measured>;
};

const PARTS: Readonly<Record<string, Part>> = {
  engine: { title: 'Policy engine, without files and processes', whyNot: () => undefined, run: benchEngine },
  agent: { title: 'Policy in the agent, profile canal', whyNot: whyNoTartan, run: benchAgent },
  traffic: {
    title: `What policy costs a pod’s packets; ${ROUNDS} interleaved rounds, medians; ratio: mean of the pairs, 95 %: its lower bound`,
    whyNot: () => whyNoKernel(['iptables-nft-restore', 'iptables-legacy-restore', 'ipset']),
    run: benchTraffic,
  },
};

/** As dist/tartan has them: with V8's own, what is new is collected ten times as long and a tenth as often. */
const FLAGS = ['--min-semi-space-size=4', '--max-semi-space-size=4', '--v8-pool-size=2'];

async function benchEngine(): Promise<Measured> {
  const program = join(import.meta.dirname, 'policy/engine.ts');
  const { code, stdout, stderr } = await execute([process.execPath, ...FLAGS, program], {
    timeoutMs: 300_000,
  });
  if (code !== 0) throw new Error(stderr);
  return JSON.parse(stdout) as Measured;
}

export async function benchPolicy(): Promise<void> {
  await ready;
  const named = (process.env.BENCH_POLICY ?? Object.keys(PARTS).join(' ')).split(' ');
  for (const name of named) {
    const part = PARTS[name];
    if (part === undefined) throw new Error(`BENCH_POLICY names ${name} (${Object.keys(PARTS).join(', ')})`);
    const why = part.whyNot();
    if (why !== undefined) {
      console.log(`policy, ${name}: not run: ${why}`);
      continue;
    }
    const { rows, kept } = await part.run();
    printReport(part.title, rows);
    keepReport(`policy-${name}`, { at: new Date().toISOString(), rows, ...kept });
  }
}
