/** The answer to ADD: what was made, as the CNI tells it. */
import type { Attachment } from '#model/attachment.ts';
import type { CniDns, CniInterface, CniResult, CniRoute } from '#model/cni-result.ts';
import { addressFamily } from '#net/address.ts';
import { parseInterfaceAddress, prefixFamily } from '#net/prefix.ts';
import { hostMac } from './names.ts';
import { podRoutes, type WiringContext } from './pod.ts';

/** Interfaces in the reference's order: bridge (if any), host end, container end; addresses belong to the last. */
export function toResult(attachment: Attachment, context: WiringContext, dns: CniDns = {}): CniResult {
  const { wiring, mac, mtu, ifname, netns, gateways } = attachment;
  if (wiring === 'loopback') return loopbackResult(ifname, netns);
  const host = wiring === 'chained' ? [] : hostInterfaces(attachment, wiring, context);
  const interfaces = [...host, { name: ifname, mac, mtu, sandbox: netns }];
  return {
    interfaces,
    ips: attachment.addresses.map((address) => ({
      address,
      gateway: gateways.find((gateway) => addressFamily(gateway) === prefixFamily(address)),
      interface: interfaces.length - 1,
    })),
    routes: podRoutes(attachment).map(({ prefix, via, ...rest }): CniRoute => ({
      dst: prefix,
      gw: via,
      ...rest,
    })),
    dns,
  };
}

function hostInterfaces(
  attachment: Attachment,
  wiring: 'routed' | 'bridge',
  context: WiringContext,
): CniInterface[] {
  const { hostLink: name, mtu } = attachment;
  const end = { name, mac: hostMac(attachment, wiring), mtu };
  return wiring === 'bridge' ? [{ name: context.bridge.name }, end] : [end];
}

function loopbackResult(name: string, sandbox: string): CniResult {
  const ips = ['127.0.0.1/8', '::1/128']
    .map(parseInterfaceAddress)
    .filter((address) => address !== undefined);
  return {
    interfaces: [{ name, mac: '00:00:00:00:00:00', sandbox }],
    ips: ips.map((address) => ({ address, interface: 0 })),
    routes: [],
    dns: {},
  };
}
