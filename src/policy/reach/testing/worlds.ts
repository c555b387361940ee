/** Random worlds with all that makes judging pairs hard: host endpoints, failsafe ports, two pods of one address (fast-check). */
import fc from 'fast-check';
import type { Flow } from '#model/verdict.ts';
import type { HostEndpoint, PolicyWorld } from '#model/workload.ts';
import { worldOf } from '../../compile/testing/books.ts';
import { hostEndpoint } from '../../testing/world.ts';

const labels = fc.dictionary(fc.constantFrom('app', 'tier'), fc.constantFrom('a', 'b'), { maxKeys: 2 });

const hosts: fc.Arbitrary<HostEndpoint[]> = fc
  .array(
    fc.record({
      name: fc.constantFrom('h', 'i'),
      node: fc.constantFrom('a', 'b'),
      interface: fc.constantFrom('*', 'eth0'),
      labels,
      profiles: fc.subarray(['open', 'closed', 'missing']),
    }),
    { maxLength: 2 },
  )
  .map((made) => [...new Map(made.map((each) => [each.name, each])).values()])
  .map((made) => made.map(({ name, ...more }) => hostEndpoint(name, more)));

/** Worlds with host endpoints, failsafe ports, and sometimes two pods of one address. */
export const crowdedWorlds: fc.Arbitrary<PolicyWorld> = fc
  .tuple(worldOf, hosts, fc.nat(3), fc.boolean())
  .map(([world, hosts, twins, isSafe]) => {
    const [first, second, ...rest] = world.endpoints;
    const doubled =
      twins === 0 && first?.kind === 'pod' && second?.kind === 'pod' && !first.hostNetwork
        ? [
            first,
            { ...second, addresses: [...first.addresses.slice(0, 1), ...second.addresses.slice(1)] },
            ...rest,
          ]
        : world.endpoints;
    const safe = [{ protocol: 6, ports: { from: 53, to: 80 } }];
    return {
      ...world,
      endpoints: [...doubled, ...hosts],
      failsafe: isSafe ? { ingress: safe, egress: [] } : world.failsafe,
    };
  });

/** As judges see flows: without DNAT, by the interfaces that evaluate derives. */
export function plainFlow({ protocol, source, destination, ...more }: Flow): Flow {
  const { sourcePort, destinationPort, icmp } = more;
  return {
    protocol,
    source,
    destination,
    ...(sourcePort === undefined ? {} : { sourcePort }),
    ...(destinationPort === undefined ? {} : { destinationPort }),
    ...(icmp === undefined ? {} : { icmp }),
  };
}
