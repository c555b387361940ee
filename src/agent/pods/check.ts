/** CNI CHECK: what ADD made is still there, on both sides. Additions by others are none of our business. */
import { closeSync } from 'node:fs';
import type { Bench, Call } from './attachments.ts';
import { sourceOf } from './attachments.ts';
import { contextOf } from './plan.ts';
import { netnsOf } from './container.ts';
import { delegateRest } from './delegated.ts';
import type { CheckRequest } from '#cni/request.ts';
import type { Interest } from '#kernel/kernel.ts';
import { netnsInode } from '#kernel/netns.ts';
import { lookAtLinks, lookAtRoutes } from '#kernel/take-over.ts';
import { attachmentId } from '#model/attachment.ts';
import { Fault, type Problem } from '#model/fault.ts';
import { type Item, type ItemKey, keyOf } from '#model/host.ts';
import { MAIN_TABLE } from '#model/numbers.ts';
import { checkAttachment } from '#wiring/check.ts';
import { planPod } from '#wiring/pod.ts';

/** Throws Fault `attachment-broken` with everything that is missing or different. */
export async function checkAttached(bench: Bench, request: CheckRequest, call: Call): Promise<void> {
  const attachment = bench.ledger.get(request.key);
  if (attachment?.phase !== 'ready') {
    throw new Fault('attachment-broken', `${attachmentId(request.key)} is not attached by this node`);
  }
  const context = contextOf(bench.settings);
  const { host, container } = planPod(attachment, context);
  const seenHost = bench.kernel.observe(interestOf(host));
  const problems: Problem[] = [];
  const netns = netnsOf(request.netns, call);
  try {
    if (Number(netnsInode(netns)) !== attachment.netnsInode) {
      problems.push({ path: 'CNI_NETNS', message: 'is not the namespace that ADD was given' });
    }
    using inside = bench.kernel.within(netns);
    const routes = request.prevResult.routes.map(({ dst }) => dst);
    const inPod = inside.observe(interestOf(container));
    if (attachment.adopted === true) addUnmarked(inPod, container, netns);
    const seen = { host: seenHost, container: inPod, routes };
    problems.push(...checkAttachment(attachment, context, seen));
  } finally {
    closeSync(netns);
  }
  if (problems.length > 0) {
    throw new Fault(
      'attachment-broken',
      `${attachmentId(request.key)} is not as ADD left it (${sourceOf(attachment)})`,
      {
        problems,
      },
    );
  }
  await delegateRest(request, call);
}

/**
 * Addresses and routes that another provider put into the pod, and the rest as if it were as ours: how that one kept
 * neighbours and sysctls is not ours to judge.
 */
function addUnmarked(seen: Map<ItemKey, Item>, wanted: readonly Item[], netns: number): void {
  const rest = wanted.filter(({ kind }) => kind !== 'address' && kind !== 'route' && kind !== 'link');
  const addresses = lookAtLinks(netns).flatMap(({ name, addresses: held }) =>
    held.map((address): Item => ({ kind: 'address', link: name, address, nodad: true })),
  );
  const routes = lookAtRoutes(netns).map(({ prefix, metric, link, via }): Item => {
    const route = { kind: 'route', type: 'unicast', prefix, table: MAIN_TABLE, metric, link } as const;
    return via === undefined ? route : { ...route, via };
  });
  for (const item of [...rest, ...addresses, ...routes])
    if (!seen.has(keyOf(item))) seen.set(keyOf(item), item);
}

/** What to look at for these items: their sysctls, and links that only stand in them. */
function interestOf(items: readonly Item[]): Interest {
  const sysctls = items.flatMap((item) => (item.kind === 'sysctl' ? [item.key] : []));
  const foreignLinks = items.flatMap((item) =>
    item.kind === 'link' && item.type === 'foreign' ? [item.name] : [],
  );
  return { sysctls, foreignLinks };
}
