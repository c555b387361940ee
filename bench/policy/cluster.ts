/**
 * The cluster that policies are measured in, as plain data: the same pods and policies in every run, for the engine, for
 * the agent's store and for peers. A fortieth of the pods is on the first node.
 */
import { PROTOCOL, type Policy } from '#model/policy.ts';
import { manifestOf } from '#model/manifest.ts';
import type { Labels, Node, Pod, PolicyWorld } from '#model/workload.ts';
import { address } from '#net/address.ts';
import { parsePolicy } from '#policy/frontends/index.ts';

export const PODS = Number(process.env.BENCH_PODS ?? 10_000);
export const POLICIES = Number(process.env.BENCH_POLICIES ?? 10_000);
export const NODES = PODS / 250;
export const NAMESPACES = 200;
export const PORT = 5201;

/** The same figures in every run. */
export function createRandom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1_103_515_245) + 12_345) & 0x7fff_ffff;
    return state % below;
  };
}

export type Json = Readonly<Record<string, unknown>>;
const app = (n: number): Json => ({ podSelector: { matchLabels: { app: `a${n}` } } });
const port = (port: number | string, protocol = 'TCP'): Json => ({ protocol, port });

export const nodeName = (n: number): string => `n${n}`;
export const namespaceOf = (index: number): string => `ns${index % NAMESPACES}`;
export const namespaceLabels = (n: number): Labels => ({ team: `t${n % 20}` });

export function makePod(index: number): Pod {
  const round = Math.floor(index / NAMESPACES);
  return {
    kind: 'pod',
    namespace: namespaceOf(index),
    name: `p${index}`,
    labels: { app: `a${round % 10}`, tier: ['web', 'db', 'cache'][(index * 7 + round) % 3] ?? '' },
    node: nodeName((round * 7 + index) % NODES),
    account: 'default',
    addresses: [address(`10.64.${index >> 8}.${index & 255}`), address(`fd01::${(index + 1).toString(16)}`)],
    ports: [{ name: 'http', protocol: PROTOCOL.tcp, port: 8080 }],
    hostNetwork: false,
  };
}

export const makePods = (): Pod[] => Array.from({ length: PODS }, (_, index) => makePod(index));

/** Addresses are 192.0.2.0/24 and 2001:db8::/64. */
export function makeNodes(): Map<string, Node> {
  return new Map(
    Array.from({ length: NODES }, (_, n) => {
      const own = [address(`192.0.2.${n + 1}`), address(`2001:db8::${(n + 1).toString(16)}`)];
      return [nodeName(n), { labels: {}, addresses: own }];
    }),
  );
}

/** With the two pods of a measured path: `a` sends to `b`. */
export function makeWorld(): PolicyWorld {
  const measured = ['a', 'b'].map((name, index): Pod => ({
    ...makePod(0),
    namespace: 'measured',
    name,
    labels: { app: name },
    node: nodeName(0),
    addresses: [address(`10.244.0.${index + 1}`), address(`fd00::${index + 1}`)],
  }));
  const names = Array.from(
    { length: NAMESPACES },
    (_, n) => [`ns${n}`, namespaceLabels(n)] as [string, Labels],
  );
  return {
    endpoints: [...makePods(), ...measured],
    namespaces: new Map<string, Labels>([...names, ['measured', {}]]),
    accounts: new Map(),
    nodes: makeNodes(),
    services: new Map(),
    names: new Map(),
    failsafe: { ingress: [], egress: [] },
  };
}

/** A NetworkPolicy as an operator writes it. */
export type Written = {
  readonly apiVersion: 'networking.k8s.io/v1';
  readonly kind: 'NetworkPolicy';
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: Json;
};

const write = (name: string, namespace: string, spec: Json): Written => ({
  apiVersion: 'networking.k8s.io/v1',
  kind: 'NetworkPolicy',
  metadata: { name, namespace },
  spec,
});

export function parse(written: Written): readonly Policy[] {
  const { policies, problems } = parsePolicy(manifestOf(written.metadata.name, written));
  if (problems.length > 0) throw new Error(JSON.stringify(problems));
  return policies;
}

/** One of four kinds, for a tenth of the pods of a namespace. `exact`: a port of those that have any. */
export function ordinary(index: number, exact = 80 + (index % 20)): Written {
  const random = createRandom(index * 7919 + 12_345);
  const team = { namespaceSelector: { matchLabels: { team: `t${random(20)}` } } };
  const network = { ipBlock: { cidr: `172.${16 + random(16)}.${random(256)}.0/24` } };
  const from = [[app(random(10))], [app(random(10)), { ...team, ...app(random(10)) }], [network]][index % 4];
  const subject = app(Math.floor(index / NAMESPACES) % 10);
  const spec =
    from === undefined
      ? {
          egress: [{ to: [app(random(10))], ports: [port(53, 'UDP')] }, { to: [network] }],
          policyTypes: ['Egress'],
        }
      : { ingress: [{ from, ports: [port(exact), port('http')] }] };
  return write(`np${index}`, namespaceOf(index), { ...subject, ...spec });
}

export const elsewhere = (count: number): Written[] =>
  Array.from({ length: count }, (_, index) => ordinary(index));

/** Policies `index` that have a port and select a pod of the first node: a change of them changes what it enforces. */
export function relevant(): number[] {
  const local = new Set(
    makePods()
      .filter(({ node }) => node === nodeName(0))
      .map(({ namespace, labels }) => `${namespace} ${labels.app}`),
  );
  return Array.from({ length: POLICIES }, (_, index) => index).filter(
    (index) => index % 4 !== 3 && local.has(`${namespaceOf(index)} a${Math.floor(index / NAMESPACES) % 10}`),
  );
}

export const JOINED: Labels = { joined: 'yes' };

/** For all pods of a namespace each, from whoever has the label JOINED. */
export const usingJoined = (): Written[] =>
  Array.from({ length: 100 }, (_, n) => {
    const from = [{ namespaceSelector: {}, podSelector: { matchLabels: JOINED } }];
    return write(`join${n}`, `ns${n}`, { podSelector: {}, ingress: [{ from, ports: [port(7_000 + n)] }] });
  });

/** The first lets the measured path pass; the others are for other peers and ports. */
export function onPod(count: number): Written[] {
  const subject = { podSelector: { matchLabels: { app: 'b' } } };
  return Array.from({ length: count }, (_, n) => {
    const others = [{ ipBlock: { cidr: otherNetwork(n) } }, app(n % 10)];
    const from = n === 0 ? [app0('a')] : others;
    const ports = n === 0 ? [port(PORT), port(PORT, 'UDP')] : [port(otherPort(n))];
    return write(`on${n}`, 'measured', { ...subject, ingress: [{ from, ports }] });
  });
}

const app0 = (name: string): Json => ({ podSelector: { matchLabels: { app: name } } });
export const otherNetwork = (n: number): string => `172.${16 + (n % 16)}.${n % 256}.0/24`;
export const otherPort = (n: number): number => 10_000 + n;
