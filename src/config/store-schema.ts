/** Where nodes find each other. */
import { z } from 'zod';
import { STORE_TYPES } from '#model/settings.ts';
import { group } from './group.ts';
import { absolutePath, setting, whole } from './values.ts';

/** Of etcd: no user in it, as it is shown. */
const etcdEndpoint = z
  .string()
  .refine(
    (text) =>
      /^unix:\/\/\/[^\0]+$/.test(text) ||
      /^https?:\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+):\d{1,5}$/.test(text),
    'must be http://host:port, https://host:port or unix:///path, an IPv6 host in brackets',
  );

/** Of keys: parts of a path, none of them empty. */
export const keyPath = z
  .string()
  .regex(/^(\/[A-Za-z0-9._-]+)+$/, 'must be /part or /part/part, of letters, digits, . _ and -');

const file = (description: string) => setting(absolutePath.optional(), 'absolute path', description);

const etcd = group(
  {
    endpoints: setting(
      z.array(etcdEndpoint).min(1, 'must have at least one endpoint'),
      'list of http://, https:// or unix:// URLs',
      'Members of the cluster. Each node begins at one of them and goes to the next when it does not answer.',
    ).default(['http://127.0.0.1:2379']),
    prefix: setting(
      keyPath,
      'path of a key',
      'What the keys of this cluster begin with: several share one etcd by different ones.',
    ).default('/tartan'),
    caFile: file('Certificates (PEM) of those who sign etcd’s; absent: the system’s.'),
    certFile: file('This node’s certificate (PEM), where etcd asks for one.'),
    keyFile: file('The key of `certFile` (PEM).'),
    user: setting(z.string().min(1).optional(), 'name', 'User of etcd’s own; absent: none.'),
    passwordFile: file('Holds the password of `user`; read again whenever etcd asks for it.'),
    requestTimeoutSeconds: setting(
      whole(1, 300),
      'seconds',
      'A member that has not answered by then is taken to be away.',
    ).default(5),
  },
  'When the type is etcd (3.4 or later).',
);

const kubernetes = group(
  {
    kubeconfig: file(
      'A kubeconfig, read again as it changes; absent: the service account where the agent is a pod, else as kubectl finds it.',
    ),
    context: setting(z.string().min(1).optional(), 'name', 'In the kubeconfig; absent: the current one.'),
    server: setting(
      z
        .string()
        .regex(/^https?:\/\/(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d{1,5})?$/, 'must be https://host:port')
        .optional(),
      'https:// URL',
      'The API server, where it is not to be the one of the kubeconfig or of the pod’s environment, as when kube-proxy is not there yet.',
    ),
    requestTimeoutSeconds: setting(
      whole(1, 300),
      'seconds',
      'An API server that has not answered by then is taken to be away.',
    ).default(10),
    relayTokenFile: file(
      'Holds a token for the audience `tartan.dev/relay`, read again each time: agents watch by way of a relay where the cluster has one; absent: they never do.',
    ),
  },
  'When the type is kubernetes.',
);

export const store = group(
  {
    type: setting(z.enum(STORE_TYPES), STORE_TYPES.join(', '), 'Where nodes find each other.').default(
      'directory',
    ),
    path: setting(
      absolutePath,
      'absolute path',
      'Directory of manifests, when the type is directory.',
    ).default('/var/lib/tartan/store'),
    etcd,
    kubernetes,
  },
  'The store.',
);
