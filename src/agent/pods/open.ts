/** What CNI requests are served with, of the parts of an agent; what a predecessor left is taken over at once. */
import type { Agent } from '../agent.ts';
import { armCrash } from '../crash.ts';
import type { AgentParts } from '../parts.ts';
import { restOf } from '../addresses/rest.ts';
import { Attachments } from './attachments.ts';
import type { Reaper } from './reaper.ts';

export function openAttachments(
  agent: Pick<
    Agent,
    'host' | 'cluster' | 'addresses' | 'policies' | 'policing' | 'kubernetes' | 'notReadyReasons'
  >,
  parts: AgentParts,
  reaper: Reaper,
): Attachments {
  const { settings, kernel, ledger, events, log } = parts;
  const attachments = new Attachments({
    settings,
    kernel,
    host: agent.host,
    cluster: agent.cluster,
    pools: agent.addresses.pools,
    ledger,
    reaper,
    events,
    log,
    notReady: () => agent.notReadyReasons(),
    rest: restOf(parts),
    known: (pod) => agent.kubernetes.awaitPod(pod, agent.policies),
    admit: () => agent.policing.podListener?.admit(),
    dismiss: () => agent.policing.podListener?.dismiss(),
    crash: armCrash(process.env['TARTAN_KILL_AT']),
  });
  attachments.recover();
  return attachments;
}
