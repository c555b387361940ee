/** What the pods of an installation are made of. Those on nodes see the host's own files at the host's paths. */
import { RELAY_AUDIENCE } from '#model/relay.ts';
import { flannelPlacesOf, type Installation, pathsOf, RELAY_TOKEN_FILE } from './options.ts';

export type Mount = {
  readonly name: string;
  readonly path: string;
  /** On the host; absent: the same. */
  readonly hostPath?: string;
  readonly readOnly?: true;
  /** Mounts that the host makes later appear. */
  readonly following?: true;
  /** It must be there; otherwise it is made. */
  readonly existing?: true;
  /** No place on the host, but a token of the pod's account for this audience, exchanged in time. */
  readonly audience?: string;
};

export type Container = Readonly<Record<string, unknown>>;

const SETTINGS_DIRECTORY = '/etc/tartan';
export const SETTINGS_FILE = `${SETTINGS_DIRECTORY}/settings.yaml`;
export const SETTINGS_MAP = 'tartan-settings';

/**
 * As deploy/tartan.service, without CAP_SYS_MODULE: the kernel itself loads what rules and links need. CAP_SYS_ADMIN enters
 * pods' network namespaces, CAP_SYS_PTRACE and the DAC ones find them through their runtime.
 */
const CAPABILITIES = [
  'NET_ADMIN',
  'NET_RAW',
  'NET_BIND_SERVICE',
  'SYS_ADMIN',
  'SYS_PTRACE',
  'DAC_READ_SEARCH',
  'DAC_OVERRIDE',
  'CHOWN',
  'FOWNER',
  'KILL',
];

export function securityOf({ epoch }: Installation, capabilities: readonly string[] = []): object {
  return {
    privileged: false,
    // Who may have CAP_SYS_ADMIN may gain rights, says the API.
    ...(capabilities.length === 0 ? { allowPrivilegeEscalation: false } : {}),
    readOnlyRootFilesystem: true,
    capabilities: { drop: ['ALL'], ...(capabilities.length === 0 ? {} : { add: capabilities }) },
    seccompProfile: { type: 'RuntimeDefault' },
    // Profiles of runtimes let nobody write sysctls.
    ...(epoch === '1.30' && capabilities.length > 0 ? { appArmorProfile: { type: 'Unconfined' } } : {}),
  };
}

export function nodeSecurity(installation: Installation): object {
  return securityOf(installation, CAPABILITIES);
}

/** The same for Kubernetes before 1.30: annotations of the pod. */
export function appArmorOf({ epoch }: Installation, containers: readonly string[]): Record<string, string> {
  if (epoch === '1.30') return {};
  return Object.fromEntries(
    containers.map((name) => [`container.apparmor.security.beta.kubernetes.io/${name}`, 'unconfined']),
  );
}

/** `tartan WORDS`, as the node is called in Kubernetes. */
export function containerOf(
  { values }: Installation,
  { name, words, mounts }: { name: string; words: readonly string[]; mounts: readonly Mount[] },
): Container & { readonly env: readonly object[] } {
  return {
    name,
    image: values.image,
    imagePullPolicy: values.imagePullPolicy,
    command: ['tartan-in-container', ...words, '--config', SETTINGS_FILE],
    env: [{ name: 'TARTAN_NODE', valueFrom: { fieldRef: { fieldPath: 'spec.nodeName' } } }],
    volumeMounts: mounts.map(({ name, path, readOnly, following }) => ({
      name,
      mountPath: path,
      ...(readOnly === true ? { readOnly: true } : {}),
      ...(following === true ? { mountPropagation: 'HostToContainer' } : {}),
    })),
  };
}

export const SETTINGS_MOUNT: Mount = { name: 'settings', path: SETTINGS_DIRECTORY, readOnly: true };

export const RELAY_TOKEN_MOUNT: Mount = {
  name: 'relay-token',
  path: RELAY_TOKEN_FILE.slice(0, RELAY_TOKEN_FILE.lastIndexOf('/')),
  readOnly: true,
  audience: RELAY_AUDIENCE,
};

export type NodeMounts = Readonly<Record<'run' | 'state' | 'cniBin' | 'cniConf' | 'etc' | 'netns', Mount>>;

export function nodeMounts({ values }: Installation): NodeMounts {
  const { run, state, cniBin, cniConf, etc } = pathsOf(values);
  return {
    run: { name: 'run', path: run },
    state: { name: 'state', path: state },
    cniBin: { name: 'cni-bin', path: cniBin },
    cniConf: { name: 'cni-conf', path: cniConf },
    etc: { name: 'host-etc', path: etc, hostPath: '/etc', existing: true },
    netns: { name: 'netns', path: '/run/netns', following: true },
  };
}

/** What flannel and its CNI plugins have noted, while the cluster moves from it; subnet.env is removed in the end. */
export function flannelMounts({ values }: Installation): Mount[] {
  const places = flannelPlacesOf(values);
  if (places === undefined) return [];
  const { subnetFile, cniState } = places;
  return [
    { name: 'flannel', path: subnetFile.slice(0, subnetFile.lastIndexOf('/')) || '/' },
    { name: 'cni-state', path: cniState, readOnly: true },
  ];
}

/** Volumes of all mounts, each once. */
export function volumesOf(mounts: readonly Mount[]): object[] {
  const byName = new Map(mounts.map((mount) => [mount.name, mount]));
  return [...byName.values()].map((mount) => ({ name: mount.name, ...sourceOf(mount) }));
}

function sourceOf(mount: Mount): object {
  if (mount === SETTINGS_MOUNT) return { configMap: { name: SETTINGS_MAP } };
  const { path, hostPath = path, existing, audience } = mount;
  if (audience === undefined)
    return { hostPath: { path: hostPath, type: existing === true ? 'Directory' : 'DirectoryOrCreate' } };
  const token = { audience, expirationSeconds: 3600, path: 'token' };
  return { projected: { sources: [{ serviceAccountToken: token }] } };
}

/** What all pods here have: the host's network, which is there before ours, and any node. */
export function podOf(
  { values }: Installation,
  fields: Readonly<Record<string, unknown>>,
): Readonly<Record<string, unknown>> {
  return {
    ...(values.imagePullSecrets.length === 0 ? {} : { imagePullSecrets: values.imagePullSecrets }),
    hostNetwork: true,
    dnsPolicy: 'ClusterFirstWithHostNet',
    enableServiceLinks: false,
    nodeSelector: { 'kubernetes.io/os': 'linux' },
    ...fields,
  };
}

/** On the host's network. Who lives but is not ready is left alone: a restart brings no store back. */
export function serving(port: number): Record<string, unknown> {
  const ask = (path: string): object => ({ host: '127.0.0.1', path, port });
  return {
    ports: [{ name: 'metrics', containerPort: port, hostPort: port }],
    startupProbe: { httpGet: ask('/healthz'), periodSeconds: 2, failureThreshold: 60 },
    livenessProbe: { httpGet: ask('/healthz'), periodSeconds: 20, timeoutSeconds: 5, failureThreshold: 6 },
    readinessProbe: { httpGet: ask('/readyz'), periodSeconds: 5, timeoutSeconds: 5 },
  };
}
