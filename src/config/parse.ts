/**
 * Settings from files, profiles and flags: defaults of the schema, then the profile, then the files in their order, then
 * flags. Either everything is right and the result is frozen, or one Fault tells all that is wrong at its place.
 */
import type { z } from 'zod';
import { Fault, type Problem } from '#model/fault.ts';
import type { Settings } from '#model/settings.ts';
import { perFamily } from '#net/per-family.ts';
import { crossCheck, familyOf, roadOf, subnetsOf } from './cross-checks.ts';
import {
  isGroup,
  type Layer,
  layerOfPaths,
  locate,
  mergeLayers,
  type Path,
  readDocument,
} from './document.ts';
import { API_VERSION, type RawSettings, settingsSchema } from './schema.ts';
import { nodeOf, routingOf } from './routing.ts';
import { keysAt } from './shape.ts';
import { nearest } from './suggest.ts';

export type SettingsDocument = { readonly origin: string; readonly text: string };
export type ParsedSettings = { readonly settings: Settings; readonly warnings: readonly Problem[] };

const HEAD = ['apiVersion', 'kind', 'profile'];
export const DEFAULT_PROFILE = 'flannel';

/**
 * `profiles`: YAML text by name. `overrides`: values by path (`underlay.mtu`), as flags give them.
 * Throws Fault `settings-invalid` with every problem, each at `origin:line path`.
 */
export function parseSettings(
  documents: readonly SettingsDocument[],
  profiles: Readonly<Record<string, string>>,
  overrides: Readonly<Record<string, unknown>> = {},
): ParsedSettings {
  const problems: Problem[] = [];
  const files = documents.map(({ origin, text }) => readDocument(origin, text, problems));
  files.push(layerOfPaths('flag', overrides));
  for (const file of files.slice(0, -1)) checkHead(file, problems);
  const own = mergeLayers(files);
  const { name, layer: profile } = readProfile(own, profiles, problems);
  const merged = withoutHead(mergeLayers([profile, own]));
  const parsed = settingsSchema.safeParse(merged.values, { reportInput: true, jitless: true });
  if (!parsed.success) {
    problems.push(...parsed.error.issues.flatMap((issue) => problemsOf(issue, merged)));
    throw invalid(problems);
  }
  const { errors, warnings } = crossCheck(parsed.data);
  const placed = ({ path, message }: { path: Path; message: string }): Problem => ({
    path: locate(merged, path),
    message,
  });
  problems.push(...errors.map(placed));
  if (problems.length > 0) throw invalid(problems);
  return { settings: deepFreeze(shape(name, parsed.data)), warnings: warnings.map(placed) };
}

function invalid(problems: readonly Problem[]): Fault {
  const count = problems.length === 1 ? 'one problem' : `${problems.length} problems`;
  return new Fault('settings-invalid', `the settings have ${count}`, { problems });
}

function checkHead(file: Layer, problems: Problem[]): void {
  const { apiVersion, kind } = file.values;
  if (Object.keys(file.values).length === 0) return;
  const say = (key: string, wanted: string): number =>
    problems.push({ path: locate(file, [key]), message: `must be ${wanted}` });
  if (apiVersion !== API_VERSION) say('apiVersion', API_VERSION);
  if (kind !== 'Settings') say('kind', 'Settings');
}

type Profile = { readonly name: string; readonly layer: Layer };

function readProfile(own: Layer, profiles: Readonly<Record<string, string>>, problems: Problem[]): Profile {
  const wanted = own.values['profile'] ?? DEFAULT_PROFILE;
  const name = typeof wanted === 'string' ? wanted : JSON.stringify(wanted);
  const text = Object.hasOwn(profiles, name) ? profiles[name] : undefined;
  if (text !== undefined) return { name, layer: readDocument(`profile ${name}`, text, problems) };
  const hint = didYouMean(name, Object.keys(profiles)) || `; there are ${Object.keys(profiles).join(', ')}`;
  problems.push({ path: locate(own, ['profile']), message: `there is no profile ${name}${hint}` });
  return { name, layer: { values: {}, places: new Map() } };
}

function withoutHead(layer: Layer): Layer {
  const rest = Object.entries(layer.values).filter(([key]) => !HEAD.includes(key));
  return { ...layer, values: Object.fromEntries(rest) };
}

function didYouMean(word: string, candidates: readonly string[]): string {
  const meant = nearest(word, candidates);
  return meant === undefined ? '' : `; did you mean ${meant}?`;
}

/** Strict objects report all unknown keys at once: one problem for each, at its own line. */
function problemsOf(issue: z.core.$ZodIssue, layer: Layer): Problem[] {
  const path = issue.path.map((step) => (typeof step === 'symbol' ? String(step) : step));
  if (issue.code !== 'unrecognized_keys') return [{ path: locate(layer, path), message: sentence(issue) }];
  const known = [...keysAt(settingsSchema, path), ...(path.length === 0 ? HEAD : [])];
  return issue.keys.map((key) => ({
    path: locate(layer, [...path, key]),
    message: `unknown setting${didYouMean(key, known)}`,
  }));
}

function sentence(issue: z.core.$ZodIssue): string {
  if (issue.code === 'invalid_value') return `must be one of ${issue.values.join(', ')}${given(issue.input)}`;
  if (issue.code !== 'invalid_type') return issue.message;
  if (issue.input === undefined) return 'is missing';
  if (!issue.message.startsWith('Invalid')) return issue.message;
  const wanted = { object: 'a group of settings', array: 'a list', boolean: 'true or false', string: 'text' };
  return `must be ${wanted[issue.expected as keyof typeof wanted] ?? `a ${issue.expected}`}${given(issue.input)}`;
}

function given(input: unknown): string {
  return isGroup(input) || Array.isArray(input) ? '' : `, not ${JSON.stringify(input)}`;
}

/** From the shape of the file to the shape of the code: families become a dimension. */
function shape(profile: string, raw: RawSettings): Settings {
  const { network, underlay, wiring, policy, listen, road, ...rest } = raw;
  const { inbound, outbound } = policy.failsafe;
  const subnets = perFamily((family) => {
    const found = subnetsOf(raw, family);
    return Array.isArray(found) ? undefined : found;
  });
  const { canReach, publicAddress, mtu, ...links } = underlay;
  const { mtu: podMtu, ...attached } = wiring;
  return {
    ...rest,
    profile,
    network: {
      name: network.name,
      subnets,
      nodeSubnets: perFamily((family) => familyOf(raw, family)?.nodeSubnet),
      lease: network.lease,
    },
    underlay: {
      ...links,
      publicAddress: perFamily((family) => publicAddress[`ipv${family}`]),
      ...(canReach === undefined ? {} : { canReach }),
      ...(mtu === undefined ? {} : { mtu }),
    },
    policy: {
      ...policy,
      failsafe: {
        ...(inbound === undefined ? {} : { inbound }),
        ...(outbound === undefined ? {} : { outbound }),
      },
    },
    node: nodeOf(raw),
    routing: routingOf(raw.routing, roadOf(raw).type.startsWith('bgp')),
    road: {
      ...roadOf(raw),
      vxlan: road.vxlan,
      ipip: tunnelOf(road.ipip),
      gre: tunnelOf(road.gre),
      fou: { port: road.fou.port, ...tunnelOf(road.fou) },
      layer2: road.layer2,
      wireguard: road.wireguard,
      auto: road.auto,
      ipsec: road.ipsec,
      udp: udpOf(road.udp),
    },
    wiring: { ...attached, ...(podMtu === undefined ? {} : { mtu: podMtu }) },
    ...(listen === undefined ? {} : { listen }),
  };
}

function tunnelOf({ ttl, tos }: RawSettings['road']['ipip']): Settings['road']['ipip'] {
  return { ttl, ...(tos === undefined ? {} : { tos }) };
}

function udpOf({ passwordFile, ...rest }: RawSettings['road']['udp']): Settings['road']['udp'] {
  return { ...rest, ...(passwordFile === undefined ? {} : { passwordFile }) };
}

function deepFreeze<T>(value: T): T {
  if (typeof value === 'object' && value !== null && !Object.isFrozen(value)) {
    Object.freeze(value);
    for (const inner of Object.values(value)) deepFreeze(inner);
  }
  return value;
}
