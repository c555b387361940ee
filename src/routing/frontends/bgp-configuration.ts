/** Calico's BGPConfiguration (api/pkg/apis/projectcalico/v3/bgpconfig.go): `default` for all nodes, `node.NAME` for some fields of one. */
import { z } from 'zod';
import { given } from '#lib/given.ts';
import type { Say } from '#model/manifest-schema.ts';
import { across, isThere, listOf, portNumber } from '#model/manifest-shapes.ts';
import type {
  Community,
  LogLevel,
  NodeOverride,
  PrefixTag,
  RoutingSettings,
  ServiceKind,
} from '#model/routing.ts';
import { readCommunity } from '#model/routing-text.ts';
import type { Prefix } from '#net/prefix.ts';
import { defineCalico, type Frontend } from './frontend.ts';
import { anyPrefix, asNumber, community, password, refused, seconds } from './shapes.ts';

const ranges = z.array(z.strictObject({ cidr: anyPrefix })).nullish();

const spec = across(
  z.strictObject({
    logSeverityScreen: z.enum(['Debug', 'Info', 'Warning', 'Error', 'Fatal']).nullish(),
    nodeToNodeMeshEnabled: z.boolean().nullish(),
    asNumber: asNumber.nullish(),
    serviceLoadBalancerIPs: ranges,
    serviceExternalIPs: ranges,
    serviceClusterIPs: ranges,
    serviceLoadBalancerAggregation: z.enum(['Enabled', 'Disabled']).nullish(),
    communities: listOf(
      z.strictObject({ name: z.string().min(1, 'must not be empty'), value: community }),
      0,
      500,
    ).nullish(),
    prefixAdvertisements: listOf(
      z.strictObject({ cidr: anyPrefix, communities: listOf(z.string(), 0, 50) }),
      0,
      500,
    ).nullish(),
    listenPort: portNumber.nullish(),
    nodeMeshPassword: password.nullish(),
    nodeMeshMaxRestartTime: seconds(0, 4095).nullish(),
    bindMode: z.enum(['None', 'NodeIP']).nullish(),
    ignoredInterfaces: z
      .array(
        z.string().regex(/^[A-Za-z0-9_.*-]{1,15}$/, 'must be the name of an interface, with or without *'),
      )
      .nullish(),
    localWorkloadPeeringIPV4: refused('is not enforced: nobody speaks BGP with pods'),
    localWorkloadPeeringIPV6: refused('is not enforced: nobody speaks BGP with pods'),
    programClusterRoutes: z.literal('EnabledNoEncapOnly').nullish(),
    ipv4NormalRoutePriority: z.literal(1024).nullish(),
    ipv6NormalRoutePriority: z.literal(1024).nullish(),
  }),
  ({ nodeMeshPassword, nodeMeshMaxRestartTime, nodeToNodeMeshEnabled }, say) => {
    if (nodeToNodeMeshEnabled !== false) return;
    if (isThere(nodeMeshPassword)) say(['nodeMeshPassword'], 'must not be there without the mesh');
    if (isThere(nodeMeshMaxRestartTime))
      say(['nodeMeshMaxRestartTime'], 'must not be there without the mesh');
  },
).nullish();

type Spec = NonNullable<z.output<typeof spec>>;

const PER_NODE: ReadonlySet<string> = new Set([
  'listenPort',
  'prefixAdvertisements',
  'communities',
  'logSeverityScreen',
]);

export const bgpConfigurations: readonly Frontend[] = defineCalico(
  'BGPConfiguration',
  spec,
  (name, spec, say) => {
    const fields: Spec = spec ?? {};
    const tags = tagsOf(fields, say);
    if (name === 'default') return { settings: { ...settingsOf(fields), ...given('tags', tags) } };
    const node = /^node\.(.+)$/.exec(name)?.[1];
    if (node === undefined) {
      say.refuse(['metadata', 'name'], 'must be default or node.NAME');
      return {};
    }
    for (const [key, value] of Object.entries(fields))
      if (isThere(value) && !PER_NODE.has(key))
        say.refuse(['spec', key], 'must only be in BGPConfiguration default');
    const override: NodeOverride = {
      ...given('port', fields.listenPort),
      ...given('tags', tags),
      ...given('logLevel', levelOf(fields)),
    };
    return { overrides: new Map([[node, override]]) };
  },
);

function settingsOf(fields: Spec): Partial<RoutingSettings> {
  return {
    ...given('logLevel', levelOf(fields)),
    ...given(
      'mesh',
      isThere(fields.nodeToNodeMeshEnabled)
        ? fields.nodeToNodeMeshEnabled === true
          ? 'all'
          : 'none'
        : undefined,
    ),
    ...given('as', fields.asNumber),
    ...given('port', fields.listenPort),
    ...given('meshPassword', fields.nodeMeshPassword),
    ...given('meshRestartS', fields.nodeMeshMaxRestartTime),
    ...given('bindToNode', isThere(fields.bindMode) ? fields.bindMode === 'NodeIP' : undefined),
    ...given('ignoredInterfaces', fields.ignoredInterfaces),
    services: {
      ranges: {
        cluster: prefixesOf(fields.serviceClusterIPs),
        external: prefixesOf(fields.serviceExternalIPs),
        'load-balancer': prefixesOf(fields.serviceLoadBalancerIPs),
      },
      single:
        fields.serviceLoadBalancerAggregation === 'Disabled' ? (['load-balancer'] as ServiceKind[]) : [],
    },
  };
}

function levelOf({ logSeverityScreen }: Spec): LogLevel | undefined {
  return isThere(logSeverityScreen) ? (logSeverityScreen?.toLowerCase() as LogLevel) : undefined;
}

function prefixesOf(blocks: readonly { readonly cidr: Prefix }[] | null | undefined): Prefix[] {
  return (blocks ?? []).map(({ cidr }) => cidr);
}

/** Communities are values, or names that the object gives to values. */
function tagsOf({ communities, prefixAdvertisements }: Spec, { refuse }: Say): PrefixTag[] | undefined {
  if (prefixAdvertisements === undefined || prefixAdvertisements === null) return undefined;
  const named = new Map((communities ?? []).map(({ name, value }) => [name, value]));
  return prefixAdvertisements.map(({ cidr, communities }, index) => ({
    prefix: cidr,
    communities: communities.flatMap((text, place): Community[] => {
      const found = named.get(text) ?? readCommunity(text);
      if (found !== undefined) return [found];
      const path = ['spec', 'prefixAdvertisements', index, 'communities', place];
      refuse(path, `must be a name in spec.communities or a community, not ${JSON.stringify(text)}`);
      return [];
    }),
  }));
}
