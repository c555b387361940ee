/** Handing requests on to another IPAM plugin, when the configuration names one. */
import type { Call } from './attachments.ts';
import { runDelegate } from './delegate.ts';
import type { Network } from '#cni/request.ts';
import { decodeResult } from '#cni/result.ts';
import type { CniVersion } from '#cni/version.ts';
import type { CniResult } from '#model/cni-result.ts';
import { Fault } from '#model/fault.ts';

/** Only ADD and DEL may have to wait for others (a DHCP server); the rest looks at what is there. */
const QUICK_MS = 10_000;
const SLOW_VERBS: ReadonlySet<string> = new Set(['ADD', 'DEL']);

/** Runs the plugin with the request's own verb, in the caller's view of the files; answers its standard output. */
export function delegate(plugin: string, call: Call): Promise<string> {
  const quick = SLOW_VERBS.has(call.env['CNI_COMMAND'] ?? '') ? {} : { timeoutMs: QUICK_MS };
  return runDelegate({ ...quick, ...call, type: plugin });
}

/** ADD by the plugin, as a result. A result without a version is of the configuration's (libcni does the same). */
export async function delegateAdd(plugin: string, call: Call, version: CniVersion): Promise<CniResult> {
  const stdout = await delegate(plugin, call);
  let json: unknown;
  try {
    json = JSON.parse(stdout);
  } catch {
    throw new Fault('delegate', `${plugin} answered no JSON: ${stdout.slice(0, 200)}`);
  }
  const result = decodeResult(json, version, plugin);
  if (result.ips.length === 0) throw new Fault('delegate', `${plugin} gave no address`);
  return result;
}

/** Takes back an ADD of the plugin when a later step failed; its own failure is not reported over the first one. */
export async function undoDelegate(plugin: string, call: Call): Promise<void> {
  const env = { ...call.env, CNI_COMMAND: 'DEL' };
  await runDelegate({ ...call, env, type: plugin, timeoutMs: QUICK_MS }).catch(() => undefined);
}

/** STATUS, CHECK and GC end with the delegated plugin, if there is one. */
export async function delegateRest(request: Network, call: Call): Promise<void> {
  if (request.delegatedIpam !== undefined) await delegate(request.delegatedIpam, call);
}
