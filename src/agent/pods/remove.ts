/**
 * CNI DEL, and what undoes a half-made ADD. The answer comes when nothing leads to the address any more (routes, host
 * ports, permitted sources, connections); the link itself goes in the background, and the address rests until then
 * and as long as its quarantine lasts.
 */
import { closeSync } from 'node:fs';
import type { Bench } from './attachments.ts';
import { sourceOf } from './attachments.ts';
import { type Caller, openNetnsFor } from './container.ts';
import type { ConntrackFilter } from '#kernel/kernel.ts';
import { type Attachment, attachmentId } from '#model/attachment.ts';
import { Fault } from '#model/fault.ts';
import { IFB_PREFIX, POD_LINK_PREFIX } from '#model/numbers.ts';
import { netnsInode } from '#kernel/netns.ts';
import { keyOf } from '#model/host.ts';
import { prefixAddress } from '#net/prefix.ts';
import { planRules } from '#wiring/pod.ts';

/** Idempotent. Everything about the attachment is withdrawn when this returns; links and the ledger entry follow. */
export async function removeAttachment(bench: Bench, attachment: Attachment, caller: Caller): Promise<void> {
  const id = attachmentId(attachment);
  bench.crash('del:begun');
  bench.ledger.put({ ...attachment, phase: 'deleting' });
  bench.crash('del:deleting');
  bench.host.setNow(sourceOf(attachment), undefined);
  withdrawRules(bench, attachment, caller);
  bench.crash('del:withdrawn');
  await bench.kernel.flushConntrack(staleConnections(attachment));
  if (attachment.delegatedIpam === undefined) bench.pools.release(id);
  bench.crash('del:released');
  void finish(bench, attachment);
}

/** All else in the pod goes with its link. A namespace that is gone, or another one by now, needs nothing. */
function withdrawRules(bench: Bench, attachment: Attachment, caller: Caller): void {
  const rules = planRules(attachment);
  if (rules.length === 0) return;
  try {
    const netns = openNetnsFor(caller, attachment.netns);
    try {
      if (Number(netnsInode(netns)) !== attachment.netnsInode) return;
      using inside = bench.kernel.within(netns);
      inside.apply(rules.map((was) => ({ op: 'remove', key: keyOf(was), was })));
    } finally {
      closeSync(netns);
    }
  } catch {
    // It is gone, and its rules with it.
  }
}

/** A UDP client of a host port would go on talking to a pod that is gone; so would one of the address itself. */
function staleConnections(attachment: Attachment): ConntrackFilter[] {
  return attachment.addresses.map((address) => ({ anyAddress: prefixAddress(address) }));
}

/** Waits until an attachment that is no longer ready is gone, link and entry. Throws Fault `kernel` if it cannot go. */
export async function awaitGone(bench: Bench, attachment: Attachment, caller: Caller): Promise<void> {
  const id = attachmentId(attachment);
  try {
    if (!bench.leaving.has(id)) await removeAttachment(bench, attachment, caller);
    await bench.leaving.get(id);
  } catch (error) {
    throw new Fault('kernel', `what was left of ${id} cannot be removed`, { cause: error });
  }
}

/** `before`: what must be done first. */
async function finish(bench: Bench, attachment: Attachment, before = Promise.resolve()): Promise<void> {
  const id = attachmentId(attachment);
  const gone = forget(bench, attachment, before);
  bench.leaving.set(id, gone);
  try {
    await gone;
  } catch {
    // The reaper has logged it. The entry stays `deleting`: the next ADD, GC or start tries again.
    return;
  } finally {
    if (bench.leaving.get(id) === gone) bench.leaving.delete(id);
  }
  const rest = bench.rest();
  if (rest !== undefined) await rest;
  bench.pools.settle(attachment.addresses);
}

async function forget(bench: Bench, attachment: Attachment, before: Promise<void>): Promise<void> {
  await before;
  await bench.reaper.reap(linksOf(attachment));
  bench.crash('del:reaped');
  bench.ledger.remove(attachment);
  bench.dismiss();
  bench.cluster.notePods();
  bench.crash('del:forgotten');
}

function linksOf(attachment: Attachment): string[] {
  if (!attachment.hostLink.startsWith(POD_LINK_PREFIX)) return [];
  const ifb = `${IFB_PREFIX}${attachment.hostLink.slice(POD_LINK_PREFIX.length)}`;
  return attachment.bandwidth?.egressRate === undefined ? [attachment.hostLink] : [attachment.hostLink, ifb];
}

/** After a restart: withdraws what an unfinished ADD or DEL may have left, known or not. */
export function undoAttachment(bench: Bench, attachment: Attachment): void {
  const id = attachmentId(attachment);
  bench.log.info({ attachment: id, phase: attachment.phase }, 'undoing what was cut short');
  const flushed = bench.kernel
    .flushConntrack(staleConnections(attachment))
    .catch((error: unknown) => bench.log.warn({ attachment: id, error: String(error) }, 'connections stay'));
  void finish(bench, attachment, flushed);
}
