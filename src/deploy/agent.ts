/** The agent on every node: a DaemonSet whose first container puts the CNI executable and its list in place. */
import { type KubeObject, labelsOf, objectOf, selectorOf } from './object.ts';
import { type Installation, portOf } from './options.ts';
import {
  appArmorOf,
  type Container,
  containerOf,
  flannelMounts,
  type Mount,
  nodeMounts,
  nodeSecurity,
  podOf,
  RELAY_TOKEN_MOUNT,
  serving,
  SETTINGS_MOUNT,
  volumesOf,
} from './pod.ts';

export const AGENT = 'tartan-agent';
export const CLEANUP = 'tartan-cleanup';

/** Also nodes that are not ready: they become so by their agent. */
const EVERYWHERE = [{ operator: 'Exists' }];

export function agentDaemonSet(installation: Installation): KubeObject {
  const { settings, agent } = mountsOf(installation);
  return daemonSet(installation, {
    name: AGENT,
    part: 'agent',
    mounts: [...settings, ...agent],
    first: {
      ...containerOf(installation, { name: 'install', words: ['install'], mounts: settings }),
      securityContext: nodeSecurity(installation),
      resources: installation.values.agent.resources,
    },
    main: {
      ...containerOf(installation, { name: 'agent', words: ['agent'], mounts: agent }),
      securityContext: nodeSecurity(installation),
      resources: installation.values.agent.resources,
      ...serving(portOf(installation.values, 'agent')),
    },
  });
}

/** Takes everything off each node, then waits to be deleted. */
export function cleanupDaemonSet(installation: Installation): KubeObject {
  const { settings, agent } = mountsOf(installation);
  const { etc, cniBin, cniConf, ...rest } = nodeMounts(installation);
  const mounts = [SETTINGS_MOUNT, etc, cniBin, cniConf, ...Object.values(rest)];
  const words = ['uninstall', '--purge'];
  return daemonSet(installation, {
    name: CLEANUP,
    part: 'cleanup',
    mounts: [...settings, ...agent],
    first: {
      ...containerOf(installation, { name: 'uninstall', words, mounts }),
      securityContext: nodeSecurity(installation),
      resources: installation.values.agent.resources,
    },
    main: {
      name: 'done',
      image: installation.values.image,
      imagePullPolicy: installation.values.imagePullPolicy,
      command: ['sleep', '2147483647'],
      securityContext: { allowPrivilegeEscalation: false, readOnlyRootFilesystem: true },
      resources: { requests: { cpu: '1m', memory: '4Mi' } },
    },
  });
}

function mountsOf(installation: Installation): { readonly settings: Mount[]; readonly agent: Mount[] } {
  const { run, state, cniBin, cniConf, etc, netns } = nodeMounts(installation);
  return {
    settings: [SETTINGS_MOUNT, cniBin, cniConf, etc],
    agent: [
      SETTINGS_MOUNT,
      RELAY_TOKEN_MOUNT,
      run,
      state,
      { ...cniBin, readOnly: true },
      { ...cniConf, readOnly: true },
      netns,
      ...flannelMounts(installation),
    ],
  };
}

type Pods = {
  readonly name: string;
  readonly part: 'agent' | 'cleanup';
  readonly mounts: readonly Mount[];
  readonly first: Container;
  readonly main: Container;
};

function daemonSet(installation: Installation, { name, part, mounts, first, main }: Pods): KubeObject {
  const { namespace } = installation;
  const annotations = appArmorOf(installation, [String(first['name']), String(main['name'])]);
  const template = {
    metadata: {
      labels: labelsOf(part),
      ...(Object.keys(annotations).length === 0 ? {} : { annotations }),
    },
    spec: podOf(installation, {
      serviceAccountName: AGENT,
      priorityClassName: 'system-node-critical',
      tolerations: EVERYWHERE,
      // Pods' namespaces are found through their runtime's.
      hostPID: true,
      // The data plane stays as it is while the agent is away.
      terminationGracePeriodSeconds: 15,
      initContainers: [first],
      containers: [main],
      volumes: volumesOf(mounts),
    }),
  };
  return objectOf(
    { apiVersion: 'apps/v1', kind: 'DaemonSet', name, namespace, part },
    {
      spec: {
        selector: { matchLabels: selectorOf(part) },
        updateStrategy: { type: 'RollingUpdate', rollingUpdate: { maxUnavailable: '10%' } },
        template,
      },
    },
  );
}
