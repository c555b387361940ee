/**
 * The network configuration list that `tartan install` writes, and the rules for such lists (CNI spec 1.1.0,
 * "Section 1"). Old libraries take cniVersion 1.0.0 and overlook cniVersions, new ones take 1.1.0 and with it GC and STATUS.
 */
import type { Problem } from '#model/fault.ts';
import { nameProblem } from './environment.ts';
import { isObject, type JsonObject } from './json.ts';
import { type CniVersion, isSupported, isVersionText } from './version.ts';

/** File name of the executable, and the `type` of the plugin. */
export const PLUGIN_TYPE = 'tartan-cni';

/** Every capability that we honour; the runtime hands over only what is named here. */
export const CAPABILITIES = [
  'portMappings',
  'bandwidth',
  'ips',
  'mac',
  'ipRanges',
  'dns',
  'aliases',
] as const;

/** The list as text, ending with a line feed. */
export function renderConflist(settings: { readonly network: { readonly name: string } }): string {
  const list = {
    cniVersion: '1.0.0',
    cniVersions: ['1.0.0', '1.1.0'],
    name: settings.network.name,
    disableCheck: false,
    disableGC: false,
    plugins: [
      { type: PLUGIN_TYPE, capabilities: Object.fromEntries(CAPABILITIES.map((name) => [name, true])) },
    ],
  };
  return `${JSON.stringify(list, null, 2)}\n`;
}

/** All that is wrong with a list, as libcni would see it. */
export function validateConflist(text: string): Problem[] {
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (error) {
    return [{ path: '', message: String(error) }];
  }
  if (!isObject(list)) return [{ path: '', message: 'is not a JSON object' }];
  return [...nameProblems(list), ...versionProblems(list), ...flagProblems(list), ...pluginProblems(list)];
}

/** The version a runtime that speaks ours chooses: the highest it knows of cniVersion and cniVersions. */
export function chooseVersion(list: JsonObject): CniVersion | undefined {
  const known = versionTexts(list).filter(isSupported);
  return known.sort().at(-1);
}

function versionTexts(list: JsonObject): string[] {
  const several: unknown[] = Array.isArray(list['cniVersions']) ? list['cniVersions'] : [];
  const all = [list['cniVersion'], ...several].filter(
    (version) => typeof version === 'string' && version !== '',
  );
  return all.length === 0 ? ['0.1.0'] : (all as string[]);
}

function nameProblems(list: JsonObject): Problem[] {
  const { name } = list;
  const message = typeof name === 'string' ? nameProblem(name) : 'is required, a string';
  return message === undefined ? [] : [{ path: 'name', message }];
}

function versionProblems(list: JsonObject): Problem[] {
  const several = list['cniVersions'] ?? [];
  if (!Array.isArray(several)) return [{ path: 'cniVersions', message: 'is not a list' }];
  const named = several.map((version: unknown, index) => ({ path: `cniVersions[${index}]`, version }));
  const problems = [{ path: 'cniVersion', version: list['cniVersion'] ?? '0.1.0' }, ...named]
    .filter(({ version }) => typeof version !== 'string' || !isVersionText(version))
    .map(({ path }) => ({ path, message: 'is not a version like 1.1.0' }));
  if (problems.length > 0 || chooseVersion(list) !== undefined) return problems;
  return [{ path: 'cniVersion', message: 'no version of the list is supported' }];
}

const FLAGS = ['disableCheck', 'disableGC', 'loadOnlyInlinedPlugins'];

/** libcni takes the words "true" and "false" in quotes, too. */
function flagProblems(list: JsonObject): Problem[] {
  return FLAGS.filter(
    (flag) => ![undefined, true, false, 'true', 'false'].includes(list[flag] as boolean),
  ).map((path) => ({ path, message: 'must be true or false' }));
}

function pluginProblems(list: JsonObject): Problem[] {
  const { plugins } = list;
  if (plugins === undefined && ![true, 'true'].includes(list['loadOnlyInlinedPlugins'] as boolean)) return [];
  if (!Array.isArray(plugins) || plugins.length === 0) {
    return [{ path: 'plugins', message: 'must be a list of at least one plugin' }];
  }
  return plugins.flatMap((plugin: unknown, index) => {
    const type = isObject(plugin) ? plugin['type'] : undefined;
    if (typeof type === 'string' && /^[^/\0]+$/.test(type)) return [];
    return [{ path: `plugins[${index}].type`, message: 'is required, the file name of an executable' }];
  });
}
