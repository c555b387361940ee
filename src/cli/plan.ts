/**
 * `tartan plan`: what a node would look like, without touching one. Settings and a scene (the node's underlay and subnets,
 * and what its peers announce) go in; the items come out in the words of ip, bridge and nft. Needs no root and no agent.
 */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { parse } from 'yaml';
import { z } from 'zod';
import type { Self } from '#backends/backend.ts';
import { checkRoad, planNode, planPeer } from '#backends/node-plan.ts';
import { Fault, type Problem } from '#model/fault.ts';
import { hostState } from '#model/host.ts';
import { ROAD_NAMES, TUNNEL_CIPHERS } from '#model/settings.ts';
import { showItems } from '#model/show.ts';
import type { UnderlayChoice } from '#model/underlay.ts';
import type { IpsecSelf } from '#model/ipsec.ts';
import type { NodeAdvert } from '#model/world.ts';
import type { PerFamily } from '#net/per-family.ts';
import { parseAddress } from '#net/address.ts';
import { parseMac } from '#net/mac.ts';
import { parsePrefix, type Prefix } from '#net/prefix.ts';
import { configOf, formatOf, textOption, withConfig, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import type { Make } from './program.ts';
import { readSettings } from './settings-file.ts';

export function planCommand(make: Make): Command {
  const command = make('plan', (options) => {
    const { settings } = readSettings(configOf(options));
    const scene = readScene(textOption(options, 'scene') ?? '');
    const self: Self = {
      name: settings.node.name,
      subnets: scene.subnets,
      underlay: scene.underlay,
      settings,
      ...(scene.wireguardKey === undefined ? {} : { wireguardKey: scene.wireguardKey }),
      ...(scene.ipsec === undefined ? {} : { ipsec: scene.ipsec }),
      ...(scene.tunnelKeys === undefined ? {} : { tunnelKeys: scene.tunnelKeys }),
    };
    const problems = checkRoad(self);
    if (problems.length > 0) throw new Fault('settings-invalid', 'the road cannot be built', { problems });
    const plans = scene.nodes.filter(({ name }) => name !== self.name).map((node) => planPeer(self, node));
    const items = hostState([...planNode(self), ...plans.flatMap((plan) => plan.items)]);
    const unreachable = plans.flatMap((plan) => plan.unreachable);
    print(formatOf(options), { items: [...items.values()], unreachable }, (plan) =>
      [
        showItems(plan.items).trimEnd(),
        ...plan.unreachable.map(({ peer, why }) => `# ${peer} cannot be reached: ${why}`),
      ].join('\n'),
    );
    return unreachable.length === 0 ? EXIT.ok : EXIT.found;
  });
  return withOutput(withConfig(command))
    .description('what a node would look like, in ip and nft syntax, without touching it')
    .requiredOption('--scene <file>', 'YAML: subnets, underlay, nodes (see docs/guide/plan.md)');
}

type Scene = {
  readonly subnets: PerFamily<Prefix>;
  readonly underlay: UnderlayChoice;
  readonly nodes: readonly NodeAdvert[];
  readonly wireguardKey?: string;
  readonly ipsec?: IpsecSelf;
  readonly tunnelKeys?: readonly string[];
};

function text<T extends string>(kind: string, parseText: (text: string) => T | undefined) {
  return z.string().transform((value, context) => {
    const parsed = parseText(value);
    if (parsed === undefined) context.addIssue(`is not ${kind}`);
    return parsed as T;
  });
}
const address = text('an IP address', parseAddress);
const prefix = text('a prefix', parsePrefix);
const mac = text('a MAC address', parseMac);
function perFamily<T extends z.ZodType>(item: T) {
  return z.strictObject({ 4: item.optional(), 6: item.optional() });
}

const ipsecPair = {
  nonce: z.string(),
  again: z.record(z.string(), z.int()).default({}),
  secrets: z.array(z.string()),
};

const sceneSchema = z.strictObject({
  subnets: perFamily(prefix),
  underlay: z.strictObject({
    link: z.string(),
    mtu: z.int(),
    local: perFamily(address),
    announced: perFamily(address),
    connected: z.array(prefix),
    why: z.string().default('given by the scene'),
  }),
  /** Public key of the node, for the road wireguard. */
  wireguardKey: z.string().optional(),
  /** Its nonce and secrets' names, for the road ipsec. */
  ipsec: z.strictObject({ ...ipsecPair, announced: z.array(z.string()) }).optional(),
  /** Its public keys in the userspace tunnel, for the road udp with a cipher. */
  tunnelKeys: z.array(z.string()).optional(),
  nodes: z.array(
    z.strictObject({
      name: z.string(),
      addresses: perFamily(address),
      subnets: perFamily(prefix),
      road: z.enum(ROAD_NAMES),
      accepts: z.array(z.enum(ROAD_NAMES)).optional(),
      connected: z.array(prefix).optional(),
      vxlan: z.strictObject({ vni: z.int(), port: z.int(), mac: perFamily(mac) }).optional(),
      wireguard: z.strictObject({ publicKey: z.string(), port: z.int() }).optional(),
      inside: perFamily(address).optional(),
      fou: z.strictObject({ port: z.int() }).optional(),
      layer2: z
        .strictObject({
          vni: z.int(),
          port: z.int(),
          stations: z.array(z.strictObject({ mac, addresses: z.array(address) })).optional(),
        })
        .optional(),
      ipsec: z.strictObject({ ...ipsecPair, port: z.int(), udp: z.boolean() }).optional(),
      udp: z
        .strictObject({
          port: z.int(),
          cipher: z.enum(TUNNEL_CIPHERS),
          publicKeys: z.array(z.string()).optional(),
        })
        .optional(),
      mtu: z.int(),
      ready: z.boolean().default(true),
    }),
  ),
});

/** Throws Fault `settings-invalid` with every problem. */
export function readScene(file: string): Scene {
  let raw: unknown;
  try {
    raw = parse(readFileSync(file, 'utf8'));
  } catch (cause) {
    throw new Fault('settings-invalid', `cannot read the scene ${file}: ${String(cause)}`, { cause });
  }
  const scene = sceneSchema.safeParse(raw);
  if (scene.success) return scene.data as Scene;
  const problems: Problem[] = scene.error.issues.map(({ path, message }) => ({
    path: path.join('.'),
    message,
  }));
  throw new Fault('settings-invalid', `the scene ${file} is not usable`, { problems });
}
