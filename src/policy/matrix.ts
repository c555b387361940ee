/** Who may reach whom: all pods by all pods, for one kind of traffic or for all. Pods that cannot be told apart are one row. */
import type { Flow } from '#model/verdict.ts';
import type { Pod } from '#model/workload.ts';
import { type Address, addressFamily, type Family } from '#net/address.ts';
import type { View } from './explain.ts';
import { type End, flowsBetween, type Traffic } from './flow-text.ts';
import { cellsOf, cutsOfGrids, decisionAt } from './reach/cuts.ts';
import { Judge } from './reach/judge.ts';
import { Library } from './reach/library.ts';
import { joinCells, occurs, type TrafficSpan } from './reach/traffic-spans.ts';

/** `some`: by family or by traffic; `none`: no family in common, or a pod and itself. */
export type Reach = {
  readonly verdict: 'allow' | 'deny' | 'some' | 'none';
  /** What is allowed, by family, where it is not everything. */
  readonly allowed?: readonly { readonly family: Family; readonly traffic: readonly TrafficSpan[] }[];
};

export type Matrix = {
  /** Rows and columns: pods, each group by its names. */
  readonly groups: readonly (readonly string[])[];
  /** By group that sends, then by group that receives. Within a group: from one of its pods to another. */
  readonly reach: readonly (readonly Reach[])[];
};

/** `traffic` absent: all. `grouped`: pods that are judged alike stand together. */
export function buildMatrix(
  { book, world }: View,
  pods: readonly Pod[],
  { traffic, grouped }: { readonly traffic?: Traffic; readonly grouped: boolean },
): Matrix {
  const judge = new Judge(book, world, new Library());
  // What its own node sends to a pod is not judged: beside pods that are their nodes, it matters where others are.
  const byNode = pods.some(({ hostNetwork }) => hostNetwork);
  const kindOf = (pod: Pod): string =>
    grouped && !pod.hostNetwork
      ? JSON.stringify([
          pod.addresses.map((address) => judge.kindOf(address)),
          pod.ports,
          byNode ? pod.node : '',
        ])
      : nameOf(pod);
  const groups = [...Map.groupBy(pods, kindOf).values()];
  const reach = groups.map((senders) =>
    groups.map((receivers) => {
      const [from] = senders;
      const to = receivers.find((each) => each !== from);
      if (from === undefined || to === undefined) return { verdict: 'none' } as const;
      return traffic === undefined ? reachBy(judge, from, to) : reachOf(judge, [from, to], traffic);
    }),
  );
  return { groups: groups.map((own) => own.map(nameOf)), reach };
}

function nameOf({ namespace, name }: Pod): string {
  return `${namespace}/${name}`;
}

/** Of one kind of traffic. */
function reachOf(judge: Judge, pods: readonly [Pod, Pod], traffic: Traffic): Reach {
  const [from, to] = pods.map((pod): End => ({ name: nameOf(pod), addresses: pod.addresses, pod })) as [
    End,
    End,
  ];
  const flows = flowsBetween(from, to, traffic);
  if ('unclear' in flows) return { verdict: 'none' };
  const allowed = flows.filter((flow) => judge.actionOf(flow) === 'allow');
  return sum(flows, allowed, ({ source }: Flow) => ({
    family: addressFamily(source),
    traffic: [{ protocol: 'any' }],
  }));
}

/** Of all traffic, by family. */
function reachBy(judge: Judge, from: Pod, to: Pod): Reach {
  const pairs = from.addresses.flatMap((source) => {
    const family = addressFamily(source);
    return to.addresses
      .filter((each) => addressFamily(each) === family)
      .map((destination) => ({ family, traffic: allowedBetween(judge, [source, destination], family) }));
  });
  if (pairs.length === 0) return { verdict: 'none' };
  const whole = pairs.filter(({ traffic: [first] }) => first?.protocol === 'any');
  const open = pairs.filter(({ traffic }) => traffic.length > 0);
  if (whole.length === pairs.length) return { verdict: 'allow' };
  return open.length === 0 ? { verdict: 'deny' } : { verdict: 'some', allowed: open };
}

function allowedBetween(judge: Judge, pair: readonly [Address, Address], family: Family): TrafficSpan[] {
  const grids = judge.ends(pair).map((end) => end.grids());
  const cells = [...cellsOf(cutsOfGrids(grids))].filter((cell) => occurs(cell, family));
  const open = cells.filter(({ protocol, x, y }) =>
    grids.every((each) => decisionAt(each, { protocol, x: x[0], y: y[0] }).verdict !== 'deny'),
  );
  return joinCells(open, cells);
}

type Allowed = NonNullable<Reach['allowed']>[number];

function sum<T>(all: readonly T[], allowed: readonly T[], show: (each: T) => Allowed): Reach {
  if (allowed.length === all.length) return { verdict: 'allow' };
  return allowed.length === 0 ? { verdict: 'deny' } : { verdict: 'some', allowed: allowed.map(show) };
}
