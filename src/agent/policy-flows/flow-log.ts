/**
 * The node's log of flows: what rules tell of packets becomes events, kept and handed to whoever follows. It never
 * matters to what passes: without it everything is denied and allowed just the same.
 *
 *     kernel ─ readLog ─▶ Describer (who, which rule) ─▶ Gatherer (same within a second) ─▶ Tail ─▶ readers
 *                                                                                     └─▶ metrics
 */
import type { Events, Logger } from '#lib/log.ts';
import { Describer, type FlowSources } from './describe.ts';
import { Gatherer } from './gather.ts';
import type { FlowMetrics } from './metrics.ts';
import { Tail } from './tail.ts';
import { type FlowQuery, KEPT_FLOWS } from '#api/flows.ts';
import { backoffMs } from '#lib/backoff.ts';
import type { Clock } from '#lib/clock.ts';
import { type LogOptions, whyNoLog } from '#kernel/nflog.ts';
import type { FlowLine } from '#model/flow-event.ts';
import { parseLogPrefix } from '#model/policy-log.ts';
import { POLICY_LOG_GROUP } from '#model/policy-program.ts';

const RETRY = { firstMs: 1_000, maxMs: 60_000 };

export type FlowLogOptions = FlowSources & {
  readonly readLog: (options: LogOptions) => Disposable;
  readonly metrics: Pick<FlowMetrics, 'onEvent' | 'onLost'>;
  readonly clock: Clock;
  readonly log: Logger;
  readonly events: Events;
  /** Aborts: nothing is read any more, and all readers come to their end. */
  readonly signal: AbortSignal;
};

export type FlowLog = {
  /** Until the signal aborts, or with what has been when the query does not follow. */
  readonly lines: (query: FlowQuery, signal: AbortSignal) => AsyncIterable<FlowLine>;
  /** Why nothing is told; undefined while all is well. */
  readonly problem: () => string | undefined;
};

export function createFlowLog(options: FlowLogOptions): FlowLog {
  const { metrics, clock, log } = options;
  const tail = new Tail(KEPT_FLOWS);
  const describer = new Describer(options);
  const onLost = (packets: number): void => {
    metrics.onLost(packets);
    tail.lose(packets);
  };
  const gatherer = new Gatherer({
    clock,
    signal: options.signal,
    describe: (packet, mark) => describer.describe(packet, mark),
    onEvent: (event) => {
      metrics.onEvent(event);
      tail.push(event);
    },
    onLost,
  });
  let problem: string | undefined;
  void keepReading(options, {
    onPacket: (packet) => {
      const mark = parseLogPrefix(packet.prefix);
      try {
        if (mark !== undefined) gatherer.add(packet, mark);
      } catch (error) {
        log.error({ err: error, flow: packet.flow }, 'a denied packet cannot be told of');
        onLost(1);
      }
    },
    onLost,
    onProblem: (text) => (problem = text),
  });
  return {
    problem: () => problem,
    async *lines({ follow, last, filter }, signal) {
      if (problem !== undefined) yield { problem };
      if (follow) yield* tail.follow(filter, last, AbortSignal.any([signal, options.signal]));
      else for (const event of tail.last(last, filter)) yield { event };
    },
  };
}

type Sink = Pick<LogOptions, 'onPacket' | 'onLost'> & { onProblem(text: string | undefined): void };

async function keepReading({ readLog, clock, events, signal }: FlowLogOptions, sink: Sink): Promise<void> {
  let told: string | undefined;
  for (let attempt = 0; !signal.aborted; attempt += 1) {
    const ended = Promise.withResolvers<void>();
    const stop = (): void => ended.resolve();
    try {
      using _reader = readLog({ ...sink, group: POLICY_LOG_GROUP, onEnd: stop });
      signal.addEventListener('abort', stop);
      sink.onProblem(undefined);
      told = undefined;
      attempt = 0;
      await ended.promise;
    } catch (error) {
      const why = whyNoLog(error, POLICY_LOG_GROUP);
      sink.onProblem(why);
      if (why !== told) events.add('warning', `nothing is told of denied packets: ${why}`);
      told = why;
    }
    signal.removeEventListener('abort', stop);
    await clock.sleep(backoffMs(RETRY, attempt, Math.random()), signal);
  }
}
