/**
 * flannel's net-conf.json (flannel pkg/subnet/config.go) as a fragment of a settings file. Keys are matched whatever
 * their case, as Go's decoder does; unlike there, an unknown key is told of.
 */
import { Fault, type Problem } from '#model/fault.ts';
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
const BACKEND_KEYS: ReadonlyMap<string, string> = new Map([
  ['type', 'road.type'],
  ['vni', 'road.vxlan.vni'],
  ['port', 'road.vxlan.port'],
  ['directrouting', 'road.vxlan.directRouting'],
  ['learning', 'road.vxlan.learning'],
  ['gbp', 'road.vxlan.gbp'],
  ['mtu', 'underlay.mtu'],
]);

/**
 * The fragment goes to parseSettings as overrides' values (paths with dots), so that it is checked like any settings.
 * Throws Fault `settings-invalid` when the text is not a JSON object.
 */
export function fromFlannelNetConf(jsonText: string): NetConf {
  const conf = lowerKeys(readObject(jsonText));
  const warnings: Problem[] = [];
  const fragment: Fragment = {};
  take({ conf, keys: KEYS, ignored: OTHER_KEYS, at: '' }, fragment, warnings);
  // Switched off as a whole: what was written of the family has no effect.
  if (conf.get('enableipv4') === false) dropFamily(fragment, 'ipv4');
  if (conf.get('enableipv6') !== true) dropFamily(fragment, 'ipv6');
  const backend = conf.get('backend');
  if (isGroup(backend)) {
    take(
      { conf: lowerKeys(backend), keys: BACKEND_KEYS, ignored: new Set(), at: 'Backend.' },
      fragment,
      warnings,
    );
  } else if (backend !== undefined) throw notAnObject('Backend', 'must be an object');
  if (fragment['road.type'] === undefined) {
    fragment['road.type'] = 'vxlan';
    warnings.push({ path: 'Backend.Type', message: 'is missing: vxlan is taken (flannel would take udp)' });
  }
  return { fragment, warnings };
}

function readObject(text: string): Readonly<Record<string, unknown>> {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw notAnObject('net-conf.json', error instanceof Error ? error.message : String(error));
  }
  if (isGroup(value)) return value;
  throw notAnObject('net-conf.json', 'must be a JSON object');
}

function notAnObject(path: string, message: string): Fault {
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
function take({ conf, keys, ignored, at }: Part, fragment: Fragment, warnings: Problem[]): void {
  for (const [key, value] of conf) {
    const path = keys.get(key);
    if (path !== undefined && value !== '' && value !== 0) fragment[path] = value;
    else if (path === undefined && !ignored.has(key)) {
      warnings.push({ path: `${at}${key}`, message: 'is unknown and has no effect' });
    }
  }
}

function dropFamily(fragment: Fragment, family: string): void {
  for (const path of Object.keys(fragment)) if (path.startsWith(`network.${family}.`)) delete fragment[path];
  fragment[`network.${family}`] = null;
}
