/**
 * One CNI request as a value: from environment and standard input, wholly checked. The checks go in the order of the
 * reference (variables, JSON, network name, form of the variables, version, the rest), which decides the code of the
 * error; the error names everything that is wrong, whichever check found it.
 */
import { shortHash } from '#lib/hash.ts';
import type { AttachmentKey } from '#model/attachment.ts';
import type { CniResult } from '#model/cni-result.ts';
import { ipamPlugin, readWish, type Wish } from './config.ts';
import {
  type Environment,
  ifnameProblem,
  nameProblem,
  readEnvironment,
  readPresence,
  type Verb,
} from './environment.ts';
import { Findings } from './findings.ts';
import { isObject, type JsonObject } from './json.ts';
import { decodeResult } from './result.ts';
import { atLeast, type CniVersion, isSupported, isVersionText, LATEST_VERSION } from './version.ts';

/** What every request has but VERSION. `raw` is the whole configuration, as a delegated plugin must get it. */
export type Network = {
  readonly version: CniVersion;
  readonly name: string;
  /** Which of our plugins is meant, by the configuration's type or the executable's name. */
  readonly plugin: 'tartan' | 'loopback';
  readonly pluginPath: readonly string[];
  /** The IPAM plugin that every verb has to be handed on to. */
  readonly delegatedIpam?: string;
  readonly raw: JsonObject;
};
export type LiveAttachment = { readonly containerId: string; readonly ifname: string };

/** Wish and pod are the same in ADD and CHECK; DEL needs the key alone, and whatever else is wrong does not stop it. */
export type AddRequest = Network & {
  readonly verb: 'ADD';
  readonly key: AttachmentKey;
  readonly netns: string;
  readonly wish: Wish;
  readonly pod?: NonNullable<Environment['args']['pod']>;
  /** There when another plugin of the chain came before. */
  readonly prevResult?: CniResult;
};
export type CheckRequest = Omit<AddRequest, 'verb'> & {
  readonly verb: 'CHECK';
  readonly prevResult: CniResult;
};
export type DelRequest = Network & {
  readonly verb: 'DEL';
  readonly key: AttachmentKey;
  /** Empty when the namespace is already gone. */
  readonly netns: string;
  readonly prevResult?: CniResult;
};
export type GcRequest = Network & { readonly verb: 'GC'; readonly valid: readonly LiveAttachment[] };
export type StatusRequest = Network & { readonly verb: 'STATUS' };
export type VersionRequest = { readonly verb: 'VERSION'; readonly requested?: string };
export type Request = AddRequest | CheckRequest | DelRequest | GcRequest | StatusRequest | VersionRequest;

/** Throws a Fault (of code cni-environment, cni-decode, cni-config, cni-version or cni-field) and nothing else. */
export function parseRequest(env: Readonly<Record<string, string>>, stdin: string): Request {
  const findings = new Findings();
  const verb = readPresence(env, findings);
  if (verb === 'VERSION') return versionRequest(stdin);
  const decoded = decodeObject(stdin, findings);
  const raw = decoded ?? {};
  const name = readName(decoded, findings);
  const environment = readEnvironment(env, verb, findings);
  const version = readVersion(raw, verb, findings);
  const delegatedIpam = ipamPlugin(raw);
  if (delegatedIpam !== undefined && environment.pluginPath.length === 0 && verb !== 'GC') {
    findings.add(
      'cni-environment',
      'CNI_PATH',
      `is required to run the IPAM plugin ${delegatedIpam.slice(0, 80)}`,
    );
  }
  const network: Network = {
    version,
    name,
    plugin: raw['type'] === 'loopback' || env['TARTAN_ARGV0'] === 'loopback' ? 'loopback' : 'tartan',
    pluginPath: environment.pluginPath,
    ...(delegatedIpam === undefined ? {} : { delegatedIpam }),
    raw,
  };
  const request = complete(network, environment, findings);
  findings.throwIfAny();
  return request;
}

/** The version in which an error about this input has to be answered: its own where that can be read. */
export function answerVersion(stdin: string): CniVersion {
  const version = decodeObject(stdin, new Findings())?.['cniVersion'];
  if (version === undefined || version === '') return LATEST_VERSION;
  return typeof version === 'string' && isSupported(version) ? version : LATEST_VERSION;
}

/** Changes when the configuration that shapes an attachment does, and not with the chain's state. */
export function configHash(raw: JsonObject): string {
  const kept = Object.entries(raw).filter(([key]) => key !== 'prevResult' && !key.startsWith('cni.dev/'));
  return shortHash(JSON.stringify(Object.fromEntries(kept)), 16);
}

function versionRequest(stdin: string): VersionRequest {
  const requested = decodeObject(stdin, new Findings())?.['cniVersion'];
  return typeof requested === 'string' && requested !== ''
    ? { verb: 'VERSION', requested }
    : { verb: 'VERSION' };
}

function decodeObject(stdin: string, findings: Findings): JsonObject | undefined {
  try {
    const value: unknown = JSON.parse(stdin);
    // What cannot be written again (too deep for the stack) could not be handed to a delegate or hashed.
    JSON.stringify(value);
    if (isObject(value)) return value;
    findings.add('cni-decode', 'stdin', 'is not a JSON object');
  } catch (error) {
    findings.add('cni-decode', 'stdin', stdin.trim() === '' ? 'is empty' : String(error).slice(0, 200));
  }
  return undefined;
}

function readName(raw: JsonObject | undefined, findings: Findings): string {
  if (raw === undefined) return '';
  const name = raw['name'];
  const problem = typeof name === 'string' && name !== '' ? nameProblem(name) : 'is required, a string';
  if (problem !== undefined) findings.add('cni-config', 'name', problem);
  return typeof name === 'string' ? name : '';
}

const SINCE: Partial<Record<Verb, CniVersion>> = { CHECK: '0.4.0', GC: '1.1.0', STATUS: '1.1.0' };

/** Absent and empty mean 0.1.0, as in the reference library. */
function readVersion(raw: JsonObject, verb: Verb, findings: Findings): CniVersion {
  const version = raw['cniVersion'] ?? '';
  if (typeof version !== 'string' || (version !== '' && !isVersionText(version))) {
    findings.add('cni-decode', 'cniVersion', 'is not a version like 1.1.0');
    return LATEST_VERSION;
  }
  const read = version === '' ? '0.1.0' : version;
  if (!isSupported(read)) {
    findings.add('cni-version', 'cniVersion', `${read} is not supported`);
    return LATEST_VERSION;
  }
  const since = SINCE[verb] ?? '0.1.0';
  if (!atLeast(read, since))
    findings.add('cni-version', 'cniVersion', `${verb} needs ${since}, this is ${read}`);
  return read;
}

/** Reads what the verb needs besides; the answer counts only when there are no findings. */
function complete(network: Network, environment: Environment, findings: Findings): Request {
  const { verb, containerId, ifname, netns } = environment;
  const key = { network: network.name, containerId, ifname };
  switch (verb) {
    case 'GC':
      return { ...network, verb, valid: readValid(network.raw, findings) };
    case 'DEL':
      return { ...network, verb, key, netns, ...readPrevious(network, new Findings()) };
    case 'ADD':
    case 'CHECK':
      return attachmentRequest(network, { ...environment, verb }, findings);
    default:
      readWish(network.raw, environment.args, findings);
      return { ...network, verb: 'STATUS' };
  }
}

const NOTHING: Wish = {
  ipam: { type: 'own', ranges: [], routes: [], pools: {} },
  addresses: [],
  portMappings: [],
  dns: {},
  aliases: [],
  labels: {},
};

function attachmentRequest(
  network: Network,
  environment: Environment & { readonly verb: 'ADD' | 'CHECK' },
  findings: Findings,
): AddRequest | CheckRequest {
  const { verb, containerId, ifname, netns, args } = environment;
  const { prevResult } = readPrevious(network, findings);
  const common = {
    ...network,
    key: { network: network.name, containerId, ifname },
    netns,
    wish: readWish(network.raw, args, findings) ?? NOTHING,
    ...(args.pod === undefined ? {} : { pod: args.pod }),
  };
  if (verb === 'ADD') return { ...common, verb, ...(prevResult === undefined ? {} : { prevResult }) };
  if (network.raw['prevResult'] === undefined)
    findings.add('cni-config', 'prevResult', 'is required for CHECK');
  const empty: CniResult = { interfaces: [], ips: [], routes: [], dns: {} };
  return { ...common, verb, prevResult: prevResult ?? empty };
}

function readPrevious(network: Network, findings: Findings): { prevResult?: CniResult } {
  const json = network.raw['prevResult'] ?? undefined;
  if (json === undefined) return {};
  const prevResult = findings.attempt('cni-config', () => decodeResult(json, network.version));
  return prevResult === undefined ? {} : { prevResult };
}

const VALID = 'cni.dev/valid-attachments';
/** More attachments than any node has. */
const VALID_LIMIT = 65_536;
/** What libcni called the key before the specification had its name. */
const LEGACY_VALID = 'cni.dev/attachments';

/**
 * A missing list is refused: to read it as "nothing is valid" would take every pod off the network. Null is an empty
 * list (Go writes an empty slice so), and an empty list means what it says.
 */
function readValid(raw: JsonObject, findings: Findings): LiveAttachment[] {
  const name = VALID in raw ? VALID : LEGACY_VALID;
  const list = raw[name] === null ? [] : raw[name];
  if (!Array.isArray(list)) {
    findings.add('cni-config', VALID, 'is required for GC, a list of {containerID, ifname}');
    return [];
  }
  if (list.length > VALID_LIMIT) {
    findings.add('cni-config', name, `has ${list.length} entries, more than ${VALID_LIMIT}`);
    return [];
  }
  return list.map((item: unknown, index) => {
    const { containerID = '', ifname = '' } = isObject(item) ? item : {};
    const path = `${name}[${index}]`;
    const id = typeof containerID === 'string' ? containerID : '';
    const link = typeof ifname === 'string' ? ifname : '';
    const problems = [nameProblem(id), ifnameProblem(link)].filter((problem) => problem !== undefined);
    findings.addAll(
      'cni-config',
      problems.map((message) => ({ path, message })),
    );
    return { containerId: id, ifname: link };
  });
}
