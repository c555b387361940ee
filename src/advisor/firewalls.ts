/** Checks of other programs' firewalls, each with the commands that let pods and the tunnel through. */
import type { ForeignChain, HostFacts, LegacyChain, RoadFacts } from '#model/facts.ts';
import type { Finding } from '#model/finding.ts';
import { familyValues } from '#net/per-family.ts';
import { prefixFamily } from '#net/prefix.ts';

type Hook = ForeignChain['hook'];

const WHAT: Readonly<Record<Hook, { readonly check: string; readonly packets: string }>> = {
  forward: { check: 'forward-drop', packets: 'forwarded packets' },
  input: { check: 'input-drop', packets: 'packets to this host' },
};

export function checkFirewalls(facts: HostFacts): Finding[] {
  const hooks: Hook[] = tunnelsOf(facts).length > 0 ? ['forward', 'input'] : ['forward'];
  return [...hooks.flatMap((hook) => checkHook(facts, hook)), ...checkLegacy(facts)];
}

/** Roads whose outer packets this host must take in. */
function tunnelsOf({ settings: { roads } }: HostFacts): readonly RoadFacts[] {
  return roads.filter(({ protocols }) => protocols.length > 0);
}

/** What is asked of a firewall for the tunnels: UDP ports, and protocols by number. */
function openingsOf(facts: HostFacts): { readonly ports: number[]; readonly protocols: number[] } {
  const tunnels = tunnelsOf(facts);
  return {
    ports: tunnels.flatMap(({ port }) => (port === undefined ? [] : [port])),
    protocols: tunnels.flatMap(({ port, protocols }) => (port === undefined ? protocols : [])),
  };
}

function checkHook(facts: HostFacts, hook: Hook): Finding[] {
  const { check, packets } = WHAT[hook];
  const dropping = facts.filterChains.filter(
    (chain) => chain.hook === hook && (chain.policy === 'drop' || chain.rejects === true),
  );
  if (dropping.length === 0) return [{ check, severity: 'ok', title: `nobody drops ${packets}` }];
  return dropping.map((chain) => judge(facts, chain));
}

function judge(facts: HostFacts, chain: ForeignChain): Finding {
  const { check, packets } = WHAT[chain.hook];
  const title = `${chain.family} ${chain.table} ${chain.chain} drops ${packets}`;
  const owner = ownerOf(facts, chain);
  const detail = owner === undefined ? {} : { detail: `it is of ${owner}` };
  if (chain.refused !== undefined) {
    const why = `accepts of ours are refused there: ${chain.refused}`;
    return { check, severity: 'error', title, detail: why, hint: advice(facts, chain.hook, owner) };
  }
  if (!facts.settings.forwardAccept)
    return { check, severity: 'error', title, ...detail, hint: advice(facts, chain.hook, owner) };
  const kept = chain.hook === 'forward' ? 'pods' : 'the tunnel';
  const hint = `the agent keeps accepts for ${kept} there; a reload of the firewall costs them for a moment`;
  return { check, severity: 'info', title, ...detail, hint };
}

function ownerOf({ services }: HostFacts, { table, userChain }: ForeignChain): string | undefined {
  if (table === 'firewalld') return 'firewalld';
  if (services.includes('ufw')) return 'ufw';
  return userChain === 'DOCKER-USER' ? 'docker' : undefined;
}

/** Commands for one hook, ready to be typed. */
function advice(facts: HostFacts, hook: Hook, owner: string | undefined): string {
  if (owner === 'firewalld') return firewalldCommands(facts, hook).join('; ');
  if (owner === 'ufw') return ufwCommands(facts, hook).join('; ');
  if (facts.settings.forwardAccept) return iptablesCommands(facts, hook, '').join('; ');
  return `set forward.accept to true, or type: ${iptablesCommands(facts, hook, '').join('; ')}`;
}

function ufwCommands(facts: HostFacts, hook: Hook): string[] {
  const { settings, choice } = facts;
  if (hook === 'forward')
    return familyValues(settings.ranges).flatMap((range) => [
      `ufw route allow from ${range}`,
      `ufw route allow to ${range}`,
    ]);
  const [from = 'any'] = choice?.connected ?? [];
  const { ports, protocols } = openingsOf(facts);
  return [
    ...ports.map((port) => `ufw allow proto udp from ${from} to any port ${port}`),
    // ufw's own words know few protocols.
    ...protocols.map(
      (number) =>
        `add "-A ufw-before-input -p ${number} -s ${from} -j ACCEPT" to /etc/ufw/before.rules; ufw reload`,
    ),
  ];
}

/** The port goes to the default zone, where a link is unless somebody put it elsewhere. */
function firewalldCommands(facts: HostFacts, hook: Hook): string[] {
  const { ports, protocols } = openingsOf(facts);
  const changes =
    hook === 'forward'
      ? familyValues(facts.settings.ranges).map((range) => `--zone=trusted --add-source=${range}`)
      : [
          ...ports.map((port) => `--add-port=${port}/udp`),
          ...protocols.map((number) => `--add-protocol=${number}`),
        ];
  return [...changes.map((change) => `firewall-cmd --permanent ${change}`), 'firewall-cmd --reload'];
}

function iptablesCommands(facts: HostFacts, hook: Hook, kind: '' | '-legacy'): string[] {
  const { settings } = facts;
  if (hook === 'input') {
    const { ports, protocols } = openingsOf(facts);
    return [
      ...ports.map((port) => `iptables${kind} -I INPUT -p udp --dport ${port} -j ACCEPT`),
      ...protocols.map((number) => `iptables${kind} -I INPUT -p ${number} -j ACCEPT`),
    ];
  }
  return familyValues(settings.ranges).flatMap((range) => {
    const program = `${prefixFamily(range) === 4 ? 'iptables' : 'ip6tables'}${kind}`;
    return ['-s', '-d'].map((side) => `${program} -I FORWARD ${side} ${range} -j ACCEPT`);
  });
}

/** The legacy modules and nf_tables both see every packet: a drop in either is a drop. */
function checkLegacy(facts: HostFacts): Finding[] {
  const check = 'legacy-iptables';
  const chains = facts.legacyChains ?? [];
  if (chains.length === 0)
    return [{ check, severity: 'ok', title: 'no rules of legacy iptables are in force' }];
  const open = chains.filter((chain) => bites(facts, chain));
  if (open.length === 0)
    return [{ check, severity: 'info', title: 'legacy iptables is in use and lets pods through' }];
  return open.map((chain) => judgeLegacy(facts, chain));
}

function bites(facts: HostFacts, { chain, family, policy, accepts }: LegacyChain): boolean {
  if (policy === 'accept' || accepts === true) return false;
  return chain === 'INPUT'
    ? tunnelsOf(facts).length > 0 && family === (isOnlyIpv6(facts) ? 6 : 4)
    : facts.settings.ranges[family] !== undefined;
}

/** Tunnels go over IPv4 where the node has it. */
function isOnlyIpv6({ choice }: HostFacts): boolean {
  return choice !== undefined && choice.local[4] === undefined;
}

function judgeLegacy(facts: HostFacts, { chain, family, policy }: LegacyChain): Finding {
  const check = 'legacy-iptables';
  const program = family === 4 ? 'iptables-legacy' : 'ip6tables-legacy';
  if (policy === undefined) {
    const title = `legacy iptables (IPv${family}) is in use, and what it does cannot be read`;
    return { check, severity: 'warn', title, hint: `see ${program} -S; it must accept pods and the tunnel` };
  }
  const hook = chain === 'INPUT' ? 'input' : 'forward';
  const commands = facts.services.includes('ufw')
    ? ufwCommands(facts, hook)
    : iptablesCommands(facts, hook, '-legacy');
  return {
    check,
    severity: 'error',
    title: `${program} ${chain} drops ${WHAT[hook].packets}`,
    detail: 'no nftables rule reaches it, so the agent cannot accept there',
    hint: commands.join('; '),
  };
}
