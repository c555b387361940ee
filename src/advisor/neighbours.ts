/** Checks of others on the same host: network providers, firewalls, network managers, kube-proxy. */
import type { HostFacts } from '#model/facts.ts';
import type { Finding } from '#model/finding.ts';
import { NETWORK_MANAGER_FILE, NETWORKD_FILE } from '#model/neighbours.ts';
import { checkFirewalls } from './firewalls.ts';

export function checkNeighbours(facts: HostFacts): Finding[] {
  return [
    checkCniOrder(facts),
    checkForeignLinks(facts),
    ...checkPorts(facts),
    ...checkFirewalls(facts),
    ...checkNetworkd(facts),
    ...checkNetworkManager(facts),
    ...checkKubeProxy(facts),
  ];
}

/** Runtimes take the first file in the order of names (libcni). */
function checkCniOrder({ cniConfigs, ownCniConfig, settings }: HostFacts): Finding {
  const check = 'cni-order';
  if (!cniConfigs.includes(ownCniConfig)) {
    const hint = 'tartan install writes it';
    return { check, severity: 'warn', title: `${settings.cniConf}/${ownCniConfig} is not there`, hint };
  }
  const before = cniConfigs.filter((name) => name < ownCniConfig).sort();
  if (before.length === 0) return { check, severity: 'ok', title: 'runtimes take our network configuration' };
  return {
    check,
    severity: 'error',
    title: 'runtimes take another network configuration',
    detail: `${before.join(', ')} sort${before.length === 1 ? 's' : ''} before ${ownCniConfig}`,
    hint: `remove what is left over from ${settings.cniConf}`,
  };
}

/** Devices by which other providers are known. */
const PROVIDERS: readonly (readonly [RegExp, string])[] = [
  [/^flannel[.-]/, 'flannel'],
  [/^cilium_/, 'Cilium'],
  [/^(cali|vxlan\.calico|wireguard\.cali)/, 'Calico'],
  [/^(weave|vethwe)/, 'Weave Net'],
  [/^(kube-bridge|tun-)/, 'kube-router'],
];

function checkForeignLinks({ underlay, settings }: HostFacts): Finding {
  const check = 'other-providers';
  const links = underlay.links.filter((link) => !link.ours);
  const found = links.flatMap(({ name }) => {
    const provider = PROVIDERS.find(([pattern]) => pattern.test(name))?.[1];
    if (provider !== undefined) return [`${name} (${provider})`];
    return name === settings.bridge && settings.wiring === 'bridge'
      ? [`${name} (the bridge we would make)`]
      : [];
  });
  if (found.length === 0) return { check, severity: 'ok', title: 'no other network provider is seen' };
  return {
    check,
    severity: 'warn',
    title: 'devices of other network providers are there',
    detail: found.join(', '),
    hint: 'stop the other provider and delete its devices, or give ours other names, ports and ranges',
  };
}

function checkPorts(facts: HostFacts): Finding[] {
  const ports = facts.settings.roads.flatMap(({ name, port }) =>
    port === undefined ? [] : [{ name, port }],
  );
  if (ports.length === 0)
    return [{ check: 'tunnel-port', severity: 'ok', title: 'no tunnel port is needed' }];
  return ports.map(({ name, port }) => checkPort(facts, name, port));
}

function checkPort({ udpSockets, underlay }: HostFacts, road: string, port: number): Finding {
  const check = 'tunnel-port';
  const other = udpSockets.find((socket) => socket.port === port);
  if (other === undefined) return { check, severity: 'ok', title: `UDP port ${port} is ours` };
  // Kernel VXLAN devices share one socket per port; the VNI keeps them apart.
  const rival = underlay.links.find((link) => !link.ours && link.type === road);
  const owner = other.owner ?? rival?.name ?? 'another program';
  return {
    check,
    severity: 'error',
    title: `UDP port ${port} is taken`,
    detail: `by ${owner}`,
    hint: `set road.${road}.port, on all nodes alike`,
  };
}

/** Its restart, and each new configuration of a link, removes routes on that link which it did not make. */
function checkNetworkd({ networkd, choice, underlay, settings }: HostFacts): Finding[] {
  if (networkd === undefined) return [];
  const check = 'networkd-routes';
  const exposed = choice !== undefined && networkd.managed.includes(choice.link);
  const routes: Finding =
    networkd.manageForeignRoutes && exposed
      ? {
          check,
          severity: settings.roads.every(({ title }) => title !== undefined) ? 'info' : 'warn',
          title: `systemd-networkd removes routes of others on ${choice.link} when it starts`,
          detail: 'the agent puts ours back at once; packets in between are lost',
          hint: 'set ManageForeignRoutes=no under [Network] in /etc/systemd/networkd.conf.d/tartan.conf',
        }
      : { check, severity: 'ok', title: 'systemd-networkd leaves our routes alone' };
  const hint = `tartan install writes ${NETWORKD_FILE}; networkctl reload reads it`;
  return [routes, judgeManaged('networkd-links', 'systemd-networkd', ours(networkd.managed, underlay), hint)];
}

function checkNetworkManager({ networkManager, underlay }: HostFacts): Finding[] {
  if (networkManager === undefined) return [];
  const hint = `tartan install writes ${NETWORK_MANAGER_FILE}; nmcli general reload conf reads it`;
  const managed = ours(networkManager.managed, underlay);
  return [judgeManaged('network-manager', 'NetworkManager', managed, hint)];
}

function ours(names: readonly string[], { links }: HostFacts['underlay']): string[] {
  const own = new Set(links.filter((link) => link.ours).map(({ name }) => name));
  return names.filter((name) => own.has(name));
}

function judgeManaged(check: string, who: string, managed: readonly string[], hint: string): Finding {
  if (managed.length === 0) return { check, severity: 'ok', title: `${who} leaves our links alone` };
  return { check, severity: 'warn', title: `${who} manages links of ours`, detail: managed.join(', '), hint };
}

function checkKubeProxy({ kubeProxy }: HostFacts): Finding[] {
  if (kubeProxy === undefined) return [];
  const check = 'kube-proxy';
  if (kubeProxy.mode !== 'ipvs')
    return [{ check, severity: 'ok', title: `kube-proxy uses ${kubeProxy.mode}` }];
  return [
    {
      check,
      severity: 'info',
      title: 'kube-proxy uses ipvs',
      detail: 'service addresses are local there, so a host port equal to a service port shadows the service',
      hint: 'use the nftables mode',
    },
  ];
}
