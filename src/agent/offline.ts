/**
 * What can be done on a host whose agent is away: its facts for `tartan doctor`, and `uninstall --purge`. Both go by what
 * the kernel, the node's files and the store say, so they may be repeated and begun again at any point.
 */
import { existsSync, readdirSync, rmdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bootId } from './boot.ts';
import { gatherFacts, type Scene } from './host/facts.ts';
import { nodeApiOf } from './kubernetes/node-api.ts';
import { leaveNode } from './kubernetes/own-node.ts';
import { findDaemon } from './migration/gather.ts';
import { liveNamespaces } from './pods/leaks.ts';
import { readNodeFile } from './node-file.ts';
import { leaveRouting } from './routing/leave.ts';
import { removePolicyTables } from './policy/tables.ts';
import { SysctlMemory } from './host/sysctl-memory.ts';
import { endTunnel } from './roads/tunnel-road.ts';
import { selectInterface } from '#backends/interface.ts';
import { podMtu } from '#backends/node-plan.ts';
import { blockProblem, dropNode, nodesOf } from '#ipam/blocks/block.ts';
import { requiredFamilies } from '#backends/ways.ts';
import { hasOwnView, pathInView } from '#kernel/foreign-root.ts';
import { type Kernel } from '#kernel/kernel.ts';
import { openKernel } from '#kernel/linux.ts';
import { readSysctl } from '#kernel/sysctl.ts';
import { systemClock } from '#lib/clock.ts';
import type { Attachment } from '#model/attachment.ts';
import type { Block } from '#model/block.ts';
import { diff } from '#model/diff.ts';
import type { HostFacts } from '#model/facts.ts';
import { Fault, toFault } from '#model/fault.ts';
import type { HostState, Item } from '#model/host.ts';
import { IFB_PREFIX, POD_LINK_PREFIX } from '#model/numbers.ts';
import type { Settings } from '#model/settings.ts';
import { showItem } from '#model/show.ts';
import type { SubnetClaim } from '#model/world.ts';
import { openLedger } from '#stores/ledger.ts';
import { openStore } from '#stores/open.ts';
import type { Store } from '#stores/store.ts';

const NOTHING = { sysctls: [], foreignLinks: [] };
/** Number of the first process, where processes are the host's (hostPID). */
const HOST = 1;

export type Purged = { readonly removed: string[]; readonly failed: string[] };

/** Throws Fault `no-root`: netfilter is shown to root only. */
export function lookAtHost(settings: Settings): HostFacts {
  if (process.geteuid?.() !== 0)
    throw new Fault('no-root', 'without an agent, the host is looked at directly, which needs root');
  using kernel = openKernel();
  const underlay = kernel.underlay();
  const place: Pick<Scene, 'choice' | 'underlayProblem' | 'podMtu'> = findPlace(settings, kernel);
  return gatherFacts({
    settings,
    underlay,
    ...place,
    items: kernel.observe(NOTHING),
    failures: new Map(),
    filterChains: kernel.filterChains(),
  });
}

function findPlace(settings: Settings, kernel: Kernel): Pick<Scene, 'choice' | 'underlayProblem' | 'podMtu'> {
  try {
    const underlay = selectInterface(settings.underlay, kernel.underlay(), requiredFamilies({ settings }));
    const subnets = readNodeFile(settings.paths.state);
    return { choice: underlay, podMtu: podMtu({ name: settings.node.name, subnets, underlay, settings }) };
  } catch (error) {
    return { underlayProblem: toFault(error).message };
  }
}

/**
 * Takes what is ours out of the kernel, writes sysctls back (unless flannel has the node again), and takes the node out of the store. Living pods keep their
 * links, and then the node keeps its subnet and its journal, so that nobody else gets their addresses.
 */
export async function purgeHost(settings: Settings): Promise<Purged> {
  await endTunnel(settings.paths.run);
  using kernel = openKernel();
  const journal = join(settings.paths.run, 'attachments.journal');
  const living = existsSync(journal) ? livingPods(journal) : [];
  const report: Purged = { removed: [], failed: [] };
  const seen = kernel.observe(NOTHING);
  const steps = diff(new Map(), seen).filter((step) => step.op === 'remove' && !isPodLink(step.was));
  const failures = kernel.apply(steps);
  const memory = new SysctlMemory(settings.paths.state, (key) => readSysctl(key)?.value);
  // What was before Tartan was before this flannel, too, and its pods need forwarding.
  const refused = isBackWithFlannel(settings) ? [] : memory.restore(kernel);
  report.failed.push(...[...failures, ...refused].map(({ step }) => step.key));
  report.removed.push(...removePolicyTables(kernel), ...(await leaveRouting(settings, kernel)));
  await reapDeadLinks(kernel, seen, living);
  const left = kernel.observe(NOTHING);
  report.removed.push(...[...seen].filter(([key]) => !left.has(key)).map(([, item]) => showItem(item)));
  try {
    report.removed.push(...(await leaveStore(settings, living)));
  } catch (error) {
    report.failed.push(`the store: ${toFault(error).message}`);
  }
  if (living.length === 0) removeDirectory(settings.paths.run);
  return report;
}

/** All that is in it, and itself. */
export function removeDirectory(path: string): void {
  if (!existsSync(path)) return;
  for (const name of readdirSync(path)) rmSync(join(path, name), { recursive: true, force: true });
  try {
    rmdirSync(path);
  } catch (error) {
    const { code = '' } = error as NodeJS.ErrnoException;
    if (!['EBUSY', 'EROFS'].includes(code)) throw error;
    removeOnHost(path);
  }
}

/** In a container it is a mount. What is mounted there goes by the view of the host's first process; where we do not have that, it stays, empty. */
function removeOnHost(path: string): void {
  if (!hasOwnView(HOST)) return;
  try {
    rmdirSync(pathInView(HOST, path));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
  }
}

function isPodLink(item: Item): boolean {
  return item.kind === 'link' && (item.type === 'veth' || item.type === 'ifb');
}

/** Attachments of this boot whose namespace is alive. */
function livingPods(journal: string): Attachment[] {
  const ledger = openLedger(journal);
  const attachments = ledger.list();
  ledger.close();
  const [boot, alive] = [bootId(), liveNamespaces(attachments)];
  return attachments.filter(
    (one) => one.phase === 'ready' && one.bootId === boot && alive.has(one.netnsInode),
  );
}

async function reapDeadLinks(kernel: Kernel, seen: HostState, living: readonly Attachment[]): Promise<void> {
  const kept = new Set(
    living.flatMap(({ hostLink }) => [hostLink, `${IFB_PREFIX}${hostLink.slice(POD_LINK_PREFIX.length)}`]),
  );
  const links = [...seen.values()].filter(isPodLink).map((item) => (item.kind === 'link' ? item.name : ''));
  await kernel.reapLinks(links.filter((name) => !kept.has(name)));
}

/** The advert goes; leased subnets too, unless pods live in them. What an operator reserved stays his. */
async function leaveStore(settings: Settings, living: readonly Attachment[]): Promise<string[]> {
  const { store: place, node } = settings;
  if (place.type === 'directory' && !existsSync(join(place.path, 'state'))) return [];
  const store = await openStore(place);
  try {
    const claims = living.length > 0 ? [] : await store.list('SubnetClaim');
    const own = claims.filter(({ value }) => {
      const claim = value as SubnetClaim;
      return claim.node === node.name && !claim.reserved;
    });
    const told = [...(await store.list('Node')), ...(await store.list('Workloads'))];
    const ours = [...told.filter(({ name }) => name === node.name), ...own];
    for (const { kind, name } of ours) if (kind !== 'Manifest') await store.remove(kind, name);
    const left = living.length > 0 ? [] : await leaveBlocks(store, node.name);
    const api = isBackWithFlannel(settings) ? undefined : await nodeApiOf(store, settings);
    const said = api === undefined ? [] : await leaveNode({ settings, clock: systemClock }, api);
    return [...ours.map(({ kind, name }) => `${kind} ${name} of the store`), ...left, ...said];
  } finally {
    store.close();
  }
}

/** Then sysctls are flannel's, and what its Node object says: its annotations, and that its network is there. */
function isBackWithFlannel({ migration }: Settings): boolean {
  const { flannel } = migration ?? {};
  return flannel !== undefined && flannel !== null && findDaemon('flanneld') !== undefined;
}

/** What the node holds of blocks. Of one that changes meanwhile, the other nodes reclaim it when the node has been gone for long. */
async function leaveBlocks(store: Omit<Store, 'watch'>, node: string): Promise<string[]> {
  const told: string[] = [];
  for (const { name, value, version: expect } of await store.list('Block')) {
    const block = value as Block;
    if (blockProblem(name, block) !== undefined || !nodesOf(block).includes(node)) continue;
    const rest = dropNode(block, node);
    const change =
      rest === undefined
        ? store.remove('Block', name, { expect })
        : store.put('Block', name, rest, { expect });
    const isDone = await change.then(
      () => true,
      () => false,
    );
    if (isDone) told.push(`block ${block.prefix} of the store`);
  }
  return told;
}
