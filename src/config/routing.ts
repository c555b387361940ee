/** Settings of routing protocols from the shape of the file to that of the code. */
import { given } from '#lib/given.ts';
import { EVERYTHING } from '#model/policy.ts';
import type { Bfd, PeerRule, Reflector, RoutingConfig, RoutingSettings, SecretRef } from '#model/routing.ts';
import type { Settings } from '#model/settings.ts';
import type { RawPeer, RawRouting } from './routing-schema.ts';
import type { RawSettings } from './schema.ts';

export function nodeOf({ node: { name, labels, annotations } }: RawSettings): Settings['node'] {
  return { name, ...given('labels', labels), ...given('annotations', annotations) };
}

/** `needed`: the road is BIRD's. */
export function routingOf(raw: RawRouting, needed: boolean): RoutingConfig {
  return {
    enabled: raw.enabled ?? needed,
    speaker: speakerOf(raw),
    peers: raw.peers.map(peerOf),
    node: {
      ...given('as', raw.nodeAs),
      ...given('reflector', reflectorOf(raw)),
    },
    secrets: raw.secrets,
  };
}

function speakerOf(raw: RawRouting): RoutingConfig['speaker'] {
  const { as, port, mesh, routerId, bindToNode, logLevel, ignoredInterfaces, services } = raw;
  return {
    as,
    port,
    mesh,
    ...given('meshPassword', fileOf(raw.meshPasswordFile)),
    ...given('meshBfd', meshBfdOf(raw)),
    restartS: raw.gracefulRestartSeconds,
    routerId,
    bindToNode,
    logLevel,
    ignoredInterfaces,
    services: {
      ranges: {
        cluster: services.cluster,
        external: services.external,
        'load-balancer': services.loadBalancer,
      },
      single: [],
    },
    aggregates: raw.aggregates.map(({ prefix, nodes = EVERYTHING }) => ({ prefix, nodes })),
    tags: raw.communities,
    ...given('ospf', ospfOf(raw)),
  };
}

function meshBfdOf({ meshBfd: { enabled, ...bfd } }: RawRouting): Bfd | undefined {
  return enabled ? bfd : undefined;
}

function reflectorOf({ reflector: { clusterId, role, meshed } }: RawRouting): Reflector | undefined {
  return clusterId === undefined ? undefined : { clusterId, role, meshed };
}

function ospfOf({ ospf }: RawRouting): RoutingSettings['ospf'] {
  if (ospf === undefined || ospf === null) return undefined;
  const links = ospf.links.map(({ name, ...link }) => ({
    name,
    ...given('cost', link.cost),
    ...given('helloS', link.helloSeconds),
    ...given('deadS', link.deadSeconds),
    ...given('passive', link.passive),
    ...given('password', fileOf(link.passwordFile)),
  }));
  return { area: ospf.area, links };
}

function peerOf(raw: RawPeer): PeerRule {
  return {
    name: raw.name,
    nodes: raw.nodes ?? EVERYTHING,
    remote: remoteOf(raw),
    reverse: true,
    nextHop: raw.nextHop,
    source: raw.source,
    ttlSecurity: raw.ttlSecurity,
    filters: raw.filters,
    ...given('localAs', raw.localAs),
    ...given('password', fileOf(raw.passwordFile)),
    ...given('restartS', raw.gracefulRestartSeconds),
    ...given('keepaliveS', raw.keepaliveSeconds),
    ...given('holdS', raw.holdSeconds),
    ...given('allowLocalAs', raw.allowLocalAs),
    ...given('hops', raw.hops),
    ...given('gateway', raw.gateway),
    ...given('bfd', raw.bfd),
    ...given('localPreference', raw.localPreference),
  };
}

function remoteOf({ address, as, port, peerNodes }: RawPeer): PeerRule['remote'] {
  if (address === undefined || as === undefined) return { kind: 'nodes', selector: peerNodes ?? EVERYTHING };
  return { kind: 'address', address, as, ...given('port', port) };
}

function fileOf(path: string | undefined): SecretRef | undefined {
  return path === undefined ? undefined : { kind: 'file', path };
}
