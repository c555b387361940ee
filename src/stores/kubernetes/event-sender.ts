/**
 * An agent's or a controller's warnings and errors as Events of Kubernetes, about the node or the pod that they name. The same again is one
 * more of it; there are never more than a few writes a minute, and what waits too long behind others is dropped:
 * the log and `tartan status` have it all.
 */
import type { Event } from '#lib/log.ts';
import { fnv1a64 } from '#lib/hash.ts';
import type { Clock } from '#lib/clock.ts';
import { startReconciler } from '#lib/reconciler.ts';
import type { EventApi, EventSubject, KubernetesEvent } from './node-object.ts';

export type EventSenderOptions = {
  readonly api: EventApi;
  /** Of what names nobody; of the whole cluster, not of a namespace. */
  readonly subject: EventSubject;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  readonly onError: (error: unknown) => void;
};

/** Writes at once, and then one each so often. */
const BURST = 10;
const EACH_MS = 6000;
/** So many different ones are remembered, for their counts. */
const REMEMBERED = 100;
/** The namespace of events about what has none. */
const CLUSTER_NAMESPACE = 'default';

export type EventSender = { readonly note: (event: Event) => void; readonly stopped: Promise<void> };

export function startEventSender(options: EventSenderOptions): EventSender {
  const { clock, signal, onError } = options;
  const known = new Map<string, KubernetesEvent>();
  const due = new Set<string>();
  let tokens = BURST;
  let filledAtMs = clock.monotonicMs();

  const take = async (): Promise<void> => {
    for (;;) {
      const gained = Math.floor((clock.monotonicMs() - filledAtMs) / EACH_MS);
      tokens = Math.min(BURST, tokens + gained);
      filledAtMs += gained * EACH_MS;
      if (tokens > 0 || signal.aborted) break;
      await clock.sleep(EACH_MS, signal);
    }
    tokens -= 1;
  };
  const pass = async (): Promise<'ok'> => {
    for (let [name] = due; name !== undefined && !signal.aborted; [name] = due) {
      await take();
      const event = known.get(name);
      due.delete(name);
      try {
        if (event !== undefined && !signal.aborted) await options.api.sendEvent(event);
      } catch (error) {
        due.add(name);
        throw error;
      }
    }
    return 'ok';
  };
  const loop = startReconciler({ clock, signal, resyncMs: 3_600_000, pass, onError });
  const since = clock.nowMs();
  return {
    stopped: loop.stopped,
    note: (event) => {
      if (event.severity === 'info') return;
      const made = eventOf(event, options.subject, since);
      const before = known.get(made.name);
      known.delete(made.name);
      known.set(made.name, before === undefined ? made : oneMore(before, made));
      due.add(made.name);
      const [oldest] = known.keys();
      if (known.size > REMEMBERED && oldest !== undefined) {
        known.delete(oldest);
        due.delete(oldest);
      }
      loop.nudge();
    },
  };
}

function oneMore(before: KubernetesEvent, { lastTimestamp }: KubernetesEvent): KubernetesEvent {
  return { ...before, count: before.count + 1, lastTimestamp };
}

/** Longer messages are refused by the API server. */
const MESSAGE_BYTES = 1000;

/** As kubelets name it, and `kubectl describe node` looks for it. */
export function nodeSubject(name: string): EventSubject {
  return { kind: 'Node', name, uid: name };
}

/** `since`: each process counts for itself. */
function eventOf(
  { time, severity, text, pod, aboutNode }: Event,
  subject: EventSubject,
  since: number,
): KubernetesEvent {
  const node = aboutNode === undefined ? subject : nodeSubject(aboutNode);
  const about = pod === undefined ? node : { kind: 'Pod', ...pod };
  const hash = fnv1a64(`${since} ${about.kind} ${text}`).toString(16).padStart(16, '0');
  const stamp = `${time.slice(0, 19)}Z`;
  return {
    namespace: pod?.namespace ?? CLUSTER_NAMESPACE,
    name: `${about.name}.${hash}`,
    about,
    type: 'Warning',
    reason: severity === 'error' ? 'TartanError' : 'TartanWarning',
    message: text.length > MESSAGE_BYTES ? `${text.slice(0, MESSAGE_BYTES)}…` : text,
    count: 1,
    firstTimestamp: stamp,
    lastTimestamp: stamp,
  };
}
