/** Calico's BGPPeer (api/pkg/apis/projectcalico/v3/bgppeer.go). */
import { z } from 'zod';
import { given } from '#lib/given.ts';
import { across, isFields, isThere, wholeNumber } from '#model/manifest-shapes.ts';
import { EVERYTHING, type Selector } from '#model/policy.ts';
import type { PeerRule, Remote, SessionTraits } from '#model/routing.ts';
import { type Address, addressFamily, parseAddress } from '#net/address.ts';
import { defineCalico, type Frontend } from './frontend.ts';
import { asNumber, ipAddress, nodeSelector, password, refused, seconds, textOf } from './shapes.ts';

type Place = { readonly address: Address; readonly port?: number };

/** `address`, `IPv4:port` or `[IPv6]:port`. */
const place = textOf('an IP address, with or without port', (text): Place | undefined => {
  const [, six, four, digits] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const address = parseAddress(six ?? four ?? text);
  if (address === undefined || digits === undefined) return address === undefined ? undefined : { address };
  const port = Number(digits);
  const isSix = addressFamily(address) === 6;
  return port < 1 || port > 65_535 || isSix !== (six !== undefined) ? undefined : { address, port };
});

const spec = across(
  z.strictObject({
    node: z.string().nullish(),
    nodeSelector: nodeSelector.nullish(),
    peerIP: place.nullish(),
    peerSelector: nodeSelector.nullish(),
    asNumber: asNumber.nullish(),
    localASNumber: asNumber.nullish(),
    nextHopMode: z.enum(['Auto', 'Self', 'Keep']).nullish(),
    keepOriginalNextHop: z.boolean().nullish(),
    password: password.nullish(),
    sourceAddress: z.enum(['UseNodeIP', 'None']).nullish(),
    maxRestartTime: seconds(0, 4095).nullish(),
    keepaliveTime: seconds(1, 21_845).nullish(),
    numAllowedLocalASNumbers: wholeNumber(0, 2 ** 31 - 1).nullish(),
    ttlSecurity: wholeNumber(1, 255).nullish(),
    reachableBy: ipAddress.nullish(),
    filters: z.array(z.string()).nullish(),
    localWorkloadSelector: refused('is not enforced: nobody speaks BGP with pods'),
    reversePeering: z.enum(['Auto', 'Manual']).nullish(),
  }),
  (fields, say) => {
    const there = (name: string): boolean => isThere(fields[name]) && fields[name] !== '';
    const excludes = (name: string, other: string): void => {
      if (there(name) && there(other)) say([name], `must not be there beside ${other}`);
    };
    excludes('nodeSelector', 'node');
    excludes('peerSelector', 'peerIP');
    excludes('asNumber', 'peerSelector');
    excludes('reachableBy', 'peerSelector');
    if (fields['keepOriginalNextHop'] === true) excludes('nextHopMode', 'keepOriginalNextHop');
    if (!there('peerIP') && !there('peerSelector')) say([], 'must have peerIP or peerSelector');
    if (there('peerIP') && !there('asNumber')) say(['asNumber'], 'is missing');
    const { peerIP, reachableBy } = fields as { peerIP?: Place; reachableBy?: Address };
    if (isFields(peerIP) && peerIP.address !== undefined && typeof reachableBy === 'string')
      if (addressFamily(peerIP.address) !== addressFamily(reachableBy))
        say(['reachableBy'], 'must be of the family of peerIP');
  },
);

type Spec = z.output<typeof spec>;

export const bgpPeers: readonly Frontend[] = defineCalico('BGPPeer', spec, (name, spec) => {
  const remote = remoteOf(spec);
  if (remote === undefined) return {};
  const rule: PeerRule = {
    name,
    nodes: nodesOf(spec),
    remote,
    reverse: spec.reversePeering !== 'Manual',
    ...traitsOf(spec),
  };
  return { peers: [rule] };
});

/** The node of this name, whatever its labels. */
export function nodeNamed(name: string): Selector {
  return { op: 'in', scope: 'fact', key: 'name', values: [name] };
}

function nodesOf({ node, nodeSelector }: Spec): Selector {
  if (typeof node === 'string' && node !== '') return nodeNamed(node);
  return nodeSelector ?? EVERYTHING;
}

function remoteOf({ peerIP, asNumber, peerSelector }: Spec): Remote | undefined {
  if (peerSelector !== undefined && peerSelector !== null) return { kind: 'nodes', selector: peerSelector };
  if (!isThere(peerIP) || !isThere(asNumber)) return undefined;
  return { kind: 'address', ...(peerIP as NonNullable<typeof peerIP>), as: Number(asNumber) };
}

const NEXT_HOP = { Auto: 'auto', Self: 'self', Keep: 'keep' } as const;

function traitsOf(spec: Spec): SessionTraits {
  return {
    nextHop: spec.keepOriginalNextHop === true ? 'keep' : NEXT_HOP[spec.nextHopMode ?? 'Auto'],
    source: spec.sourceAddress === 'None' ? 'any' : 'node',
    ttlSecurity: isThere(spec.ttlSecurity),
    filters: spec.filters ?? [],
    ...given('localAs', spec.localASNumber),
    ...given('password', spec.password),
    ...given('restartS', spec.maxRestartTime),
    ...given('keepaliveS', spec.keepaliveTime),
    ...given('allowLocalAs', spec.numAllowedLocalASNumbers),
    ...given('hops', spec.ttlSecurity),
    ...given('gateway', spec.reachableBy),
  };
}
