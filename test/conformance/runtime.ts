/**
 * A container runtime in small, after libcni 1.1: derives each plugin's configuration, runs a list forwards for ADD
 * and CHECK and backwards for DEL, hands on prevResult, and keeps the last result as libcni's cache does.
 */
import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { makeNamespace, type Namespace, type Output } from '../host/namespace.ts';
import type { NetworkConfig, PluginConfig, Subject } from './subject.ts';

export type Interface = { readonly name: string; readonly mac?: string; readonly sandbox?: string };
export type Result = {
  readonly cniVersion: string;
  readonly interfaces?: readonly Interface[];
  readonly ips?: readonly { address: string; gateway?: string; interface?: number; version?: string }[];
  readonly routes?: readonly { dst: string; gw?: string }[];
  readonly dns?: Readonly<Record<string, unknown>>;
  readonly ip4?: { ip: string; gateway?: string; routes?: readonly { dst: string; gw?: string }[] };
  readonly ip6?: { ip: string; gateway?: string; routes?: readonly { dst: string; gw?: string }[] };
};
export type CniError = {
  readonly code: number;
  readonly msg: string;
  readonly details?: string;
  readonly cniVersion?: string;
};

export type Attachment = {
  readonly containerId: string;
  readonly netns: Namespace;
  readonly ifname: string;
  readonly args?: string;
  readonly runtimeConfig?: Readonly<Record<string, unknown>>;
};

/** The part of a subject that a runtime needs. */
export type Provider = Pick<Subject, 'host'>;

export type Failure = { readonly type: string; readonly error: CniError; readonly output: Output };

let serial = 0;
/** A fresh pod: its own namespace, an id as containerd makes them. */
export function makePod(more: Partial<Attachment> = {}): Attachment {
  serial += 1;
  return {
    containerId: `bx${randomUUID().replaceAll('-', '')}`,
    netns: makeNamespace(`pod${serial}`),
    ifname: 'eth0',
    ...more,
  };
}

export function environmentOf(pod: Attachment): Record<string, string | undefined> {
  return {
    CNI_CONTAINERID: pod.containerId,
    CNI_NETNS: pod.netns.path,
    CNI_IFNAME: pod.ifname,
    CNI_ARGS: pod.args,
  };
}

/** The execution configuration: what libcni puts on a plugin's standard input. */
export function deriveConfig(
  network: NetworkConfig,
  plugin: PluginConfig,
  more: { prevResult?: Result | undefined; runtimeConfig?: Readonly<Record<string, unknown>> | undefined },
): Record<string, unknown> {
  const declared = (plugin.capabilities ?? {}) as Record<string, boolean>;
  const runtimeConfig = Object.fromEntries(
    Object.entries(more.runtimeConfig ?? {}).filter(([key]) => declared[key] === true),
  );
  return {
    ...plugin,
    cniVersion: network.cniVersion,
    name: network.name,
    ...(Object.keys(runtimeConfig).length > 0 ? { runtimeConfig } : {}),
    ...(more.prevResult === undefined ? {} : { prevResult: more.prevResult }),
  };
}

/** The error object of a failed execution; asserts that stdout holds exactly one. */
export function parseError(output: Output): CniError {
  assert.notEqual(output.code, 0, `expected a failure, got ${output.stdout}`);
  const error = JSON.parse(output.stdout) as CniError;
  assert.equal(typeof error.code, 'number', output.stdout);
  assert.equal(typeof error.msg, 'string', output.stdout);
  return error;
}

async function executeStep(
  subject: Provider,
  step: {
    verb: string;
    network: NetworkConfig;
    plugin: PluginConfig;
    pod: Attachment;
    prevResult?: Result | undefined;
  },
): Promise<Output> {
  const config = deriveConfig(step.network, step.plugin, {
    prevResult: step.prevResult,
    runtimeConfig: step.pod.runtimeConfig,
  });
  return subject.host.cni(step.verb, environmentOf(step.pod), config, { type: step.plugin.type });
}

/** ADD of the whole list. Stops at the first error, as libcni does, and gives it. */
export async function tryAdd(
  subject: Provider,
  network: NetworkConfig,
  pod: Attachment,
): Promise<Result | Failure> {
  let prevResult: Result | undefined;
  for (const plugin of network.plugins) {
    const output = await executeStep(subject, { verb: 'ADD', network, plugin, pod, prevResult });
    if (output.code !== 0) return { type: plugin.type, error: parseError(output), output };
    prevResult = JSON.parse(output.stdout) as Result;
  }
  assert.ok(prevResult);
  return prevResult;
}

export async function add(subject: Provider, network: NetworkConfig, pod: Attachment): Promise<Result> {
  const done = await tryAdd(subject, network, pod);
  if ('error' in done) throw new Error(`${done.type} ADD: ${done.error.msg} ${done.error.details ?? ''}`);
  return done;
}

/** DEL of the whole list, backwards; the error of the first plugin that fails. */
export async function tryDel(
  subject: Provider,
  network: NetworkConfig,
  pod: Attachment,
  prevResult?: Result,
): Promise<Failure | undefined> {
  for (const plugin of network.plugins.toReversed()) {
    const output = await executeStep(subject, { verb: 'DEL', network, plugin, pod, prevResult });
    if (output.code !== 0) return { type: plugin.type, error: parseError(output), output };
  }
  return undefined;
}

export async function del(
  subject: Provider,
  network: NetworkConfig,
  pod: Attachment,
  prevResult?: Result,
): Promise<void> {
  const failed = await tryDel(subject, network, pod, prevResult);
  if (failed !== undefined) throw new Error(`${failed.type} DEL: ${failed.error.msg}`);
}

/** CHECK of the whole list; undefined when everything stands. */
export async function check(
  subject: Provider,
  network: NetworkConfig,
  pod: Attachment,
  prevResult: Result,
): Promise<CniError | undefined> {
  for (const plugin of network.plugins) {
    const output = await executeStep(subject, { verb: 'CHECK', network, plugin, pod, prevResult });
    if (output.code !== 0) return parseError(output);
    assert.equal(output.stdout, '', 'CHECK prints nothing on success (K6)');
  }
  return undefined;
}

/** Runs `body` with a pod added to the network; the pod is deleted and its namespace gone whatever happens. */
export async function withPod(
  subject: Provider,
  network: NetworkConfig,
  options: Partial<Attachment>,
  body: (pod: Attachment, result: Result) => Promise<void>,
): Promise<void> {
  const pod = makePod(options);
  let result: Result | undefined;
  try {
    result = await add(subject, network, pod);
    await body(pod, result);
  } finally {
    await tryDel(subject, network, pod, result);
    pod.netns.remove();
  }
}

/** The addresses of a result without their prefix lengths, in order. */
export function addressesOf(result: Result): string[] {
  return (result.ips ?? []).map((ip) => ip.address.split('/')[0] ?? '');
}
