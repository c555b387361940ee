/**
 * What an installation is made of. Given as words of a command line it is checked as a whole: either everything is right, or
 * one Fault tells all that is wrong.
 */
import { parse } from 'yaml';
import { FLANNEL_PLACES } from '#config/migration-schema.ts';
import { parseSettings } from '#config/parse.ts';
import { Fault, type Problem } from '#model/fault.ts';
import type { Settings } from '#model/settings.ts';

/**
 * Versions of Kubernetes at which the manifest changes, the newest last: expressions in custom resources and policy/v1 (1.25),
 * AppArmor as a field (1.30).
 */
export const EPOCHS = ['1.20', '1.25', '1.30'] as const;
export type Epoch = (typeof EPOCHS)[number];

export type Resources = { readonly requests: Amounts; readonly limits?: Amounts };
type Amounts = Readonly<Record<string, string>>;

/** What a Helm chart calls values. */
export type Values = {
  readonly image: string;
  readonly imagePullPolicy: string;
  readonly imagePullSecrets: readonly { readonly name: string }[];
  /** Of every node, as in a settings file. */
  readonly settings: Readonly<Record<string, unknown>>;
  readonly agent: { readonly resources: Resources };
  readonly controller: { readonly replicas: number; readonly resources: Resources };
  readonly relay: { readonly replicas: number; readonly resources: Resources };
  /** Objects of the Prometheus operator too. */
  readonly monitoring: boolean;
};

export type Installation = {
  readonly namespace: string;
  readonly epoch: Epoch;
  readonly version: string;
  readonly values: Values;
};

export type InstallationWords = {
  readonly profile: string;
  readonly version: string;
  readonly image?: string | undefined;
  readonly namespace?: string | undefined;
  readonly kubernetes?: string | undefined;
  /** `path=value` of settings; values are YAML. */
  readonly set?: readonly string[] | undefined;
  readonly monitoring?: boolean | undefined;
};

export const DEFAULT_NAMESPACE = 'tartan-system';
/** Metrics and health, on nodes' own addresses. */
const LISTEN = { agent: ':9473', controller: ':9474', relay: ':9475' } as const;

/** Where settings have each of them serve. */
export function portOf({ settings }: Pick<Values, 'settings'>, part: keyof typeof LISTEN): number {
  const told = part === 'agent' ? settings : (settings[part] as Values['settings'] | undefined);
  const listen = typeof told?.['listen'] === 'string' ? told['listen'] : LISTEN[part];
  const port = listen.slice(listen.lastIndexOf(':') + 1);
  // A chart has an expression there.
  return /^\d+$/.test(port) ? Number(port) : (port as unknown as number);
}

/** Throws Fault `request-invalid` with every problem. */
export function planInstallation(
  words: InstallationWords,
  profiles: Readonly<Record<string, string>>,
): Installation {
  const problems: Problem[] = [];
  const namespace = words.namespace ?? DEFAULT_NAMESPACE;
  const image = words.image ?? defaultImage(words.version);
  if (!/^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(namespace))
    problems.push({ path: '--namespace', message: `${namespace} is no name of a namespace` });
  if (!/^[a-z0-9][A-Za-z0-9._:/@-]*$/.test(image))
    problems.push({ path: '--image', message: `${JSON.stringify(image)} is no name of an image` });
  const epoch = epochOf(words.kubernetes, problems);
  const settings = settingsOf(words, profiles, problems);
  if (problems.length > 0) throw new Fault('request-invalid', 'there is no such installation', { problems });
  const values = { ...defaultValues(words.version), image, settings, monitoring: words.monitoring === true };
  return { namespace, epoch, version: words.version, values };
}

export function defaultImage(version: string): string {
  return `localhost/tartan:${version}`;
}

export function defaultValues(version: string): Omit<Values, 'settings'> {
  return {
    image: defaultImage(version),
    imagePullPolicy: 'IfNotPresent',
    imagePullSecrets: [],
    // The measure of an agent among 5,000 nodes is 200 MB.
    agent: {
      resources: { requests: { cpu: '100m', memory: '128Mi' }, limits: { memory: '512Mi' } },
    },
    controller: {
      replicas: 2,
      resources: { requests: { cpu: '50m', memory: '128Mi' }, limits: { memory: '512Mi' } },
    },
    // Of 5,000 nodes' Workloads, whole and as lines.
    relay: {
      replicas: 0,
      resources: { requests: { cpu: '200m', memory: '256Mi' }, limits: { memory: '1Gi' } },
    },
    monitoring: false,
  };
}

/** The last epoch that has begun with this version. */
function epochOf(text: string | undefined, problems: Problem[]): Epoch {
  const newest: Epoch = '1.30';
  if (text === undefined) return newest;
  const [, major, minor] = /^v?(\d+)\.(\d+)(?:[.+-].*)?$/.exec(text) ?? [];
  const begun = EPOCHS.filter((epoch) => major === '1' && Number(epoch.slice(2)) <= Number(minor));
  const found = begun.at(-1);
  if (found !== undefined) return found;
  problems.push({ path: '--kubernetes', message: `${JSON.stringify(text)} is not 1.20 or later` });
  return newest;
}

/** What all nodes' settings file says: where the pod has what, and where a cluster of Kubernetes has it. */
function baseSettings(profile: string, isOfBlocks: boolean): Record<string, unknown> {
  return {
    apiVersion: 'tartan.dev/v1',
    kind: 'Settings',
    profile,
    store: { type: 'kubernetes', kubernetes: { relayTokenFile: RELAY_TOKEN_FILE } },
    ...(isOfBlocks ? {} : { addresses: { type: 'node-cidr' } }),
    listen: LISTEN.agent,
    controller: { listen: LISTEN.controller },
    relay: { listen: LISTEN.relay },
    paths: { ...PATHS },
  };
}

/** Where an agent finds its token for relays. */
export const RELAY_TOKEN_FILE = '/var/run/secrets/tartan.dev/relay/token';

/** The host's, at the same paths in containers, but for `etc`: a container has one of its own. */
const PATHS = {
  run: '/run/tartan',
  state: '/var/lib/tartan',
  cniBin: '/opt/cni/bin',
  cniConf: '/etc/cni/net.d',
  etc: '/host/etc',
} as const;

/** Where settings put each of these. */
export function pathsOf({
  settings,
}: Pick<Values, 'settings'>): Readonly<Record<keyof typeof PATHS, string>> {
  return { ...PATHS, ...(settings['paths'] as object) };
}

/** What a take-over from flannel reads on nodes; undefined: the cluster does not move from it. */
export function flannelPlacesOf({
  settings,
}: Pick<Values, 'settings'>): Readonly<Record<keyof typeof FLANNEL_PLACES, string>> | undefined {
  const { flannel } = (settings['migration'] ?? {}) as { readonly flannel?: object | null };
  return flannel === undefined || flannel === null ? undefined : { ...FLANNEL_PLACES, ...flannel };
}

function settingsOf(
  { profile, set = [] }: InstallationWords,
  profiles: Readonly<Record<string, string>>,
  problems: Problem[],
): Record<string, unknown> {
  const overrides = new Map<string, unknown>();
  for (const word of set) {
    const at = word.indexOf('=');
    const value = at > 0 ? readValue(word.slice(at + 1)) : undefined;
    if (value === undefined) problems.push({ path: `--set ${word}`, message: 'must be PATH=VALUE' });
    else overrides.set(word.slice(0, at), value.value);
  }
  const isOfBlocks = read(profile, profiles, { node: { name: 'any' } }, [])?.addresses.type === 'blocks';
  const settings = withPaths(baseSettings(profile, isOfBlocks), overrides);
  const { controller, relay } = settings as Record<'controller' | 'relay', Listening | undefined>;
  if ([settings, controller, relay].some((part) => typeof part?.['listen'] !== 'string')) {
    const message =
      'must be there for agents, controllers and relays: Kubernetes asks there whether they live';
    problems.push({ path: 'listen', message });
  }
  read(profile, profiles, { ...settings, node: { name: 'any', ...(settings['node'] as object) } }, problems);
  return settings;
}

type Listening = Readonly<Record<string, unknown>>;

function readValue(text: string): { readonly value: unknown } | undefined {
  try {
    return { value: parse(text) as unknown };
  } catch {
    return undefined;
  }
}

/** Undefined, with what is wrong among the problems, when the settings are not in order. */
function read(
  profile: string,
  profiles: Readonly<Record<string, string>>,
  values: Readonly<Record<string, unknown>>,
  problems: Problem[],
): Settings | undefined {
  try {
    const head = { apiVersion: 'tartan.dev/v1', kind: 'Settings', profile };
    const text = JSON.stringify({ ...head, ...values });
    return parseSettings([{ origin: 'settings', text }], profiles).settings;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    // All stands on one line, which tells nobody anything.
    problems.push(
      ...error.problems.map(({ path, message }) => ({ path: path.replace(/^settings:1 ?/, ''), message })),
    );
    return undefined;
  }
}

/** `a.b.c` of the map takes the value; maps on the way are copied. */
function withPaths(
  base: Readonly<Record<string, unknown>>,
  overrides: ReadonlyMap<string, unknown>,
): Record<string, unknown> {
  let result: Record<string, unknown> = { ...base };
  for (const [path, value] of overrides) result = withPath(result, path.split('.'), value);
  return result;
}

function withPath(
  map: Readonly<Record<string, unknown>>,
  [name = '', ...rest]: readonly string[],
  value: unknown,
): Record<string, unknown> {
  if (rest.length === 0) return { ...map, [name]: value };
  const inner = map[name];
  const below = typeof inner === 'object' && inner !== null ? (inner as Record<string, unknown>) : {};
  return { ...map, [name]: withPath(below, rest, value) };
}
