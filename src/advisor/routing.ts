/** Checks of what BIRD needs on a host. */
import type { HostFacts } from '#model/facts.ts';
import type { Finding } from '#model/finding.ts';

/** Nothing where no routing protocol is spoken. */
export function checkRouting({ routing, filterChains }: HostFacts): Finding[] {
  if (routing === undefined) return [];
  return [
    checkDaemon(routing),
    checkService(routing),
    checkPort(routing),
    ...checkWay(routing, filterChains),
  ];
}

type Facts = NonNullable<HostFacts['routing']>;

function checkDaemon({ installed }: Facts): Finding {
  const check = 'bird';
  if (installed) return { check, severity: 'ok', title: 'BIRD is installed' };
  return {
    check,
    severity: 'error',
    title: 'BIRD is not installed',
    hint: 'apt-get install bird2, then systemctl disable --now bird: the agent starts a daemon of its own',
  };
}

/** It would write and remove routes by a configuration of its own. */
function checkService({ otherDaemon }: Facts): Finding {
  const check = 'bird-service';
  if (!otherDaemon) return { check, severity: 'ok', title: 'no other BIRD runs on this host' };
  return {
    check,
    severity: 'warn',
    title: 'another BIRD runs on this host',
    detail: 'Debian’s bird2 starts one as a service; the agent has a daemon of its own',
    hint: 'systemctl disable --now bird, unless its configuration is yours and leaves pods’ routes alone',
  };
}

function checkPort({ port, portTaken }: Facts): Finding {
  const check = 'bgp-port';
  if (!portTaken) return { check, severity: 'ok', title: `TCP port ${port} is free, or ours` };
  return {
    check,
    severity: 'error',
    title: `TCP port ${port} is taken`,
    detail: 'by another routing daemon, as it seems',
    hint: 'stop it (ss -ltnp tells which), or set routing.port, on all nodes alike',
  };
}

/** Nobody accepts BGP for us: to whom the port is open is the operator's to say. */
function checkWay({ port }: Facts, chains: HostFacts['filterChains']): Finding[] {
  const check = 'bgp-firewall';
  const dropping = chains.filter(
    ({ hook, policy, rejects }) => hook === 'input' && (policy === 'drop' || rejects === true),
  );
  if (dropping.length === 0) return [];
  return [
    {
      check,
      severity: 'info',
      title: `a firewall decides who reaches TCP port ${port}`,
      detail: dropping.map(({ family, table, chain }) => `${family} ${table} ${chain}`).join(', '),
      hint: `accept TCP port ${port} there from nodes and from peers outside (UDP 3784 and 4784 with BFD)`,
    },
  ];
}
