/** Checks of others on the same host: network providers, firewalls, network managers, kube-proxy. */
import type { HostFacts } from '#model/facts.ts';
import type { Finding } from '#model/finding.ts';
import { POD_LINK_PREFIX } from '#model/numbers.ts';

export function checkNeighbours(facts: HostFacts): Finding[] {
  return [
    checkCniOrder(facts),
    checkForeignLinks(facts),
    checkPort(facts),
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

function checkPort({ settings, udpSockets, underlay }: HostFacts): Finding {
  const check = 'vxlan-port';
  if (settings.road !== 'vxlan') return { check, severity: 'ok', title: 'no tunnel port is needed' };
  const other = udpSockets.find((socket) => socket.port === settings.vxlanPort);
  if (other === undefined) return { check, severity: 'ok', title: `UDP port ${settings.vxlanPort} is ours` };
  // Kernel VXLAN devices share one socket per port; the VNI keeps them apart.
  const rival = underlay.links.find((link) => !link.ours && link.type === 'vxlan');
  const owner = other.owner ?? rival?.name ?? 'another program';
  return {
    check,
    severity: 'error',
    title: `UDP port ${settings.vxlanPort} is taken`,
    detail: `by ${owner}`,
    hint: 'set road.vxlan.port, on all nodes alike',
  };
}

function checkFirewalls({ forwardChains, settings, services }: HostFacts): Finding[] {
  const check = 'forward-drop';
  const dropping = forwardChains.filter((chain) => chain.policy === 'drop' || chain.rejects === true);
  if (dropping.length === 0) return [{ check, severity: 'ok', title: 'nobody drops forwarded packets' }];
  const who = services.filter((name) => ['docker', 'firewalld', 'ufw'].includes(name));
  return dropping.map((chain): Finding => {
    const title = `${chain.family} ${chain.table} ${chain.chain} drops forwarded packets`;
    const detail = who.length === 0 ? {} : { detail: `active: ${who.join(', ')}` };
    if (settings.forwardAccept) {
      const hint = 'the agent keeps accepts for pods there; a reload of the firewall costs them for a moment';
      return { check, severity: 'info', title, ...detail, hint };
    }
    const hint = 'set forward.accept to true, or accept the pod range there yourself';
    return { check, severity: 'error', title, ...detail, hint };
  });
}

function checkNetworkd({ networkd, services }: HostFacts): Finding[] {
  if (!services.includes('systemd-networkd') || networkd === undefined) return [];
  const routes: Finding = networkd.manageForeignRoutes
    ? {
        check: 'networkd-routes',
        severity: 'warn',
        title: 'systemd-networkd removes routes that it did not make',
        hint: 'set ManageForeignRoutes=no in /etc/systemd/networkd.conf.d/',
      }
    : { check: 'networkd-routes', severity: 'ok', title: 'systemd-networkd leaves our routes alone' };
  const policy = networkd.macAddressPolicy;
  const mac: Finding =
    policy === undefined || policy === 'none'
      ? { check: 'networkd-mac', severity: 'ok', title: 'systemd leaves our MAC addresses alone' }
      : {
          check: 'networkd-mac',
          severity: 'info',
          title: `systemd gives new links MAC addresses (MACAddressPolicy=${policy})`,
          hint: 'a .link file with MACAddressPolicy=none for our links spares the agent the repair',
        };
  return [routes, mac];
}

function checkNetworkManager({ services, networkManagerUnmanaged, settings }: HostFacts): Finding[] {
  if (!services.includes('NetworkManager')) return [];
  const check = 'network-manager';
  const wanted = [
    `${POD_LINK_PREFIX}*`,
    'tartan*',
    ...(settings.wiring === 'bridge' ? [settings.bridge] : []),
  ];
  const covered = networkManagerUnmanaged ?? [];
  const missing = wanted
    .map((name) => `interface-name:${name}`)
    .filter((pattern) => !covered.includes(pattern));
  if (missing.length === 0)
    return [{ check, severity: 'ok', title: 'NetworkManager leaves our links alone' }];
  return [
    {
      check,
      severity: 'warn',
      title: 'NetworkManager may manage our links',
      detail: `not listed: ${missing.join(', ')}`,
      hint: 'add them to unmanaged-devices in /etc/NetworkManager/conf.d/tartan.conf',
    },
  ];
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
