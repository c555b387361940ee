/**
 * Many first packets at once: each carries a token of its own and is looked for where it is meant to arrive. Those that are
 * to arrive are waited for and sent again; those that are not are remembered for as long as the wire is open.
 */
import { randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Flow } from '#model/verdict.ts';
import { addressBytes, type Family } from '#net/address.ts';
import { PATIENCE } from '../namespace.ts';
import { firstPacket } from '../policy-wire.ts';
import type { LabWire, Place } from './wire.ts';

export type Probe = {
  readonly name: string;
  readonly from: Place;
  readonly to: Place;
  readonly traffic: string;
  readonly family: Family;
  readonly expected: 'allow' | 'deny';
  readonly flow: Flow;
  /** One packet of a connection that has others. */
  readonly keepsPorts: boolean;
  /** Policies judge it by itself: no packet of its connection was allowed before. */
  readonly isFirst: boolean;
};

export type Shots = {
  /** What was otherwise than expected. */
  fire(probes: readonly Probe[]): Promise<string[]>;
  /** Throws when something denied came late. */
  settle(): void;
  readonly counts: ReadonlyMap<string, number>;
};

const TOKEN = 8;
const TCP = 6;
const AGAIN_MS = 400;
const LONGEST_MS = 6_000;
/** How long what must not arrive is waited for, at least; the rest of the run goes on looking. */
const GRACE_MS = 8;
const AT_ONCE = 48;

type Shot = { readonly probe: Probe; token: string; answer: string };

export function openShots(wire: LabWire): Shots {
  const arrived = new Map<string, Set<Place['station']>>();
  const answers = new Set<string>();
  const denied = new Map<string, Probe>();
  const counts = new Map<string, number>();
  const drain = (): void => {
    for (const station of new Set(wire.places().map((place) => place.station))) {
      for (const packet of station.take()) {
        const token = tokenOf(packet);
        arrived.set(token, (arrived.get(token) ?? new Set()).add(station));
        const answer = answerOf(packet);
        if (answer !== undefined) answers.add(answer);
      }
    }
  };
  const send = (probe: Probe): Shot => {
    const token = randomBytes(TOKEN);
    const hex = token.toString('hex');
    const { flow } = probe;
    if (probe.expected === 'deny') denied.set(hex, probe);
    try {
      probe.from.station.send(firstPacket(flow, token));
    } catch (error) {
      // What the output hook drops is told to its sender.
      if ((error as { code?: string }).code !== 'EPERM') throw error;
    }
    return { probe, token: hex, answer: keyOf(flow) };
  };
  const hasArrived = ({ probe, token, answer }: Shot): boolean =>
    arrived.get(token)?.has(probe.to.station) === true && (!isAnswered(probe) || answers.has(answer));
  /** Each is told once. */
  const intruders = (): string[] =>
    [...denied].flatMap(([token, { name, to }]) =>
      arrived.get(token)?.has(to.station) === true && denied.delete(token) ? [`${name}: arrived`] : [],
    );
  /** A change of policies is in force before what it denies is cut, so this may take a moment. */
  const awaitCut = async (probe: Probe): Promise<string[]> => {
    const end = Date.now() + LONGEST_MS * PATIENCE;
    for (;;) {
      const { token } = send(probe);
      denied.delete(token);
      await sleep(GRACE_MS);
      drain();
      if (arrived.get(token)?.has(probe.to.station) !== true) return [];
      if (Date.now() > end) return [`${probe.name}: goes on`];
      await sleep(AGAIN_MS / 10);
    }
  };

  const fireSome = async (probes: readonly Probe[]): Promise<string[]> => {
    let missing = probes.map(send).filter(({ probe }) => probe.expected === 'allow');
    const end = Date.now() + LONGEST_MS * PATIENCE;
    let again = Date.now() + AGAIN_MS;
    for (;;) {
      drain();
      missing = missing.filter((shot) => !hasArrived(shot));
      if (missing.length === 0 || Date.now() > end) break;
      await sleep(2);
      if (Date.now() < again) continue;
      again = Date.now() + AGAIN_MS;
      missing = missing.map(({ probe }) => send(probe.keepsPorts ? probe : withOtherPort(probe)));
    }
    return missing.map(({ probe, token }) => `${probe.name}: ${arrived.has(token) ? 'no answer' : 'lost'}`);
  };
  return {
    counts,
    fire: async (probes) => {
      const isCut = ({ keepsPorts, expected }: Probe): boolean => keepsPorts && expected === 'deny';
      const lost: string[] = [];
      for (const probe of probes.filter(isCut)) lost.push(...(await awaitCut(probe)));
      // Replies when there is something to reply to.
      for (const isFirst of [true, false]) {
        const some = probes.filter((probe) => probe.isFirst === isFirst && !isCut(probe));
        for (let at = 0; at < some.length; at += AT_ONCE)
          lost.push(...(await fireSome(some.slice(at, at + AT_ONCE))));
      }
      await sleep(GRACE_MS);
      drain();
      for (const { traffic, family, expected } of probes) {
        const kind = `${traffic.split('/')[0]} IPv${family} ${expected}`;
        counts.set(kind, (counts.get(kind) ?? 0) + 1);
      }
      return [...lost, ...intruders()];
    },
    settle: () => {
      drain();
      const late = intruders();
      if (late.length > 0) throw new Error(`denied, and came late: ${late.join('; ')}`);
    },
  };
}

/** A pod's kernel answers each TCP packet, be it with a reset: the answer has to pass too. */
function isAnswered({ from, to, flow, isFirst }: Probe): boolean {
  return isFirst && flow.protocol === TCP && to.kind === 'pod' && from.kind !== 'node';
}

function withOtherPort(probe: Probe): Probe {
  const { sourcePort } = probe.flow;
  if (sourcePort === undefined) return probe;
  return { ...probe, flow: { ...probe.flow, sourcePort: 60_000 + (sourcePort % 5_000) } };
}

const tokenOf = (packet: Buffer): string => packet.subarray(-TOKEN).toString('hex');

function keyOf({ source, destination, sourcePort = 0, destinationPort = 0 }: Flow): string {
  const ends = [source, destination].map((each) => Buffer.from(addressBytes(each)).toString('hex'));
  return [...ends, sourcePort, destinationPort].join(' ');
}

/** The key of the TCP flow that the packet answers. */
function answerOf(packet: Buffer): string | undefined {
  const six = (packet[0] ?? 0) >> 4 === 6;
  const [protocolAt, addressAt, size, head] = six ? [6, 8, 16, 40] : [9, 12, 4, ((packet[0] ?? 0) & 15) * 4];
  if (packet[protocolAt] !== TCP || packet.length < head + 4) return undefined;
  const [source, destination] = [addressAt, addressAt + size].map((at) =>
    packet.subarray(at, at + size).toString('hex'),
  );
  return [destination, source, packet.readUInt16BE(head + 2), packet.readUInt16BE(head)].join(' ');
}
