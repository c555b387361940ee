/**
 * Takes over what flannel made on this node, before anything else of the agent begins: whatever is under way goes on by the
 * same links, neighbours and routes, and the host's loop finds them as its own. Each step is noted before it is done, and may be
 * done again.
 */
import { armCrash } from '../crash.ts';
import type { Ledger } from '../pods/attachments.ts';
import { readNodeFile, writeNodeFile } from '../node-file.ts';
import { findDaemon, gatherPods, readReservations, readText } from './gather.ts';
import type { Adopted } from '#backends/backend.ts';
import { vxlanDevice } from '#backends/vxlan.ts';
import { lookAtLinks, lookAtRoutes, renameLink } from '#kernel/take-over.ts';
import { given } from '#lib/given.ts';
import { describeFlannel, type FlannelPlan, isDue, planFlannel, readSubnetFile } from '#migration/flannel.ts';
import { Fault } from '#model/fault.ts';
import type { FlannelPlaces, Settings } from '#model/settings.ts';
import { parseMac } from '#net/mac.ts';
import { families } from '#net/per-family.ts';
import { contains } from '#net/prefix.ts';

/** Names in the ledger: they end with the links, at the next boot. */
const META = { vtepMac: 'adopted-vtep-mac', bridgeMac: 'adopted-bridge-mac' } as const;

type Own = { readonly settings: Settings; readonly ledger: Ledger };

export function gatherFlannel(
  { settings, ledger }: { readonly settings: Settings; readonly ledger: Pick<Ledger, 'list'> },
  { subnetFile: path, cniState }: FlannelPlaces,
): FlannelPlan {
  const subnetFile = readSubnetFile(readText(path));
  const subnets = subnetFile?.subnets ?? readNodeFile(settings.paths.state);
  const own = families(subnets).flatMap((family) => subnets[family] ?? []);
  const pods = gatherPods({
    settings,
    ledger,
    reservations: readReservations(cniState),
    wiring: 'bridge',
    isPods: (address) => own.some((subnet) => contains(subnet, address)),
  });
  const deviceName = vxlanDevice(settings.road.vxlan.vni);
  const daemon = findDaemon('flanneld');
  const [links, routes] = [lookAtLinks(), lookAtRoutes()];
  return planFlannel({ settings, deviceName, subnetFile, links, routes, daemon, pods });
}

/** Answers what was done. Throws Fault `migration-refused` with all that stands against it, and nothing done. */
export function takeOverFlannel(own: Own): string[] {
  const places = own.settings.migration?.flannel;
  if (places === undefined || places === null) return [];
  const plan = gatherFlannel(own, places);
  if (plan.problems.length > 0)
    throw new Fault('migration-refused', 'what flannel has on this node cannot be taken over', {
      problems: plan.problems,
    });
  rememberSubnets(own.settings, plan);
  if (!isDue(plan)) return [];
  takeOver(own.ledger, plan);
  return describeFlannel(plan);
}

/** What this node took over of this boot's links; undefined: nothing. */
export function adoptedOf(ledger: Pick<Ledger, 'getMeta'>): Adopted | undefined {
  const [vtepMac, bridgeMac] = [META.vtepMac, META.bridgeMac].map((name) =>
    parseMac(ledger.getMeta(name) ?? ''),
  );
  if (vtepMac === undefined && bridgeMac === undefined) return undefined;
  return { ...given('vtepMac', vtepMac), ...given('bridgeMac', bridgeMac) };
}

function rememberSubnets({ paths }: Settings, { subnets }: FlannelPlan): void {
  if (families(subnets).length > 0 && families(readNodeFile(paths.state)).length === 0)
    writeNodeFile(paths.state, subnets);
}

function takeOver(ledger: Ledger, { device, bridge, pods }: FlannelPlan): void {
  const crash = armCrash(process.env['TARTAN_KILL_AT']);
  if (device !== undefined) ledger.setMeta(META.vtepMac, device.mac);
  if (bridge !== undefined) ledger.setMeta(META.bridgeMac, bridge.mac);
  for (const { attachment } of pods) ledger.put(attachment);
  crash('adopt:noted');
  const links = [...pods.map(({ link }) => link), bridge, device];
  for (const link of links) {
    if (link === undefined) continue;
    renameLink(link);
    crash('adopt:renamed');
  }
}
