/** CNI ADD: addresses, ledger, veth pair, container, host, ledger, answer; each step undone when a later one fails. */
import { closeSync } from 'node:fs';
import type { Bench, Call } from './attachments.ts';
import { sourceOf } from './attachments.ts';
import { delegateAdd, undoDelegate } from './delegated.ts';
import { netnsOf } from './container.ts';
import { chainedKey, contextOf, type Given, newAttachment, planAttachment } from './plan.ts';
import { awaitGone, removeAttachment } from './remove.ts';
import type { OwnIpam } from '#cni/config.ts';
import { type AddRequest, configHash } from '#cni/request.ts';
import type { CniResult } from '#model/cni-result.ts';
import type { Failure, Kernel } from '#kernel/kernel.ts';
import { netnsInode } from '#kernel/netns.ts';
import { type Attachment, attachmentId } from '#model/attachment.ts';
import { type Item, keyOf } from '#model/host.ts';
import { Fault } from '#model/fault.ts';
import type { InterfaceAddress } from '#net/prefix.ts';
import { findHostPortConflicts } from '#wiring/host-ports.ts';
import { toResult } from '#wiring/result.ts';

export async function addAttachment(bench: Bench, request: AddRequest, call: Call): Promise<CniResult> {
  await using undo = new AsyncDisposableStack();
  bench.crash('add:begun');
  const netns = netnsOf(request.netns, call);
  undo.defer(async () => closeSync(netns));
  const inode = Number(netnsInode(netns));
  const key = request.prevResult === undefined ? request.key : chainedKey(request.key);
  const existing = bench.ledger.get(key);
  if (existing?.phase === 'ready')
    return answerAgain(bench, existing, { inode, hash: configHash(request.raw) });
  if (existing !== undefined) await awaitGone(bench, existing, call);

  if (request.pod !== undefined) await bench.known(request.pod);
  // From here on everything that is done is undone unless the end is reached.
  await using rollback = new AsyncDisposableStack();
  const given = await takeAddresses(bench, request, { call, rollback });
  bench.crash('add:allocated');
  const attachment = newAttachment(bench, request, { given, inode });
  refuseTakenPorts(bench, attachment);
  await bench.reaper.settled(attachment.hostLink);
  bench.ledger.put(attachment);
  rollback.defer(() => undoAdd(bench, attachment, call));
  bench.crash('add:planned');
  bench.admit();
  bench.cluster.notePods();
  apply(bench, attachment, netns);
  const result = resultOf(bench, request, { attachment, given });
  bench.ledger.put({ ...attachment, phase: 'ready', result });
  bench.crash('add:ready');
  rollback.move();
  return result;
}

/** The first error is the answer. What could not be undone stands in the ledger: the next start tries again. */
async function undoAdd(bench: Bench, attachment: Attachment, call: Call): Promise<void> {
  try {
    await removeAttachment(bench, attachment, call);
  } catch (error) {
    bench.log.error(
      { attachment: attachmentId(attachment), error: String(error) },
      'a failed ADD was not undone',
    );
  }
}

/** A live attachment is answered as it was, if nothing about it changed; otherwise ADD is an error (CNI spec, ADD). */
function answerAgain(bench: Bench, existing: Attachment, now: { inode: number; hash: string }): CniResult {
  const id = attachmentId(existing);
  const same = existing.netnsInode === now.inode && existing.configHash === now.hash;
  if (!same)
    throw new Fault(
      'attachment-exists',
      `${id} is attached already, with another namespace or configuration`,
    );
  const missing = [...(bench.host.itemsOf(sourceOf(existing))?.keys() ?? [])].filter(
    (key) => !bench.host.seen.has(key),
  );
  if (missing.length > 0) {
    const problems = missing.map((key) => ({ path: key, message: 'is gone from the kernel' }));
    throw new Fault('attachment-broken', `${id} is attached already but not intact`, { problems });
  }
  return existing.result as CniResult;
}

/** A later plugin of a chain passes on what it was given; otherwise the answer describes what was made. */
function resultOf(
  bench: Bench,
  request: AddRequest,
  made: { attachment: Attachment; given: Given },
): CniResult {
  const { prevResult, wish } = request;
  if (prevResult !== undefined)
    return Object.keys(wish.dns).length === 0 ? prevResult : { ...prevResult, dns: wish.dns };
  // The configuration's own dns stands before the IPAM plugin's as a whole, as in the reference.
  const dns = Object.keys(wish.dns).length > 0 ? wish.dns : made.given.delegated?.dns;
  return toResult(made.attachment, contextOf(bench.settings), dns);
}

function refuseTakenPorts(bench: Bench, attachment: Attachment): void {
  if (attachment.portMappings.length === 0) return;
  const others = bench.ledger.list().filter((other) => other.phase !== 'deleting');
  const problems = findHostPortConflicts(attachment, others);
  if (problems.length > 0) throw new Fault('hostport-taken', 'host ports are taken', { problems });
}

/** A chain may have made other interfaces too: what leads to the pod leads to the one that is asked for. */
function addressesOf({ interfaces, ips }: CniResult, ifname: string): InterfaceAddress[] {
  const isOurs = (index: number | undefined): boolean => {
    const owner = index === undefined ? undefined : interfaces[index];
    return owner === undefined || (owner.name === ifname && (owner.sandbox ?? '') !== '');
  };
  return ips.filter((ip) => isOurs(ip.interface)).map((ip) => ip.address);
}

async function takeAddresses(
  bench: Bench,
  request: AddRequest,
  means: { call: Call; rollback: AsyncDisposableStack },
): Promise<Given> {
  if (request.prevResult !== undefined) {
    return { addresses: addressesOf(request.prevResult, request.key.ifname), gateways: [] };
  }
  const { ipam } = request.wish;
  if (ipam.type === 'own') return allocate(bench, request, ipam);
  means.rollback.defer(() => undoDelegate(ipam.plugin, means.call));
  const delegated = await delegateAdd(ipam.plugin, means.call, request.version);
  return {
    addresses: delegated.ips.map((ip) => ip.address),
    gateways: delegated.ips.flatMap((ip) => (ip.gateway === undefined ? [] : [ip.gateway])),
    delegated,
  };
}

/** An address may be out of reach only because the link of its last owner is still being deleted: that is waited for. */
async function allocate(bench: Bench, request: AddRequest, { ranges, pools }: OwnIpam): Promise<Given> {
  const { key, wish, pod } = request;
  const what = { wanted: wish.addresses, sets: ranges, pools, ...(pod === undefined ? {} : { pod }) };
  const take = async (): Promise<Given> => bench.pools.allocate(attachmentId(key), what);
  try {
    return await take();
  } catch (error) {
    if (bench.leaving.size === 0) throw error;
    await Promise.allSettled(bench.leaving.values());
    return take();
  }
}

/** Makes the pair and applies both sides. Throws Fault with every step that failed. */
function apply(bench: Bench, attachment: Attachment, netns: number): void {
  const legacyPods = bench.cluster.self?.legacyPods;
  const { pair, host, container } = planAttachment(attachment, bench.settings, legacyPods);
  if (pair !== undefined) {
    bench.kernel.createPair({ ...pair, netns });
    const { hostName, hostMac, mtu } = pair;
    bench.host.noteSeen([{ kind: 'link', type: 'veth', name: hostName, mac: hostMac, mtu }]);
    bench.crash('add:pair-made');
    using inside = bench.kernel.within(netns);
    refuseFailures(attachment, applyAll(inside, container));
  }
  bench.crash('add:container-set');
  refuseFailures(attachment, bench.host.setNow(sourceOf(attachment), host));
  bench.crash('add:host-set');
}

function applyAll(kernel: Kernel, items: readonly Item[]): Failure[] {
  return kernel.apply(items.map((item) => ({ op: 'add', key: keyOf(item), item })));
}

function refuseFailures(attachment: Attachment, failures: readonly Failure[]): void {
  if (failures.length === 0) return;
  const problems = failures.map(({ step, code, message }) => ({
    path: step.key,
    message: `${code}: ${message}`,
  }));
  throw new Fault('kernel', `${attachmentId(attachment)} cannot be attached`, { problems });
}
