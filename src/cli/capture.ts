/** `tartan capture POD`: tcpdump on the pod’s interface, inside its namespace or at the host end of its link. */
import { spawn } from 'node:child_process';
import type { Command } from 'commander';
import type { PodStatus } from '#api/status.ts';
import { Fault } from '#model/fault.ts';
import { clientOf, withAgent } from './options.ts';
import { EXIT } from './output.ts';
import { requireRoot } from './install.ts';
import type { Make } from './program.ts';

export function captureCommand(make: Make): Command {
  const command = make('capture', async (options, words) => {
    requireRoot('capture');
    const [name = '', ...filter] = words;
    const status = await clientOf(options).call('status');
    const pod = findPod(status.pods, name);
    const line =
      options['host'] === true
        ? inNamespace(`/proc/${status.pid}/ns/net`, pod.hostLink, filter)
        : inNamespace(pod.netns, pod.ifname, filter);
    return run(line);
  });
  return withAgent(command)
    .description('show a pod’s packets: tartan capture shop/web -- -c 10 icmp')
    .argument('<pod>', 'namespace/name, name, container id, or an address')
    .argument('[tcpdump...]', 'words for tcpdump, after --')
    .option('--host', 'at the host end of the link instead of inside the pod');
}

/** The only pod that the word can mean; Fault otherwise, with the candidates. */
export function findPod(pods: readonly PodStatus[], word: string): PodStatus {
  const meant = pods.filter(
    (pod) =>
      word === pod.name ||
      word === `${pod.namespace}/${pod.name}` ||
      (word.length >= 4 && pod.containerId.startsWith(word)) ||
      pod.addresses.some((address) => address.split('/')[0] === word),
  );
  const [pod] = meant;
  if (pod !== undefined && meant.length === 1) return pod;
  const candidates = meant.length === 0 ? pods : meant;
  throw new Fault(
    'unknown-container',
    meant.length === 0 ? `no pod ${word} on this node` : `${word} is ambiguous`,
    {
      problems: candidates.map((pod) => ({
        path: `${pod.namespace ?? '-'}/${pod.name ?? '-'}`,
        message: `${pod.containerId} ${pod.ifname} ${pod.addresses.join(' ')}`,
      })),
    },
  );
}

/** Unbuffered and without name look-ups: the pod's DNS may be what is being looked at. */
function inNamespace(netns: string, link: string, filter: readonly string[]): string[] {
  return ['nsenter', `--net=${netns}`, 'tcpdump', '-U', '-l', '-n', '-i', link, ...filter];
}

function run([program = '', ...words]: readonly string[]): Promise<number> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, words, { stdio: 'inherit' });
    child.on('error', (cause) => reject(new Fault('io', `cannot start ${program}`, { cause })));
    child.on('exit', (code) => resolve(code === 0 ? EXIT.ok : EXIT.failed));
  });
}
