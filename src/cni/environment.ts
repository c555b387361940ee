/** The CNI_* variables of a request (CNI spec 1.1.0, "Parameters") and what CNI_ARGS carries. */
import type { PodName } from '#model/attachment.ts';
import type { Findings } from './findings.ts';

export const VERBS = ['ADD', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION'] as const;
export type Verb = (typeof VERBS)[number];

export type Environment = {
  readonly verb: Verb;
  readonly containerId: string;
  readonly ifname: string;
  /** Path of the network namespace; empty where the verb does without. */
  readonly netns: string;
  /** CNI_PATH, the directories in which delegated plugins are looked for. */
  readonly pluginPath: readonly string[];
  readonly args: CniArgs;
};

/** CNI_ARGS: what Kubernetes runtimes say of the pod, and the older way to ask for addresses and a MAC. */
export type CniArgs = { readonly pod?: PodName; readonly ips: readonly string[]; readonly mac?: string };

const ATTACHMENT = ['CNI_CONTAINERID', 'CNI_IFNAME'] as const;
const REQUIRED: Readonly<Record<Verb, readonly string[]>> = {
  ADD: [...ATTACHMENT, 'CNI_NETNS'],
  DEL: ATTACHMENT,
  CHECK: [...ATTACHMENT, 'CNI_NETNS'],
  GC: ['CNI_PATH'],
  STATUS: [],
  VERSION: [],
};

/** Longest container ID and network name: they become parts of file names. */
const NAME_LIMIT = 200;
const NAME = /^[a-zA-Z0-9][a-zA-Z0-9_.-]*$/;

/** The rule for container IDs and network names; undefined when it is kept. */
export function nameProblem(name: string): string | undefined {
  if (name.length > NAME_LIMIT) return `is longer than ${NAME_LIMIT} characters`;
  if (NAME.test(name)) return undefined;
  return `${JSON.stringify(name)} must begin with a letter or digit, then letters, digits, '_', '.', '-'`;
}

/** The rule for interface names (linux: dev_valid_name); undefined when it is kept. */
export function ifnameProblem(name: string): string | undefined {
  const bytes = new TextEncoder().encode(name).length;
  if (bytes > 15) return `is ${bytes} bytes long, the kernel allows 15`;
  if (name === '' || name === '.' || name === '..') return `${JSON.stringify(name)} is no interface name`;
  // oxlint-disable-next-line no-control-regex
  if (/[/:%\s\x00-\x1f\x7f]/.test(name)) return `${JSON.stringify(name)} has '/', ':', '%' or white space`;
  return undefined;
}

/** The verb and which of its variables are missing: the first thing that is looked at. DEL, which asks for least, where it is none. */
export function readPresence(env: Readonly<Record<string, string>>, findings: Findings): Verb {
  const verb = env['CNI_COMMAND'] ?? '';
  if (!(VERBS as readonly string[]).includes(verb)) {
    findings.add(
      'cni-environment',
      'CNI_COMMAND',
      `${JSON.stringify(verb.slice(0, 80))} is not a verb of the CNI`,
    );
    return 'DEL';
  }
  for (const name of REQUIRED[verb as Verb]) {
    if ((env[name] ?? '') === '') findings.add('cni-environment', name, `is required for ${verb}`);
  }
  return verb as Verb;
}

/** The content of the variables. DEL takes what it does not need as it comes: it has to succeed. */
export function readEnvironment(
  env: Readonly<Record<string, string>>,
  verb: Verb,
  findings: Findings,
): Environment {
  const containerId = env['CNI_CONTAINERID'] ?? '';
  const ifname = env['CNI_IFNAME'] ?? '';
  if (REQUIRED[verb].includes('CNI_IFNAME')) {
    complain(findings, 'CNI_CONTAINERID', containerId, nameProblem);
    complain(findings, 'CNI_IFNAME', ifname, ifnameProblem);
  }
  return {
    verb,
    containerId,
    ifname,
    netns: env['CNI_NETNS'] ?? '',
    pluginPath: (env['CNI_PATH'] ?? '').split(':').filter((directory) => directory !== ''),
    args: verb === 'ADD' || verb === 'CHECK' ? readArgs(env['CNI_ARGS'] ?? '', findings) : { ips: [] },
  };
}

function complain(
  findings: Findings,
  path: string,
  value: string,
  rule: (value: string) => string | undefined,
): void {
  const message = value === '' ? undefined : rule(value);
  if (message !== undefined) findings.add('cni-environment', path, message);
}

const KNOWN_ARGS: ReadonlySet<string> = new Set([
  'IgnoreUnknown',
  'IP',
  'MAC',
  'K8S_POD_NAMESPACE',
  'K8S_POD_NAME',
  'K8S_POD_UID',
  'K8S_POD_INFRA_CONTAINER_ID',
]);

/** `KEY=VALUE;KEY=VALUE`. A key that we do not know is an error unless IgnoreUnknown is true. */
function readArgs(text: string, findings: Findings): CniArgs {
  const pairs = new Map<string, string>();
  for (const pair of text.split(';').filter((part) => part !== '')) {
    const sign = pair.indexOf('=');
    if (sign > 0) pairs.set(pair.slice(0, sign), pair.slice(sign + 1));
    else findings.add('cni-environment', 'CNI_ARGS', `${JSON.stringify(pair.slice(0, 80))} is not KEY=VALUE`);
  }
  if (!ignoresUnknown(pairs.get('IgnoreUnknown'), findings)) {
    for (const key of [...pairs.keys()].filter((key) => !KNOWN_ARGS.has(key))) {
      findings.add('cni-environment', 'CNI_ARGS', `${JSON.stringify(key.slice(0, 80))} is unknown`);
    }
  }
  const mac = pairs.get('MAC');
  const pod = podName(pairs);
  return {
    ips: (pairs.get('IP') ?? '').split(',').filter((ip) => ip !== ''),
    ...(mac === undefined || mac === '' ? {} : { mac }),
    ...(pod === undefined ? {} : { pod }),
  };
}

function ignoresUnknown(value: string | undefined, findings: Findings): boolean {
  const text = (value ?? 'false').toLowerCase();
  if (!['1', 'true', '0', 'false'].includes(text)) {
    findings.add('cni-environment', 'CNI_ARGS', `IgnoreUnknown must be 0, 1, true or false`);
  }
  return text === '1' || text === 'true';
}

function podName(pairs: ReadonlyMap<string, string>): PodName | undefined {
  const namespace = pairs.get('K8S_POD_NAMESPACE') ?? '';
  const name = pairs.get('K8S_POD_NAME') ?? '';
  const uid = pairs.get('K8S_POD_UID') ?? '';
  if (namespace === '' || name === '') return undefined;
  return { namespace, name, ...(uid === '' ? {} : { uid }) };
}
