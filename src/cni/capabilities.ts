/** Capabilities with rules of their own: port mappings and bandwidth (CNI CONVENTIONS.md). */
import { z } from 'zod';
import type { Bandwidth, PortMapping, Protocol } from '#model/attachment.ts';
import { addressText, count, optional } from './json.ts';

const port = z.number().int().min(1).max(65_535);
const PROTOCOLS: ReadonlySet<string> = new Set<Protocol>(['tcp', 'udp', 'sctp']);

/** The protocol is tcp where it is not said; an empty hostIP is every address. */
export const portMappingSchema = z
  .object({
    hostPort: port,
    containerPort: port,
    protocol: optional(z.string()),
    hostIP: optional(addressText),
  })
  .transform((mapping, context): PortMapping => {
    const protocol = (mapping.protocol ?? 'tcp').toLowerCase();
    if (!PROTOCOLS.has(protocol)) {
      context.addIssue({ code: 'custom', path: ['protocol'], message: 'must be tcp, udp or sctp' });
      return z.NEVER;
    }
    const { hostPort, containerPort, hostIP } = mapping;
    const ports = { hostPort, containerPort, protocol: protocol as Protocol };
    return hostIP === undefined ? ports : { ...ports, hostIp: hostIP };
  });

/** A burst has to fit the kernel's 32-bit count of bytes (reference bandwidth plugin). */
const burst = count.max(8 * 0xffff_ffff);

/** Rates in bit/s and bursts in bits; rate and burst go together, and 0 means no limit. */
export const bandwidthSchema = z
  .object({
    ingressRate: optional(count),
    ingressBurst: optional(burst),
    egressRate: optional(count),
    egressBurst: optional(burst),
  })
  .transform((limits, context): Bandwidth => {
    const { ingressRate = 0, ingressBurst = 0, egressRate = 0, egressBurst = 0 } = limits;
    if ((ingressRate === 0) !== (ingressBurst === 0))
      context.addIssue('ingressRate and ingressBurst go together');
    if ((egressRate === 0) !== (egressBurst === 0))
      context.addIssue('egressRate and egressBurst go together');
    return {
      ...(ingressRate === 0 ? {} : { ingressRate, ingressBurst }),
      ...(egressRate === 0 ? {} : { egressRate, egressBurst }),
    };
  });
