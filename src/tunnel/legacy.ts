/**
 * What a tunnel leaves to the process that follows it: who is where, sessions with their keys, and how far each has
 * counted. A counter goes on above every one that was used: none is ever sealed with twice, none is taken twice.
 */
import type { Counters } from './counters.ts';
import type { Established } from './handshakes.ts';
import type { ControlOptions, Link } from './link.ts';
import type { Paths } from './paths.ts';
import type { Sending, Session } from './sessions.ts';

export type SessionLegacy = {
  readonly made: Established;
  readonly initiator: boolean;
  readonly confirmed: boolean;
  readonly sending: Sending;
  readonly ageMs: number;
  /** The highest counter that came; −1: none did. */
  readonly highest: number;
};

export type LinkLegacy = {
  readonly peer: string;
  readonly endpoint: Uint8Array | undefined;
  /** Largest inner packet. */
  readonly mtu: number;
  /** Of the session that sends: no counter from here on was used. */
  readonly next: number;
  /** The youngest first. */
  readonly sessions: readonly SessionLegacy[];
};

/** Highest counter by this side's number of the session, as the receiver left them. */
export type Highest = ReadonlyMap<number, number>;

/** More than is ever on its way between a datagram's sealing and its being counted. */
const MARGIN = 4096;

/** After both threads have ended. */
export function legacyOf(link: Link, counters: Counters, highest: Highest, now: number): LinkLegacy {
  return {
    peer: link.peer.name,
    endpoint: link.endpoint,
    mtu: link.mtu,
    next: counters.get(link.slot + 1, 'sealed') + MARGIN,
    sessions: link.sessions.all.map(({ initiator, bornAt, confirmed, sending, ...made }) => ({
      made,
      initiator,
      confirmed,
      sending,
      ageMs: now - bornAt,
      highest: highest.get(made.local) ?? -1,
    })),
  };
}

/** A link that the threads know already goes on where its predecessor stopped. */
export function resume(
  link: Link,
  left: LinkLegacy,
  { now, counters, toSender, toReceiver }: ControlOptions,
  paths: Paths,
): void {
  const at = now();
  link.sessions.restore(
    left.sessions.map(({ made, initiator, confirmed, sending, ageMs }): Session => ({
      ...made,
      initiator,
      confirmed,
      sending,
      bornAt: at - ageMs,
    })),
  );
  if (left.endpoint !== undefined) paths.moveTo(link, left.endpoint, left.mtu);
  const { slot } = link;
  for (const { made, highest } of left.sessions)
    toReceiver({ kind: 'session', index: made.local, slot, key: made.keys.receive, highest });
  const { current } = link.sessions;
  if (current === undefined) return;
  // It may be left to another before anything is sent.
  counters.set(slot + 1, 'sealed', left.next);
  link.sealed = left.next;
  toSender({
    kind: 'session',
    slot,
    session: { index: current.remote, key: current.keys.send, counter: left.next },
  });
}
