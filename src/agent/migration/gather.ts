/** What another provider has on this node: the notes of its plugins, namespaces with pods in them, its daemon. Looks only. */
import { closeSync, readdirSync, readFileSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { bootId } from '../boot.ts';
import type { Ledger } from '../pods/attachments.ts';
import { lookAtLinks, lookAtRoutes, numberOfNetns } from '#kernel/take-over.ts';
import { netnsInode, openNetns } from '#kernel/netns.ts';
import { type PodsPlan, planPods } from '#migration/pods.ts';
import type { ProviderNamespace, Reservation } from '#model/provider.ts';
import type { Settings } from '#model/settings.ts';
import { type Address, parseAddress } from '#net/address.ts';
import { hostLinkName } from '#wiring/names.ts';

const OWN = '/proc/self/ns/net';
/** Where runtimes keep namespaces by name. */
const NAMED = ['/run/netns', '/run/docker/netns', '/run/containerd/netns'];

/** What host-local has noted, of all networks. */
export function readReservations(cniState: string): Reservation[] {
  const networks = join(cniState, 'networks');
  return listDirectory(networks).flatMap((network) => readNetwork(join(networks, network)));
}

/**
 * The notes of host-local (containernetworking/plugins, plugins/ipam/host-local/backend/disk): a file for each address, in it
 * the container and, but for old ones, the interface.
 */
export function readNetwork(directory: string): Reservation[] {
  return listDirectory(directory).flatMap((name): Reservation[] => {
    const address = parseAddress(name);
    if (address === undefined) return [];
    const [containerId = '', ifname = 'eth0'] = readText(join(directory, name)).trim().split(/\r?\n/);
    return containerId === '' ? [] : [{ address, containerId, ifname }];
  });
}

/** Each once, by its name where it has one. */
export function listNamespaces(): ProviderNamespace[] {
  const processes = listDirectory('/proc').filter((name) => /^\d+$/.test(name));
  const paths = [
    ...NAMED.flatMap((directory) => listDirectory(directory).map((name) => join(directory, name))),
    ...processes.map((pid) => `/proc/${pid}/ns/net`),
  ];
  const seen = new Set([inodeOf(OWN)]);
  return paths.flatMap((path) => {
    const inode = inodeOf(path);
    if (inode === undefined || seen.has(inode)) return [];
    seen.add(inode);
    return lookInto(path) ?? [];
  });
}

/** Namespaces come and go. */
function lookInto(path: string): ProviderNamespace | undefined {
  try {
    const netns = openNetns(path);
    try {
      const inode = Number(netnsInode(netns));
      const id = numberOfNetns(netns);
      // Most namespaces of a host are of no pod of its.
      if (id === undefined) return undefined;
      return { path, inode, id, links: lookAtLinks(netns), routes: lookAtRoutes(netns) };
    } finally {
      closeSync(netns);
    }
  } catch {
    return undefined;
  }
}

/** The process of this name that lives in this network namespace. */
export function findDaemon(name: string): number | undefined {
  const own = inodeOf(OWN);
  const pids = listDirectory('/proc').filter((entry) => /^\d+$/.test(entry));
  const found = pids.find(
    (pid) => readText(`/proc/${pid}/comm`).trim() === name && inodeOf(`/proc/${pid}/ns/net`) === own,
  );
  return found === undefined ? undefined : Number(found);
}

export type PodsOf = {
  readonly settings: Settings;
  readonly ledger: Pick<Ledger, 'list'>;
  readonly reservations: readonly Reservation[];
  readonly wiring: 'bridge' | 'routed';
  readonly isPods: (address: Address) => boolean;
};

export function gatherPods({ settings, ledger, ...scene }: PodsOf): PodsPlan {
  return planPods({
    ...scene,
    links: lookAtLinks(),
    namespaces: listNamespaces(),
    attachments: ledger.list(),
    network: settings.network.name,
    bootId: bootId(),
    nameOf: hostLinkName,
  });
}

export function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

function listDirectory(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function inodeOf(path: string): number | undefined {
  try {
    return statSync(path).ino;
  } catch {
    return undefined;
  }
}
