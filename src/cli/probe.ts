/**
 * Questions that are asked over the wire from inside a network namespace, with the host's own ping and Node's own
 * sockets left aside: a probe is a process of its own, so it sees exactly what a program in the pod would.
 */
import { execFile } from 'node:child_process';

export type Answer = { readonly ok: boolean; readonly text: string };

/** Bytes of IP and ICMP headers around ping's payload, by family. */
const PING_HEADERS = { 4: 28, 6: 48 } as const;

/** One echo (two tries). With `packet`, exactly that many bytes of IP packet, which must not be fragmented. */
export function ping(netns: string, address: string, packet?: number): Promise<Answer> {
  const family = address.includes(':') ? 6 : 4;
  const size = packet === undefined ? [] : ['-M', 'do', '-s', String(packet - PING_HEADERS[family])];
  const words = [`-${family}`, '-n', '-q', '-c', '1', '-W', '1', ...size, address];
  return inNetns(netns, ['ping', ...words]).then((first) =>
    first.ok ? first : inNetns(netns, ['ping', ...words]),
  );
}

/** Asks a DNS server for a name's address; any well-formed answer (also "no such name") shows that it answers. */
export async function askDns(netns: string, server: string, name: string): Promise<Answer> {
  const answer = await inNetns(netns, ['busybox', 'nslookup', name, server]);
  const reached = answer.ok || /NXDOMAIN|No answer|can't find/i.test(answer.text);
  return { ok: reached, text: answer.text };
}

/** Runs a program in the namespace; never throws. */
export function inNetns(netns: string, words: readonly string[], timeoutMs = 5000): Promise<Answer> {
  return new Promise((resolve) => {
    const options = { timeout: timeoutMs, killSignal: 'SIGKILL' } as const;
    execFile('nsenter', [`--net=${netns}`, ...words], options, (error, stdout, stderr) => {
      const text = `${stdout}${stderr}`.trim();
      resolve({ ok: error === null, text: text === '' && error !== null ? error.message : text });
    });
  });
}

/** Runs the jobs, at most `width` at a time; answers in the order of the jobs. */
export async function inParallel<T>(jobs: readonly (() => Promise<T>)[], width = 8): Promise<T[]> {
  const results: T[] = [];
  const queue = jobs.entries();
  const worker = async (): Promise<void> => {
    for (const [index, job] of queue) results[index] = await job();
  };
  await Promise.all(Array.from({ length: Math.min(width, jobs.length) }, worker));
  return results;
}
