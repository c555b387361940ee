/**
 * flannel's net-conf.json (flannel pkg/subnet/config.go) as a fragment of a settings file. Keys are matched whatever
 * their case, as Go's decoder does; unlike there, an unknown key is told of.
 */
import { Fault, type Problem } from '#model/fault.ts';
import type { RoadName } from '#model/settings.ts';
import { isGroup } from './document.ts';

type Fragment = Record<string, unknown>;
export type NetConf = { readonly fragment: Readonly<Fragment>; readonly warnings: readonly Problem[] };

/** flannel's key → path in our settings. */
const KEYS: ReadonlyMap<string, string> = new Map([
  ['network', 'network.ipv4.range'],
  ['subnetlen', 'network.ipv4.subnetLength'],
  ['subnetmin', 'network.ipv4.subnetMin'],
  ['subnetmax', 'network.ipv4.subnetMax'],
  ['ipv6network', 'network.ipv6.range'],
  ['ipv6subnetlen', 'network.ipv6.subnetLength'],
  ['ipv6subnetmin', 'network.ipv6.subnetMin'],
  ['ipv6subnetmax', 'network.ipv6.subnetMax'],
]);
/** Keys that are read apart, or have nothing to do here. */
const OTHER_KEYS = new Set(['enableipv4', 'enableipv6', 'enablenftables', 'backend']);

/** A backend of flannel as a road; `notes` are keys that mean something there and nothing here, with the reason. */
type Backend = {
  readonly road: RoadName;
  readonly keys: ReadonlyMap<string, string>;
  readonly notes?: Readonly<Record<string, string>>;
};
const MTU = ['mtu', 'underlay.mtu'] as const;
const BACKENDS: Readonly<Record<string, Backend>> = {
  vxlan: {
    road: 'vxlan',
    keys: new Map([
      ['vni', 'road.vxlan.vni'],
      ['port', 'road.vxlan.port'],
      ['directrouting', 'road.vxlan.directRouting'],
      ['learning', 'road.vxlan.learning'],
      ['gbp', 'road.vxlan.gbp'],
      MTU,
    ]),
  },
  'host-gw': { road: 'host-gw', keys: new Map() },
  alloc: { road: 'alloc', keys: new Map() },
  ipip: { road: 'ipip', keys: new Map([['directrouting', 'road.mode']]) },
  udp: { road: 'udp', keys: new Map([['port', 'road.udp.port'], MTU]) },
  wireguard: {
    road: 'wireguard',
    keys: new Map([['listenport', 'road.wireguard.port'], MTU]),
    notes: {
      listenportv6: 'has no effect: one device carries both families, at ListenPort',
      mode: 'has no effect: one device carries both families, over IPv4 where the node has it',
      persistentkeepaliveinterval: 'has no effect: it is 25 seconds',
      psk: 'has no effect: nodes are known by their keys alone, so the encryption is not as strong as a secret PSK may have made it',
    },
  },
  ipsec: {
    road: 'ipsec',
    keys: new Map([['udpencap', 'road.ipsec.udp'], MTU]),
    notes: {
      psk: 'is not taken over: secrets are in a file of their own (road.ipsec.secretsFile)',
      espproposal: 'has no effect: it is AES-256-GCM',
    },
  },
};

/** What is false or true there and a word here. */
const WORDS: Readonly<Record<string, readonly [string, string]>> = {
  'road.mode': ['Always', 'CrossSubnet'],
  'road.ipsec.udp': ['auto', 'always'],
};

const CLOUD = 'routes in a cloud’s table are the cloud controller’s to write: take `alloc`';
/** Backends that there will not be. */
const REFUSED: Readonly<Record<string, string>> = {
  extension:
    'is refused: its commands get what other nodes wrote into the store, and nothing would repair what they made; write a unit of your own that follows `tartan get nodes -o json`, and take `alloc`',
  'tencent-vpc': CLOUD,
  'aws-vpc': CLOUD,
  gce: CLOUD,
  'ali-vpc': CLOUD,
};

/**
 * The fragment goes to parseSettings as overrides' values (paths with dots), so that it is checked like any settings.
 * Throws Fault `settings-invalid` when the text is not a JSON object, or names a backend that is none here.
 */
export function fromFlannelNetConf(jsonText: string): NetConf {
  const conf = lowerKeys(readObject(jsonText));
  const warnings: Problem[] = [];
  const fragment: Fragment = {};
  take({ conf, keys: KEYS, ignored: OTHER_KEYS, at: '' }, fragment, warnings);
  // Switched off as a whole: what was written of the family has no effect.
  if (conf.get('enableipv4') === false) dropFamily(fragment, 'ipv4');
  if (conf.get('enableipv6') !== true) dropFamily(fragment, 'ipv6');
  takeBackend(conf.get('backend'), fragment, warnings);
  return { fragment, warnings };
}

function takeBackend(given: unknown, fragment: Fragment, warnings: Problem[]): void {
  if (given !== undefined && !isGroup(given)) throw invalid('Backend', 'must be an object');
  const conf = lowerKeys(given ?? {});
  const { keys, road, notes = {} } = backendOf(conf.get('type'), warnings);
  const ignored = new Set(['type', ...Object.keys(notes)]);
  take({ conf, keys, ignored, at: 'Backend.' }, fragment, warnings);
  for (const [key, message] of Object.entries(notes))
    if (isGiven(conf.get(key))) warnings.push({ path: `Backend.${key}`, message });
  fragment['road.type'] = road;
  for (const [path, [no, yes]] of Object.entries(WORDS))
    if (typeof fragment[path] === 'boolean') fragment[path] = fragment[path] ? yes : no;
}

function backendOf(type: unknown, warnings: Problem[]): Backend {
  const missing = !isGiven(type);
  if (missing)
    warnings.push({ path: 'Backend.Type', message: 'is missing: vxlan is taken (flannel would take udp)' });
  const name = missing ? 'vxlan' : String(type).toLowerCase();
  const backend = Object.hasOwn(BACKENDS, name) ? BACKENDS[name] : undefined;
  if (backend !== undefined) return backend;
  const why = Object.hasOwn(REFUSED, name) ? REFUSED[name] : undefined;
  throw invalid('Backend.Type', `${name} ${why ?? `is none of ${Object.keys(BACKENDS).join(', ')}`}`);
}

function readObject(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw invalid('net-conf.json', error instanceof Error ? error.message : String(error));
  }
  if (isGroup(value)) return value;
  throw invalid('net-conf.json', 'must be a JSON object');
}

function invalid(path: string, message: string): Fault {
  return new Fault('settings-invalid', `${path}: ${message}`, { problems: [{ path, message }] });
}

function lowerKeys(object: Readonly<Record<string, unknown>>): Map<string, unknown> {
  return new Map(Object.entries(object).map(([key, value]) => [key.toLowerCase(), value]));
}

type Part = {
  readonly conf: ReadonlyMap<string, unknown>;
  readonly keys: ReadonlyMap<string, string>;
  readonly ignored: ReadonlySet<string>;
  readonly at: string;
};

/** Zero and the empty string are Go's "not given". */
function isGiven(value: unknown): boolean {
  return value !== undefined && value !== '' && value !== 0;
}

function take({ conf, keys, ignored, at }: Part, fragment: Fragment, warnings: Problem[]): void {
  for (const [key, value] of conf) {
    const path = keys.get(key);
    if (path !== undefined && isGiven(value)) fragment[path] = value;
    else if (path === undefined && !ignored.has(key)) {
      warnings.push({ path: `${at}${key}`, message: 'is unknown and has no effect' });
    }
  }
}

function dropFamily(fragment: Fragment, family: string): void {
  for (const path of Object.keys(fragment)) if (path.startsWith(`network.${family}.`)) delete fragment[path];
  fragment[`network.${family}`] = null;
}
