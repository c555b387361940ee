/** CNI CHECK: is what was made for an attachment still there, in both namespaces? */
import type { Attachment } from '#model/attachment.ts';
import type { Problem } from '#model/fault.ts';
import { type HostState, type Item, keyOf, satisfies } from '#model/host.ts';
import { MAIN_TABLE } from '#model/numbers.ts';
import type { Prefix } from '#net/prefix.ts';
import { planPod, podRoutes, type WiringContext } from './pod.ts';

export type Seen = {
  readonly host: HostState;
  readonly container: HostState;
  /** Destinations of prevResult: a route that is not among them was taken away on purpose, as Multus does. */
  readonly routes: readonly Prefix[];
};

/**
 * Everything that is missing or different. Plugins that came later in the chain may have added to it, and changed MTUs
 * (CNI spec, "CHECK"): that is no problem.
 */
export function checkAttachment(attachment: Attachment, context: WiringContext, seen: Seen): Problem[] {
  const plan = planPod(attachment, context);
  const givenUp = new Set(podRoutes(attachment).map((route) => route.prefix));
  for (const kept of seen.routes) givenUp.delete(kept);
  const pod = plan.container
    .filter((item) => item.kind !== 'route' || item.table !== MAIN_TABLE || !givenUp.has(item.prefix))
    .map((item) =>
      item.kind === 'link' && item.name === attachment.ifname ? { ...item, mac: attachment.mac } : item,
    );
  return [
    ...plan.host.flatMap((item) => checkItem('host', item, seen.host)),
    ...pod.flatMap((item) => checkItem('container', item, seen.container)),
  ];
}

function checkItem(where: string, item: Item, state: HostState): Problem[] {
  const key = keyOf(item);
  const path = `${where}: ${key}`;
  const found = state.get(key);
  if (found === undefined) return [{ path, message: 'is missing' }];
  const wanted = tolerant(item);
  if (satisfies(found, wanted)) return [];
  return [{ path, message: `is ${JSON.stringify(found)}, expected ${JSON.stringify(wanted)}` }];
}

function tolerant(item: Item): Item {
  if (item.kind === 'link') return { ...item, mtu: undefined } as unknown as Item;
  if (item.kind === 'route') return { ...item, mtu: undefined, advmss: undefined } as unknown as Item;
  return item;
}
