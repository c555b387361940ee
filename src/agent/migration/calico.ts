/**
 * Calico's living pods of this node as ours. Its wiring is ours but for names: a link of their own, the same MAC on its end, the
 * next hop 169.254.1.1 that the host answers for. So links are renamed and stay; routes of ours come beside Calico's.
 */
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { findDaemon, gatherPods } from './gather.ts';
import { renameLink } from '#kernel/take-over.ts';
import type { MigrationReport } from '#migration/report.ts';
import { Fault } from '#model/fault.ts';
import type { Reservation } from '#model/provider.ts';
import type { Settings } from '#model/settings.ts';
import { openLedger } from '#stores/ledger.ts';

/** Felix's process, alone or as a part of the node's container. */
const DAEMONS = ['calico-node', 'calico', 'calico-felix'];

/** Throws Fault `no-root`. Nothing is changed where something stands against it. */
export function adoptCalicoPods(
  settings: Settings,
  pods: readonly Reservation[],
  { trial }: { readonly trial: boolean },
): Pick<MigrationReport, 'steps' | 'problems' | 'notes' | 'isDone'> {
  if (process.geteuid?.() !== 0) throw new Fault('no-root', 'pods are taken over by root');
  mkdirSync(settings.paths.run, { recursive: true, mode: 0o700 });
  const ledger = openLedger(join(settings.paths.run, 'attachments.journal'));
  try {
    const addresses = new Set(pods.map(({ address }) => address));
    const isPods = addresses.has.bind(addresses);
    const plan = gatherPods({ settings, ledger, reservations: pods, wiring: 'routed', isPods });
    const running = DAEMONS.flatMap((name) => findDaemon(name) ?? []).map((pid) => ({
      path: `calico-node (process ${pid})`,
      message: 'runs on this node: stop it for good first; pods go on without it',
    }));
    const problems = [...running, ...plan.problems];
    const isDone = !trial && problems.length === 0;
    if (isDone) {
      for (const { attachment } of plan.adopted) ledger.put(attachment);
      for (const { link } of plan.adopted) renameLink(link);
    }
    const steps = plan.adopted.map(
      ({ attachment, link }) =>
        `adopt ${attachment.addresses.join(' ')} of ${attachment.containerId}: ${link.from} becomes ${link.to}`,
    );
    return { steps, problems, notes: plan.notes, isDone };
  } finally {
    ledger.close();
  }
}
