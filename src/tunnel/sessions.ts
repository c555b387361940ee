/**
 * The sessions with one peer and when to make a new one: a machine without clock, socket or keys.
 *
 *   initiated   usable at once, both ways: the answer proves that the peer has it
 *   answered    only for receiving, until a datagram of it proves that the peer got the answer
 *
 * A session is followed by another before its time is over, and its key goes on receiving for as long again: what is under way
 * while keys change is never lost. Of the usable ones the youngest sends.
 */
import type { Established } from './handshakes.ts';

export type SessionTimes = {
  /** A session this old is followed by another (WireGuard: REKEY_AFTER_TIME). */
  readonly rekeyMs: number;
  /** The same for one that was not made with the newest secrets: the other side may not know them yet. */
  readonly staleMs: number;
  /** A session this old ends (REJECT_AFTER_TIME). */
  readonly rejectMs: number;
  /** First wait for an answer; doubled with each try up to `retryMaxMs`. */
  readonly retryMs: number;
  readonly retryMaxMs: number;
  /** A peer hears from this node at least so often. */
  readonly keepaliveMs: number;
  /** A peer that was not heard of for so long has perhaps forgotten the session: make another. */
  readonly silentMs: number;
};
export const SESSION_TIMES: SessionTimes = {
  rekeyMs: 120_000,
  staleMs: 10_000,
  rejectMs: 300_000,
  retryMs: 500,
  retryMaxMs: 5000,
  keepaliveMs: 10_000,
  silentMs: 25_000,
};

/** Beyond, AES-GCM’s margin shrinks (draft-irtf-cfrg-aead-limits): 2^28 datagrams of 1400 bytes leave 2^-60. */
export const REKEY_AFTER_DATAGRAMS = 2 ** 28;
/** The answering side waits longer, so that not both begin. */
const PATIENCE = 1.25;
/** More could only come from replayed initiations. */
const MOST_UNCONFIRMED = 4;
const MOST_CONFIRMED = 3;

/** A session sends once: taken up again, it would begin to count anew and seal twice with one nonce. */
export type Sending = 'not yet' | 'now' | 'over';

export type Session = Established & {
  readonly initiator: boolean;
  readonly bornAt: number;
  confirmed: boolean;
  sending: Sending;
};

/** How the session that sends is doing. */
export type Use = {
  /** Datagrams. */
  readonly sealed: number;
  /** Milliseconds since anything came. */
  readonly silentFor: number;
  /** Newer secrets are there than those that it was made with. */
  readonly isStale: boolean;
};

export type Attempt = { readonly tries: number; readonly nextAt: number };

export class PeerSessions {
  readonly #times: SessionTimes;
  /** The youngest first. */
  #sessions: Session[] = [];
  #attempt: Attempt | undefined;

  constructor(times: SessionTimes) {
    this.#times = times;
  }
  get all(): readonly Session[] {
    return this.#sessions;
  }
  /** The one that sends. */
  get current(): Session | undefined {
    return this.#sessions.find(({ confirmed, sending }) => confirmed && sending !== 'over');
  }
  /** The one that sends from here on, others never again. */
  use(): Session | undefined {
    const { current } = this;
    for (const session of this.#sessions) if (session.sending === 'now') session.sending = 'over';
    if (current !== undefined) current.sending = 'now';
    return current;
  }
  /** Instead of all that are there. */
  restore(sessions: readonly Session[]): void {
    this.#sessions = [...sessions];
  }
  find(local: number): Session | undefined {
    return this.#sessions.find((session) => session.local === local);
  }
  /** Takes a new session in; gives those that it pushes out. */
  add(made: Established, initiator: boolean, now: number): Session[] {
    this.#sessions.unshift({ ...made, initiator, bornAt: now, confirmed: initiator, sending: 'not yet' });
    if (initiator) this.#attempt = undefined;
    const confirmed = this.#sessions.filter((session) => session.confirmed).slice(MOST_CONFIRMED);
    const others = this.#sessions.filter((session) => !session.confirmed).slice(MOST_UNCONFIRMED);
    return this.#remove(new Set([...confirmed, ...others]));
  }
  /** A datagram of this session came. True when it is news, and the session may send from now on. */
  confirm(local: number): boolean {
    const session = this.find(local);
    if (session === undefined || session.confirmed) return false;
    session.confirmed = true;
    this.#attempt = undefined;
    return true;
  }
  #remove(which: ReadonlySet<Session>): Session[] {
    this.#sessions = this.#sessions.filter((session) => !which.has(session));
    return [...which];
  }
  /** Ends sessions that are too old, or that `isValid` no longer vouches for; gives them. */
  expire(now: number, isValid: (session: Session) => boolean): Session[] {
    const over = this.#sessions.filter(
      (session) => now - session.bornAt >= this.#times.rejectMs || !isValid(session),
    );
    return this.#remove(new Set(over));
  }
  /** Whether the session that sends should be followed by another. */
  isDue(now: number, { sealed, silentFor, isStale }: Use): boolean {
    const { current } = this;
    if (current === undefined) return true;
    const patience = current.initiator ? 1 : PATIENCE;
    const { rekeyMs, staleMs } = this.#times;
    return (
      now - current.bornAt >= (isStale ? Math.min(staleMs, rekeyMs) : rekeyMs) * patience ||
      sealed >= REKEY_AFTER_DATAGRAMS * patience ||
      silentFor >= this.#times.silentMs
    );
  }
  /**
   * The number of the try to make now, from 0; undefined while none is due or an answer is being waited for. `random` is from
   * 0 to 1: peers that lost each other do not come back in step.
   */
  attempt(now: number, random: number): number | undefined {
    if (this.#attempt !== undefined && now < this.#attempt.nextAt) return undefined;
    const tries = this.#attempt?.tries ?? 0;
    const wait = Math.min(this.#times.retryMaxMs, this.#times.retryMs * 2 ** Math.min(tries, 10));
    this.#attempt = { tries: tries + 1, nextAt: now + wait * (0.75 + random / 2) };
    return tries;
  }
  /** The next try is due now: somebody waits. One that is under way is left its time. */
  hurry(): void {
    if (this.#attempt?.tries === 0) this.#attempt = undefined;
  }
  /** The first try waits so long: the other side may begin meanwhile. */
  hold(until: number): void {
    this.#attempt ??= { tries: 0, nextAt: until };
  }
  /** All of them; nothing is left. */
  clear(): Session[] {
    return this.#remove(new Set(this.#sessions));
  }
}
