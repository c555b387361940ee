/**
 * The shape of a lab as values: which namespaces there are, how they are joined, and every address. One router
 * namespace holds a bridge per subnet; each node hangs on one of them by a veth pair. Two thirds of the nodes share the
 * first subnet, the rest is behind the router on the second, so both kinds of neighbours are always there.
 */
import { Fault } from '#model/fault.ts';
import { FAMILIES, type Family } from '#net/address.ts';

export type LabShape = {
  readonly name: string;
  readonly nodes: number;
  readonly subnets: 1 | 2;
  /** Families that nodes have addresses of; absent: both. */
  readonly underlay?: readonly Family[];
};

export type NodePlace = {
  readonly name: string;
  readonly netns: string;
  /** Number of its subnet, and so of the router's bridge. */
  readonly lan: number;
  /** Name of the router's end of the node's cable. */
  readonly port: string;
  readonly addresses: { readonly 4: string; readonly 6: string };
};

export type Lan = {
  readonly bridge: string;
  readonly gateways: { readonly 4: string; readonly 6: string };
  readonly lengths: { readonly 4: number; readonly 6: number };
};

/** Root of the files of all labs. Boot-scoped, as the namespaces are. */
export const LABS_DIRECTORY = '/run/tartan-lab';

export function labDirectory(lab: string): string {
  return `${LABS_DIRECTORY}/${lab}`;
}

/** The store that all nodes of the lab share. */
export function storePath(lab: string): string {
  return `${labDirectory(lab)}/store`;
}

/** A dot ends the lab's name, and no lab's name holds one: labs never match each other's namespaces. */
export function netnsName(lab: string, of: string): string {
  return `lab-${lab}.${of}`;
}

export function netnsPath(name: string): string {
  return `/run/netns/${name}`;
}

/** Names become file names and parts of namespace names. */
export function checkName(kind: string, name: string): void {
  if (/^[a-z0-9][a-z0-9-]{0,40}$/.test(name)) return;
  throw new Fault('settings-invalid', `${kind} name ${JSON.stringify(name)} is not usable`, {
    problems: [{ path: kind, message: 'use lower-case letters, digits and hyphens, at most 41' }],
  });
}

export function routerNetns(lab: string): string {
  return netnsName(lab, 'router');
}

export function lans(shape: LabShape): Lan[] {
  return Array.from({ length: shape.subnets }, (_, lan) => ({
    bridge: `lan${lan}`,
    gateways: { 4: `192.168.${10 * (lan + 1)}.1`, 6: `fd00:${lan + 1}::1` },
    lengths: { 4: 24, 6: 64 },
  }));
}

export function underlayFamilies({ underlay }: LabShape): readonly Family[] {
  return underlay ?? FAMILIES;
}

export function nodePlaces(shape: LabShape): NodePlace[] {
  const near = shape.subnets === 1 || shape.nodes < 3 ? shape.nodes : Math.ceil((2 * shape.nodes) / 3);
  return Array.from({ length: shape.nodes }, (_, index) => {
    const lan = index < near ? 0 : 1;
    const host = 10 + index;
    return {
      name: `node${index + 1}`,
      netns: netnsName(shape.name, `node${index + 1}`),
      lan,
      port: `port${index + 1}`,
      addresses: { 4: `192.168.${10 * (lan + 1)}.${host}`, 6: `fd00:${lan + 1}::${host}` },
    };
  });
}
