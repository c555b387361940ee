/**
 * `tartan migrate flannel --back`: what is ours on this node becomes flannel's, without an agent and before flanneld starts. Notes are
 * written before links change hands, and the ledger forgets a pod last: a kill at any point, a second run and a first run
 * are the same case.
 */
import { mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { bootId } from '../boot.ts';
import { armCrash } from '../crash.ts';
import { readNodeFile } from '../node-file.ts';
import type { Ledger } from '../pods/attachments.ts';
import { findDaemon, listNamespaces, readNetwork } from './gather.ts';
import { vxlanDevice } from '#backends/vxlan.ts';
import { giveRoutes, lookAtLinks, renameLink } from '#kernel/take-over.ts';
import { type BackPlan, delegateText, noteText, planBack } from '#migration/flannel-back.ts';
import type { FlannelPlaces, Settings } from '#model/settings.ts';
import { prefixAddress } from '#net/prefix.ts';

export type BackOptions = {
  readonly settings: Settings;
  readonly places: FlannelPlaces;
  /** Undefined: a running agent has it. */
  readonly ledger: Ledger | undefined;
};

export function gatherBack({ settings, places, ledger }: BackOptions): BackPlan {
  return planBack({
    settings,
    subnets: readNodeFile(settings.paths.state),
    deviceName: vxlanDevice(settings.road.vxlan.vni),
    links: lookAtLinks(),
    namespaces: listNamespaces(),
    attachments: ledger?.list() ?? [],
    reservations: readNetwork(notesOf(places)),
    bootId: bootId(),
    daemon: findDaemon('flanneld'),
    isAgentAway: ledger !== undefined,
  });
}

/** Of a plan that nothing stands against. */
export function handBack(
  { settings, places, ledger }: BackOptions & { readonly ledger: Ledger },
  plan: BackPlan,
): void {
  const crash = armCrash(process.env['TARTAN_KILL_AT']);
  writeNotes(settings, places, plan);
  crash('back:noted');
  for (const link of [...plan.pods.map((pod) => pod.link), plan.bridge, plan.device]) {
    if (link === undefined) continue;
    renameLink(link);
    crash('back:renamed');
  }
  // flanneld leaves a route that is like its own alone, whoever's it is, and misses it when it goes.
  giveRoutes();
  for (const { attachment } of plan.pods) ledger.remove(attachment);
}

function notesOf({ cniState, cniNetwork }: FlannelPlaces): string {
  return join(cniState, 'networks', cniNetwork);
}

function writeNotes(settings: Settings, places: FlannelPlaces, { pods, stale }: BackPlan): void {
  const { cniState, cniNetwork: network } = places;
  const [notes, delegates] = [notesOf(places), join(cniState, 'flannel')];
  mkdirSync(notes, { recursive: true });
  mkdirSync(delegates, { recursive: true, mode: 0o700 });
  for (const address of stale) rmSync(join(notes, address), { force: true });
  const subnets = readNodeFile(settings.paths.state);
  const text = delegateText({ settings, subnets }, { network, dataDir: join(cniState, 'networks') });
  for (const { attachment } of pods) {
    for (const ip of attachment.addresses)
      writeFileSync(join(notes, prefixAddress(ip)), noteText(attachment));
    writeFileSync(join(delegates, attachment.containerId), text, { mode: 0o600 });
  }
}
