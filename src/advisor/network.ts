/** Checks of the host's own network settings: sysctls, the link between nodes, MTU. */
import type { HostFacts } from '#model/facts.ts';
import type { Finding } from '#model/finding.ts';
import { MIN_IPV6_MTU } from '#model/numbers.ts';
import { families, familyValues } from '#net/per-family.ts';
import { overlaps, prefixLength } from '#net/prefix.ts';

export function checkNetwork(facts: HostFacts): Finding[] {
  return [
    checkUnderlay(facts),
    ...families(facts.settings.ranges).map((family) => checkForwarding(facts, family)),
    checkReversePath(facts),
    checkBridgeNetfilter(facts),
    checkRouterAdvertisements(facts),
    checkMtu(facts),
    checkOverlap(facts),
    checkConntrack(facts),
  ];
}

function checkUnderlay({ choice, underlayProblem }: HostFacts): Finding {
  const check = 'underlay';
  if (choice !== undefined) {
    const addresses = familyValues(choice.announced).join(', ');
    return {
      check,
      severity: 'ok',
      title: `nodes are reached by ${choice.link}`,
      detail: `${choice.why}; ${addresses}`,
    };
  }
  return {
    check,
    severity: 'error',
    title: 'no link for traffic between nodes',
    ...(underlayProblem === undefined ? {} : { detail: underlayProblem }),
    hint: 'set underlay.interfaces to the link that carries traffic between nodes',
  };
}

function checkForwarding({ sysctls }: HostFacts, family: 4 | 6): Finding {
  const key = family === 4 ? 'net/ipv4/ip_forward' : 'net/ipv6/conf/all/forwarding';
  const check = `forwarding-ipv${family}`;
  if (sysctls[key] === '1') return { check, severity: 'ok', title: `IPv${family} is forwarded` };
  return {
    check,
    severity: 'warn',
    title: `IPv${family} is not forwarded`,
    detail: `${key} = ${sysctls[key] ?? 'not there'}`,
    hint: `the agent sets ${key} to 1; if it does not stay, see what else writes it in /etc/sysctl.d`,
  };
}

/** Strict filtering uses the larger of the two values; it bites where the answer leaves by another link. */
function checkReversePath({ sysctls, choice }: HostFacts): Finding {
  const check = 'rp-filter';
  const values = [
    sysctls['net/ipv4/conf/all/rp_filter'],
    choice === undefined ? undefined : sysctls[`net/ipv4/conf/${choice.link}/rp_filter`],
  ];
  const effective = Math.max(...values.map((value) => Number(value ?? '0')));
  if (effective !== 1)
    return { check, severity: 'ok', title: 'reverse-path filtering lets every road through' };
  return {
    check,
    severity: 'info',
    title: 'reverse-path filtering is strict on the link between nodes',
    hint: 'set net.ipv4.conf.*.rp_filter to 2 when nodes have several links or use directRouting on one side only',
  };
}

/** Bridged frames that go through iptables are seen twice by it, which breaks hairpin and kube-proxy's rules need it. */
function checkBridgeNetfilter({ settings, sysctls, kubeProxy }: HostFacts): Finding {
  const check = 'br-netfilter';
  const value = sysctls['net/bridge/bridge-nf-call-iptables'];
  if (settings.wiring !== 'bridge')
    return { check, severity: 'ok', title: 'no bridge, so br_netfilter does not matter' };
  if (settings.isolated === true)
    return {
      check,
      severity: 'ok',
      title: 'packets between pods are routed, so br_netfilter does not matter',
    };
  if (value === '1') return { check, severity: 'ok', title: 'bridged packets go through netfilter' };
  const detail = value === undefined ? 'br_netfilter is not loaded' : 'bridge-nf-call-iptables = 0';
  if (kubeProxy === undefined) {
    return { check, severity: 'info', title: 'bridged packets do not go through netfilter', detail };
  }
  return {
    check,
    severity: 'warn',
    title: settings.roads.some(({ name }) => name === 'layer2')
      ? 'services fail between pods: they answer each other past every host'
      : 'services fail between pods of one node',
    detail,
    hint: 'modprobe br_netfilter and set net.bridge.bridge-nf-call-iptables (and -ip6tables) to 1',
  };
}

/** A forwarding host ignores router advertisements unless accept_ra is 2 (Documentation/networking/ip-sysctl.rst). */
function checkRouterAdvertisements({ settings, sysctls, choice, underlay }: HostFacts): Finding {
  const check = 'accept-ra';
  const link = underlay.links.find((each) => each.name === choice?.link);
  const dynamic = link?.addresses.some((each) => each.dynamic && each.address.includes(':')) === true;
  const value = link === undefined ? undefined : sysctls[`net/ipv6/conf/${link.name}/accept_ra`];
  const bites = settings.ranges[6] !== undefined && dynamic && value === '1';
  if (!bites) return { check, severity: 'ok', title: 'forwarding does not cost IPv6 routes' };
  return {
    check,
    severity: 'warn',
    title: `${link?.name} loses its advertised IPv6 routes once the host forwards`,
    hint: `set net.ipv6.conf.${link?.name}.accept_ra to 2`,
  };
}

function checkMtu({ settings, choice }: HostFacts): Finding {
  const check = 'mtu';
  if (choice === undefined) return { check, severity: 'info', title: 'the MTU is not known without a link' };
  const room = choice.mtu - settings.overhead;
  const pods = settings.podMtu ?? room;
  const detail = `${choice.link} carries ${choice.mtu} bytes, the road leaves ${room}, pods have ${pods}`;
  if (pods > room) {
    const hint = `set wiring.mtu to ${room} or auto`;
    return { check, severity: 'error', title: 'large packets between nodes are lost', detail, hint };
  }
  if (settings.ranges[6] !== undefined && pods < MIN_IPV6_MTU) {
    const hint = `IPv6 needs ${MIN_IPV6_MTU} bytes: raise the MTU of ${choice.link}`;
    return { check, severity: 'error', title: 'the MTU is too small for IPv6', detail, hint };
  }
  return { check, severity: 'ok', title: 'the MTU fits', detail };
}

/**
 * A pod range that the host already routes elsewhere takes that network away from the host. The kernel's own routes on
 * our links (the bridge's connected prefix) are what the range is for.
 */
function checkOverlap({ settings, underlay }: HostFacts): Finding {
  const check = 'range-overlap';
  const ours = new Set(underlay.links.filter((link) => link.ours).map(({ name }) => name));
  const clash = underlay.routes.find(
    (route) =>
      prefixLength(route.prefix) > 0 &&
      !ours.has(route.link) &&
      familyValues(settings.ranges).some((range) => overlaps(range, route.prefix)),
  );
  if (clash === undefined)
    return { check, severity: 'ok', title: 'the pod range overlaps no route of the host' };
  return {
    check,
    severity: 'warn',
    title: 'the pod range overlaps a route of the host',
    detail: `${clash.prefix} dev ${clash.link}`,
    hint: 'choose another network range, or remove the route if it is left over from another provider',
  };
}

function checkConntrack({ sysctls }: HostFacts): Finding {
  const check = 'conntrack-room';
  const [count, max] = ['count', 'max'].map((name) => Number(sysctls[`net/netfilter/nf_conntrack_${name}`]));
  if (count === undefined || max === undefined || !(max > 0) || Number.isNaN(count)) {
    return { check, severity: 'info', title: 'the size of the connection table is not known' };
  }
  const detail = `${count} of ${max} entries`;
  if (count < max * 0.8) return { check, severity: 'ok', title: 'the connection table has room', detail };
  const hint = 'raise net.netfilter.nf_conntrack_max';
  return { check, severity: 'warn', title: 'the connection table is nearly full', detail, hint };
}
