/**
 * Changes of policies and of the world, from objects in memory to the kernel, without a process or a file around it: what
 * an agent does between its store and its table (inputs, compiler, loader).
 */
import { manifestOf } from '#model/manifest.ts';
import type { NodeWorkloads } from '#model/workload.ts';
import type { Address } from '#net/address.ts';
import type { PolicyTable } from '#kernel/nftables/policy/policy.ts';
import { createCompiler } from '#policy/compile/compiler.ts';
import { createInputs, type PolicyInputs } from '#policy/inputs/inputs.ts';
import { median, percentile, type Row } from '../report.ts';
import {
  elsewhere,
  type Json,
  makeNodes,
  makePods,
  nodeName,
  ordinary,
  POLICIES,
  PODS,
  relevant,
  usingJoined,
  type Written,
} from './cluster.ts';
import { coreObjects, localPods, otherNodes, workloadsOf } from './store.ts';

/** An agent has run for long when something changes. */
const WARM = 50;
const JOINS = 500;
const CHANGES = 300;

const SELF = nodeName(0);

export function timed<T>(work: () => T): [T, number] {
  const began = performance.now();
  const made = work();
  return [made, performance.now() - began];
}

/** The median, and the 99th percentile with its target. */
export function pair(what: string, values: readonly number[], limit?: number): Row[] {
  const target = limit === undefined ? {} : { target: { sense: '≤' as const, limit } };
  return [
    { what: `${what}, p50`, unit: 'ms', ours: median(values) },
    { what: `${what}, p99`, unit: 'ms', ours: percentile(values, 0.99), ...target },
  ];
}

function put(inputs: PolicyInputs, object: Json | Written): void {
  const { kind, metadata } = object as Written;
  const name = `${kind}/${metadata.namespace ?? ''}/${metadata.name}`;
  const problems = inputs.setManifest(name, manifestOf(name, object));
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
}

function fill(): PolicyInputs {
  const inputs = createInputs({ node: SELF });
  for (const [name, { addresses }] of makeNodes()) inputs.setNode(name, addresses);
  for (const object of [...coreObjects(SELF), ...elsewhere(POLICIES), ...usingJoined()]) put(inputs, object);
  inputs.setOwn(localPods());
  for (const node of otherNodes()) inputs.setWorkloads(node, workloadsOf(node, new Set()));
  return inputs;
}

/** Pods of other nodes, one after the other, each with its node's new list; the same pods in each run. */
export function* joins(): Generator<{ readonly workloads: NodeWorkloads; readonly address: Address }> {
  const joined = new Set<string>();
  const others = makePods().filter(({ node }) => node !== SELF);
  for (let at = 0; ; at += 17) {
    const pod = others[at % others.length];
    const address = pod?.addresses[0];
    if (pod === undefined || address === undefined || joined.has(pod.name)) continue;
    joined.add(pod.name);
    // As it is when it was read: nothing in it is what was there before.
    yield { workloads: structuredClone(workloadsOf(pod.node, joined)), address };
  }
}

/** Policies that this node enforces, one after the other, each with a port that no other has. */
export function* changes(): Generator<{ readonly index: number; readonly port: number }> {
  const indexes = relevant();
  for (let n = 0; ; n += 1) yield { index: indexes[(n * 7) % indexes.length] ?? 0, port: 20_000 + n };
}

export function benchChanges(table: PolicyTable): { readonly rows: Row[]; readonly kept: object } {
  const [inputs, reading] = timed(fill);
  const compiler = createCompiler(SELF);
  const [view, viewing] = timed(() => inputs.view());
  const [, compiling] = timed(() => compiler.update(view.book, view.world));
  const program = compiler.program();
  const [, loading] = timed(() => table.replacePolicy(program));
  let entries = 0;
  const step = (change: () => void): number =>
    timed(() => {
      change();
      const { book, world } = inputs.view();
      const delta = compiler.update(book, world);
      if (delta === undefined) throw new Error('a change that changes nothing');
      table.loadPolicy(delta);
      entries = Math.max(entries, delta.entries.size);
    })[1];
  // One after the other: what is yet to come is not in memory.
  const join = joins()
    .take(WARM + JOINS)
    .map(({ workloads }) => step(() => inputs.setWorkloads(workloads.node, workloads)))
    .toArray();
  const change = changes()
    .take(WARM + CHANGES)
    .map(({ index, port }) => ordinary(index, port))
    .map((written) => step(() => put(inputs, written)))
    .toArray();
  const rows: Row[] = [
    {
      what: `objects of ${POLICIES} policies and ${PODS} pods to rules (parsed before)`,
      unit: 'ms',
      ours: reading + viewing,
    },
    { what: 'compile', unit: 'ms', ours: compiling },
    { what: `load ${program.entries.size} entries`, unit: 'ms', ours: loading },
    {
      what: 'all three: full compile and load',
      unit: 'ms',
      ours: reading + viewing + compiling + loading,
      target: { sense: '≤', limit: 2_000 },
    },
    ...pair('a pod joins a selector of 100 policies: object to kernel', join.slice(WARM), 5),
    ...pair('one policy of 10,000 changes: object to kernel', change.slice(WARM), 25),
    { what: 'entries of the largest of these changes', unit: '', ours: entries },
  ];
  return { rows, kept: { join, change } };
}
