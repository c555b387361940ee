/** What to do after a choice: settings of Tartan to run, and the way from the provider that is there. */
import type { Measurements } from '#model/measurement.ts';
import { type Candidate, cellOf, type Facts } from '../facts/facts.ts';
import type { Answers } from './answers.ts';
import type { Choice } from './choose.ts';
import type { Judged } from './requirements.ts';
import { type RoadChoice, roadFor } from './road.ts';

/** A settings file, as plain data, for `parseSettings`. */
export type SettingsFile = Readonly<Record<string, unknown>>;

export type Next = {
  /** The profile of Tartan that stands best, or lacks least. */
  readonly tartan?: {
    readonly candidate: string;
    readonly settings: SettingsFile;
    /** Why this road, where it is not the profile’s. */
    readonly why?: string | undefined;
    /** What of the requirements it does not meet; empty: it can be run as it is. */
    readonly unmet: readonly Judged[];
  };
  readonly migration: readonly string[];
};

export function nextOf(facts: Facts, answers: Answers, choice: Choice, measured?: Measurements): Next {
  const own = bestOwn(choice);
  const road = own && roadFor(own.candidate.profile, answers, measured);
  const first = choice.ranked.filter(({ place }) => place === 1).map(({ candidate }) => candidate);
  // Who is there and among the first stays.
  const winner = first.find(({ id }) => id === answers.present) ?? first[0];
  return {
    ...(own === undefined
      ? {}
      : {
          tartan: {
            candidate: own.candidate.id,
            settings: settingsFor(own.candidate, answers, road?.road),
            why: road?.why,
            unmet: own.unmet,
          },
        }),
    migration: winner === undefined ? [] : migrationTo(facts, answers, winner),
  };
}

function bestOwn({
  ranked,
  excluded,
}: Choice): { candidate: Candidate; unmet: readonly Judged[] } | undefined {
  const first = ranked.find(({ candidate }) => candidate.profile !== undefined);
  if (first !== undefined) return { candidate: first.candidate, unmet: [] };
  return excluded
    .filter(({ candidate }) => candidate.profile !== undefined)
    .toSorted((a, b) => a.unmet.length - b.unmet.length)[0];
}

const V6 = { range: 'fd00:10:244::/48' };

export function settingsFor(
  { profile }: Candidate,
  answers: Answers,
  road?: RoadChoice['road'],
): SettingsFile {
  const { family = 'ipv4', policies = [], nodes, podsPerNode } = answers;
  const enforce = policies.some((word) => word !== 'none');
  const ipv4 = { range: '10.244.0.0/16', ...subnetLength(nodes, podsPerNode) };
  const families = { ipv4: { ipv4 }, ipv6: { ipv4: null, ipv6: V6 }, dual: { ipv4, ipv6: V6 } };
  return {
    apiVersion: 'tartan.dev/v1',
    kind: 'Settings',
    profile,
    network: families[family],
    ...(road === undefined ? {} : { road }),
    ...(enforce ? { policy: { enforce } } : {}),
  };
}

/** Of a /16: subnets for all nodes (the first is not handed out), each with room for the pods and for the bridge. */
function subnetLength(nodes = 0, pods = 0): { readonly subnetLength?: number; readonly range?: string } {
  const hostBits = Math.max(8, Math.ceil(Math.log2(pods + 3)));
  const nodeBits = Math.ceil(Math.log2(nodes + 1));
  if (hostBits === 8 && nodeBits <= 8) return {};
  const length = Math.max(8, 32 - hostBits - nodeBits);
  const range = length >= 16 ? '10.244.0.0/16' : '10.0.0.0/8';
  return { range, subnetLength: 32 - hostBits };
}

/** Pods keep neither address nor link over a change of provider, so nodes are changed one by one. */
function migrationTo(facts: Facts, { present }: Answers, winner: Candidate): string[] {
  const from = facts.candidates.find(({ id }) => id === present);
  if (from === undefined || from.id === winner.id) return [];
  if (from.profile !== undefined && winner.profile !== undefined) return switchTo(winner.profile);
  return [
    `Audit: tartan choose --audit DIR tells which objects ${winner.title} does not take as ${from.title} does.`,
    ...portsClash(from, winner),
    `Give ${winner.title} a range of pod addresses that does not overlap the present one; both run until the last node is changed.`,
    'Deny nothing by default while you change: policies of the two do not know each other’s pods.',
    `Node by node: cordon and drain, remove the CNI configuration of ${from.title}, install ${winner.title}, restart the runtime, uncordon.`,
    `After the last node remove ${from.title}: its DaemonSet, links, routes and rules. Back is the same way, as long as it is still there.`,
  ];
}

/** Between Tartan’s own, traffic goes on. */
function switchTo(profile: string): string[] {
  return [
    `tartan switch ${profile} --dry-run shows what each node will do; without --dry-run it is done, phase by phase, and --back undoes it. Pods keep their addresses and their wiring.`,
    `Then put profile: ${profile} into the settings of the nodes: new pods are wired as it says.`,
  ];
}

function portsClash(from: Candidate, to: Candidate): string[] {
  const used = [from, to].map((one) => String(cellOf(one, 'ports').value));
  const [mine = [], theirs = []] = used.map((text) => text.match(/(?:UDP|TCP) \d+/g) ?? []);
  const both = mine.filter((port) => theirs.some((other) => other === port));
  return both.map((port) => `Both use ${port}: give one of them another port before the second is started.`);
}
