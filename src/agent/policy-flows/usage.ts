/**
 * What each policy has decided, from the counters of the table. Readings are added up, so that the sums go on when an
 * entry goes or the table is made anew; what an entry counted between the last reading and its end is lost.
 */
import { type Amount, type FlowMetrics, policyLabel } from './metrics.ts';
import type { Clock } from '#lib/clock.ts';
import type { Counted, CountReader } from '#kernel/nftables/policy/counts.ts';
import { type PolicyProgram, POLICY_TABLE } from '#model/policy-program.ts';
import type { Direction } from '#model/policy.ts';

/** Readings are not closer together: large tables take a tenth of a second, though not of the loop. */
const FRESH_MS = 10_000;
const DENIED = /^denied(?:-(egress|ingress))? \d+$/;

export type UsageOptions = {
  readonly counts: Pick<CountReader, 'read'>;
  /** As it is in the kernel. */
  readonly program: () => PolicyProgram;
  readonly clock: Clock;
  readonly onError: (error: unknown) => void;
};

type Count = Counted['count'];

export class Usage {
  readonly #options: UsageOptions;
  #before = new Map<string, Count>();
  #readAtMs = -Infinity;
  #reading: Promise<void> | undefined;

  constructor(options: UsageOptions) {
    this.#options = options;
  }

  /** Brings the metrics up to date, unless they are nearly. */
  refresh(metrics: Pick<FlowMetrics, 'onDecided' | 'onDenied'>): Promise<void> {
    const { clock, onError } = this.#options;
    if (clock.monotonicMs() - this.#readAtMs < FRESH_MS && this.#reading === undefined)
      return Promise.resolve();
    this.#reading ??= this.#read(metrics)
      .catch(onError)
      .finally(() => {
        this.#reading = undefined;
        this.#readAtMs = clock.monotonicMs();
      });
    return this.#reading;
  }

  async #read(metrics: Pick<FlowMetrics, 'onDecided' | 'onDenied'>): Promise<void> {
    const now = new Map(
      (await this.#options.counts.read(POLICY_TABLE)).map(({ key, count }) => [key, count]),
    );
    const program = this.#options.program();
    for (const [key, count] of now) {
      const more = grown(this.#before.get(key), count);
      if (more.packets > 0) tell(metrics, program, key, more);
    }
    // What a reading leaves out, of what is still there, must not be taken for new when it comes back.
    for (const [key, count] of this.#before) if (!now.has(key) && isThere(program, key)) now.set(key, count);
    this.#before = now;
  }
}

/** A counter that is smaller has begun anew. */
function grown(before: Count | undefined, now: Count): Amount {
  const from = before === undefined || before.packets > now.packets ? { packets: 0n, bytes: 0n } : before;
  return { packets: Number(now.packets - from.packets), bytes: Number(now.bytes - from.bytes) };
}

function isThere({ entries, chains }: PolicyProgram, key: string): boolean {
  return entries.has(key) || chains.has(key.split(' ')[0] ?? '') || DENIED.test(key);
}

// eslint-disable-next-line max-params
function tell(
  metrics: Pick<FlowMetrics, 'onDecided' | 'onDenied'>,
  program: PolicyProgram,
  key: string,
  amount: Amount,
): void {
  const denied = DENIED.exec(key);
  if (denied !== null)
    return metrics.onDenied((denied[1] as Direction | undefined) ?? 'unknown', amount.packets);
  const reason = program.reasons.get(key);
  const verdict = verdictOf(program, key);
  if (reason === undefined || verdict === undefined) return;
  const policy = reason.step === undefined ? 'none' : policyLabel(reason.step);
  metrics.onDecided(
    { policy: reason.exempt ?? policy, action: verdict === 'deny' ? 'deny' : 'allow' },
    amount,
  );
}

/** Undefined: something else decides, a chain or a later rule of it. */
function verdictOf({ entries, chains }: PolicyProgram, key: string): string | undefined {
  const value = entries.get(key);
  if (value !== undefined) return chains.has(value) ? undefined : value;
  const [chain = '', index] = key.split(' ');
  return chains.get(chain)?.[Number(index)]?.verdict;
}
