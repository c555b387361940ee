/**
 * Puts a stage of a scenario in force and holds against each other, for every expectation in both families: what its author
 * expects, what `evaluate` says of what the agents know, what the rules in the nodes' kernels say, and what packets do.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import { connectAgent } from '../../../src/cli/client.ts';
import { inNetns, openNetns } from '#kernel/netns.ts';
import { openPolicy, type PolicyTable } from '#kernel/nftables/policy/policy.ts';
import { readManifests } from '#model/manifest.ts';
import type { PolicySnapshot } from '#model/policy-snapshot.ts';
import type { Flow } from '#model/verdict.ts';
import { FAMILIES, type Family } from '#net/address.ts';
import { simulate } from '#policy/compile/simulate.ts';
import { evaluate } from '#policy/evaluate.ts';
import { manifestName } from '#policy/inputs/reading.ts';
import { restore } from '#policy/inputs/snapshot.ts';
import { traffic } from '#policy/testing/world.ts';
import { PATIENCE, waitFor } from '../namespace.ts';
import { type PolicyLab, reaches } from '../policy-pods.ts';
import { type Probe, type Shots, openShots } from './packets.ts';
import { type Expectation, type Scenario, type Stage, stagesOf, words } from './scenario.ts';
import { forgetConnections, type LabWire, openLabWire } from './wire.ts';

export type Judge = {
  /** Throws with all that is otherwise than the scenario says. */
  play(scenario: Scenario): Promise<void>;
  /** Packets that were sent, by protocol, family and outcome. */
  counts(): ReadonlyMap<string, number>;
  /** Throws when something denied came late. */
  settle(): void;
  close(): void;
};

type Node = {
  readonly name: string;
  readonly table: PolicyTable;
  readonly snapshot: () => Promise<PolicySnapshot>;
};

const FILE = 'scenario';
const IN_FORCE_MS = 10_000;

export function openJudge(policies: PolicyLab, cluster: string): Judge {
  const { lab } = policies;
  const wire = openLabWire(lab);
  const shots = openShots(wire);
  const nodes = lab.nodes.map(({ name, netns, paths }): Node => {
    const fd = openNetns(`/run/netns/${netns}`);
    const table = inNetns(fd, () => openPolicy({ own: false }));
    closeSync(fd);
    const agent = connectAgent(paths.run);
    return { name, table, snapshot: () => agent.call('policySnapshot') };
  });
  const parts: Parts = { policies, wire, shots, nodes, cluster, ports: new Map() };
  lab.apply('cluster', cluster);
  return {
    counts: () => shots.counts,
    play: async (scenario) => {
      parts.ports.clear();
      try {
        for (const stage of stagesOf(scenario)) await playStage(parts, stage);
      } finally {
        lab.apply(FILE, '');
        for (const { name } of stagesOf(scenario).flatMap(({ pods = [] }) => pods)) {
          wire.removePod(name);
          if (lab.pods().some((each) => each.name === name)) await lab.removePod(name);
        }
      }
    },
    settle: () => shots.settle(),
    close: () => {
      wire.close();
      for (const { table } of nodes) table.close();
    },
  };
}

type Parts = {
  readonly policies: PolicyLab;
  readonly wire: LabWire;
  readonly shots: Shots;
  readonly nodes: readonly Node[];
  readonly cluster: string;
  /** Of connections that go on from stage to stage, by name and family. */
  readonly ports: Map<string, number>;
};

async function playStage(parts: Parts, stage: Stage): Promise<void> {
  const { policies, wire, shots } = parts;
  const { lab } = policies;
  const text = fillIn(wire, stage.manifests);
  lab.apply(FILE, text);
  if (stage.pods !== undefined) {
    await awaitInForce(parts, { ...stage, text }, []);
    for (const { node, name, ...about } of stage.pods) {
      await lab.addPod(node, name, about);
      wire.addPod(name);
    }
  }
  const probes = stage.expect.flatMap((each) => probesOf(parts, each));
  await awaitInForce(parts, { ...stage, text }, probes);
  if (probes.some(({ traffic }) => traffic.startsWith('icmp') || traffic === '47')) forgetConnections(lab);
  const [inner, outer] = [probes.filter(isWithin), probes.filter((each) => !isWithin(each))];
  const wrong = [...(await shots.fire(outer)), ...(await askWithin(policies, inner))];
  assert.equal(wrong.length, 0, ['packets do otherwise:', ...wrong].join('\n'));
}

const isWithin = ({ from, to }: Probe): boolean => from === to;

/** What a pod sends to itself crosses no wire: its own program asks. */
async function askWithin(policies: PolicyLab, probes: readonly Probe[]): Promise<string[]> {
  const wrong: string[] = [];
  for (const probe of probes) {
    const arrived = await reaches(policies, probe.from.name, probe.flow.destination);
    if (arrived !== (probe.expected === 'allow')) wrong.push(probe.name);
  }
  return wrong;
}

function fillIn(wire: LabWire, manifests: string): string {
  return manifests.replaceAll(/\{\{(\S+) ipv([46])\}\}/g, (_, name: string, family: string) => {
    // As the others see it: a node, over the tunnel.
    const place = wire.place(name);
    const peer = wire.places().find(({ kind, node }) => kind === 'pod' && node !== place.node) ?? place;
    return wire.sourceOf(place, Number(family) as Family, peer);
  });
}

function probesOf(parts: Parts, [from, to, kinds, expected]: Expectation): Probe[] {
  return words(from).flatMap((source) =>
    words(to)
      .filter((destination) => destination !== source || words(from).length === 1)
      .flatMap((destination) =>
        words(kinds).flatMap((kind) =>
          FAMILIES.map((family) => probeOf(parts, [source, destination, kind], family, expected)),
        ),
      ),
  );
}

function probeOf(
  { wire, ports }: Parts,
  [source, destination, kind]: readonly [string, string, string],
  family: Family,
  expected: 'allow' | 'deny',
): Probe {
  const [from, to] = [wire.place(source), wire.place(destination)];
  const [what = '', connection] = kind.split('#');
  const isReply = connection?.endsWith('<') === true;
  const key = `${connection?.replace('<', '')} ${family}`;
  const sourcePort = (connection === undefined ? undefined : ports.get(key)) ?? nextPort();
  if (connection !== undefined) ports.set(key, sourcePort);
  const bare: Flow = {
    ...traffic(what, family),
    source: wire.sourceOf(from, family, to),
    destination: wire.addressOf(to, family),
  };
  const ported: Flow = bare.destinationPort === undefined ? bare : { ...bare, sourcePort };
  const { destinationPort = 0 } = ported;
  const sent: Flow = isReply
    ? { ...ported, sourcePort: destinationPort, destinationPort: sourcePort }
    : ported;
  return {
    name: `IPv${family} ${source} → ${destination} ${kind}: ${expected}`,
    from,
    to,
    traffic: what,
    family,
    expected,
    flow: { ...sent, crossings: wire.wayOf(from, to, sent) },
    keepsPorts: connection !== undefined,
    isFirst: !isReply,
  };
}

let port = 20_000 + (randomBytes(2).readUInt16LE() % 8_000);
const nextPort = (): number => (port = port >= 60_000 ? 20_000 : port + 1);

/** Until both what the agents know and what their kernels hold come to what is expected of every first packet. */
async function awaitInForce(
  parts: Parts,
  stage: Stage & { readonly text: string },
  probes: readonly Probe[],
): Promise<void> {
  let doubts: string[] = ['nobody was asked'];
  const isInForce = async (): Promise<boolean> => {
    const sides = await Promise.all(parts.nodes.map(sideOf));
    doubts = [
      ...sides.flatMap((side) => missingIn(parts, side, stage)),
      ...probes.filter(({ isFirst }) => isFirst).flatMap((probe) => doubtsOf(sides, probe)),
    ];
    return doubts.length === 0;
  };
  try {
    await waitFor('the scenario to be in force', isInForce, IN_FORCE_MS);
  } catch {
    assert.fail([`not in force after ${IN_FORCE_MS * PATIENCE} ms:`, ...doubts].join('\n'));
  }
}

type Side = {
  readonly node: string;
  readonly view: ReturnType<ReturnType<typeof restore>['view']>;
  readonly snapshot: PolicySnapshot;
  readonly dump: ReturnType<PolicyTable['dumpPolicy']>;
};

async function sideOf({ name, table, snapshot }: Node): Promise<Side> {
  const told = await snapshot();
  return { node: name, view: restore(told).view(), snapshot: told, dump: table.dumpPolicy() };
}

/** The agent knows other objects or pods than there are, or has other problems with them. */
function missingIn(
  { policies, cluster }: Parts,
  { node, snapshot, view }: Side,
  stage: Stage & { text: string },
): string[] {
  const read = readManifests('stage', `${cluster}---\n${stage.text}`);
  const wanted = new Map(read.manifests.map((each) => [manifestName(each), JSON.stringify(each.value)]));
  const known = new Map(
    snapshot.manifests.map(({ name, manifest }) => [name, JSON.stringify(manifest?.value)]),
  );
  const isPolicy = (name: string): boolean => !name.startsWith('v1/');
  const names = [...new Set([...wanted.keys(), ...known.keys()])].filter(
    (name) =>
      wanted.has(name) !== known.has(name) ||
      (isPolicy(name) && stage.problems === undefined && wanted.get(name) !== known.get(name)),
  );
  const pods = policies.lab.pods().filter(({ name, addresses }) => {
    const found = view.world.endpoints.find((each) => each.kind === 'pod' && each.name === name);
    return (
      found === undefined ||
      !addresses.every((each) => found.kind !== 'network-set' && found.addresses.some((own) => own === each))
    );
  });
  const problems = view.problems.map(({ path, message }) => `${path}: ${message}`);
  const unsaid = (stage.problems ?? []).filter((each) => !problems.some((problem) => each.test(problem)));
  const unmeant = problems.filter((problem) => !(stage.problems ?? []).some((each) => each.test(problem)));
  return [
    ...read.problems.map(({ path, message }) => `${path}: ${message}`),
    ...names.map((name) => `${node} knows otherwise: ${name}`),
    ...pods.map(({ name }) => `${node} does not know pod ${name}`),
    ...unsaid.map((each) => `${node} does not say ${each}`),
    ...unmeant.map((each) => `${node} says ${each}`),
  ];
}

function doubtsOf(sides: readonly Side[], { name, flow, expected }: Probe): string[] {
  const meant = sides.flatMap(({ node, view: { book, world } }) => {
    const { action, checks } = evaluate(book, world, flow);
    if (action === expected) return [];
    const why = checks.map(({ endpoint, direction, trail }) =>
      [endpoint, direction, trail.at(-1)?.policy, trail.at(-1)?.outcome].join(' '),
    );
    return [`${name}; evaluate on ${node}: ${why.join('; ')}`];
  });
  const opinions = sides.flatMap(({ node, dump }) =>
    simulate(dump.program, flow, { node }).opinions.map((opinion) => ({ node, ...opinion })),
  );
  const held = opinions.some(({ action }) => action === 'deny') ? 'deny' : 'allow';
  return held === expected ? meant : [...meant, `${name}; the kernels: ${JSON.stringify(opinions)}`];
}
