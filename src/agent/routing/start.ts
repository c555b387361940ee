/** Routing protocols of this node, joined with the rest of the agent. */
import type { Addresses } from '../addresses/addresses.ts';
import type { Cluster } from '../roads/cluster.ts';
import type { Host } from '../host/host.ts';
import type { AgentParts } from '../parts.ts';
import { type Place, Routing } from './routing.ts';
import type { Manifest } from '#model/manifest.ts';
import { familyValues } from '#net/per-family.ts';
import type { Feed } from '#stores/feed.ts';

export type StartOptions = {
  readonly parts: AgentParts;
  readonly place: {
    readonly host: Host;
    readonly cluster: Cluster;
    readonly addresses: Pick<Addresses, 'blocks'>;
  };
  /** All nodes' adverts and claims have been read. */
  readonly areNodesKnown: () => boolean;
  readonly isReady: () => boolean;
};

export function startRouting(options: StartOptions): Routing {
  const { parts, areNodesKnown, isReady } = options;
  const { host, cluster, addresses } = options.place;
  const place = (): Place | undefined => {
    const { self, adverts } = cluster;
    if (self === undefined || !areNodesKnown()) return undefined;
    if (routing.isEnabled && !(manifests ??= followManifests(parts, routing)).synced) return undefined;
    const lost = new Set(
      cluster.conflicts.filter(({ node }) => node === self.name).map(({ subnet }) => subnet),
    );
    const own = new Set([...familyValues(self.subnets), ...addresses.blocks.prefixesOf(self.name)]);
    return {
      self,
      adverts,
      silent: addresses.blocks.pools().flatMap(({ exported, prefix }) => (exported ? [] : [prefix])),
      prefixes: [...own].filter((prefix) => !lost.has(prefix)),
      // Asked for only where routing protocols run: every node's advert leads here.
      get legs() {
        return [...cluster.peers.values()].flatMap(({ legs }) => legs);
      },
    };
  };
  const routing = new Routing({
    ...parts,
    self: () => cluster.self,
    place,
    isReady,
    isUp: (link) => {
      const seen = host.seen.get(`link ${link}`);
      return seen?.kind === 'link' && seen.down !== true;
    },
    claim: (items) => host.set('routing', items),
    others: () => [...host.seen.values()].filter((item) => item.kind === 'route'),
    // Readiness is judged with the next pass over the host.
    onChange: () => cluster.unsettle(),
  });
  // There may be thousands of objects, and most clusters have none that is looked for here.
  let manifests: Feed | undefined;
  return routing;
}

function followManifests({ feeds }: AgentParts, routing: Routing): Feed {
  return feeds.follow('Manifest', {
    onChange: (name, object) => routing.setManifest(name, object?.value as Manifest | undefined),
    onSynced: () => routing.nudge(),
  });
}
