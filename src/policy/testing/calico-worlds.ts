/** Random worlds and flows for Calico's kinds (fast-check): those of manifests.ts with what only these ask for. */
import fc from 'fast-check';
import type { Crossing, Flow } from '#model/verdict.ts';
import type { Pod, PolicyWorld } from '#model/workload.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import { PROFILE_LISTS } from './calico-manifests.ts';
import { flows, labels, namedPorts, NAMESPACES, oneOf, PORTS, subset, worlds } from './manifests.ts';

const FAILSAFE: PolicyWorld['failsafe'] = {
  ingress: [{ protocol: 6, ports: { from: 53, to: 53 } }],
  egress: [{ protocol: 17, ports: { from: 53, to: 53 }, prefix: prefix('10.0.0.0/8') }],
};

/** Worlds as for the Kubernetes kinds, with accounts, profiles, services and names in them. */
export const calicoWorlds: fc.Arbitrary<PolicyWorld> = worlds.chain((world) => {
  const pods = world.endpoints.filter((each): each is Pod => each.kind === 'pod');
  const backends = subset(pods.flatMap(({ addresses }) => addresses)).map((all) =>
    all.map((each) => ({ address: each, protocol: 6, port: 80 })),
  );
  return fc
    .record({
      own: fc.tuple(
        ...pods.map(() =>
          fc.record({
            account: oneOf(['default', 'x', 'y']),
            profiles: oneOf([undefined, undefined, undefined, ...PROFILE_LISTS]),
            ports: subset(namedPorts),
          }),
        ),
      ),
      accounts: fc.record(
        Object.fromEntries(NAMESPACES.flatMap((ns) => ['default', 'x'].map((sa) => [`${ns}/${sa}`, labels]))),
      ),
      services: fc.record({ 'one/svc': backends, 'two/svc': backends }),
      learned: subset([...pods.flatMap(({ addresses }) => addresses), address('203.0.113.7')]),
    })
    .map(({ own, accounts, services, learned }): PolicyWorld => ({
      ...world,
      endpoints: pods.map((pod, index) => withOwn(pod, own[index] ?? {})),
      accounts: new Map(Object.entries(accounts)),
      services: new Map(Object.entries(services)),
      names: new Map([['*.example.org', new Set(learned)]]),
      failsafe: FAILSAFE,
    }));
});

function withOwn(
  pod: Pod,
  { profiles, ...own }: { account?: string; profiles?: readonly string[] | undefined; ports?: Pod['ports'] },
): Pod {
  return { ...pod, ...own, ...(profiles === undefined ? {} : { profiles }) };
}

const crossing: fc.Arbitrary<Crossing> = fc
  .record({
    node: oneOf(['a', 'a', 'a', 'b']),
    interface: oneOf(['eth0', 'eth0', 'eth1']),
    direction: oneOf(['ingress', 'egress'] as const),
    forwarded: fc.boolean(),
    toPod: oneOf([undefined, undefined, true]),
  })
  .map(({ toPod, ...rest }) => (toPod === undefined ? rest : { ...rest, toPod }));

/** Through interfaces of hosts that have endpoints and some that have none; more protocols, ports and messages. */
export function calicoFlows(world: PolicyWorld): fc.Arbitrary<Flow> {
  const more = fc.record({
    crossings: fc.array(crossing, { maxLength: 3 }),
    sourcePort: oneOf([...PORTS, 40_000]),
    protocol: oneOf([undefined, undefined, undefined, undefined, 47, 136]),
    icmp: fc.record({ type: oneOf([8, 128, 3]), code: oneOf([0, 0, 1]) }),
    before: oneOf([undefined, 53, 80]),
  });
  return fc
    .tuple(flows(world), more)
    .map(([flow, { crossings, sourcePort, protocol, icmp, before }]): Flow => {
      const late =
        flow.before === undefined || before === undefined
          ? {}
          : { before: { ...flow.before, destinationPort: before } };
      const isBare = protocol === 47 || flow.icmp !== undefined;
      if (protocol === 47) {
        const { source, destination } = flow;
        return {
          source,
          destination,
          protocol,
          crossings,
          ...(flow.before === undefined ? {} : { before: flow.before }),
        };
      }
      if (isBare) return { ...flow, icmp, crossings };
      return { ...flow, ...late, sourcePort, crossings, ...(protocol === undefined ? {} : { protocol }) };
    });
}
