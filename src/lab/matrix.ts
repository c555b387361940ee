/** Who reaches whom: every pod asks every other pod at every address, by ICMP and by HTTP over TCP. */
import { renderTable } from '#lib/table.ts';
import type { PodRecord } from './lab-file.ts';
import { inNetns, run } from './process.ts';
import { POD_PORT } from './pod.ts';

export type Reach = {
  readonly from: string;
  readonly to: string;
  readonly address: string;
  readonly ping: boolean;
  /** The right pod answered. */
  readonly http: boolean;
};

/** Probes at once. */
const WIDTH = 8;

export async function probeAll(pods: readonly PodRecord[]): Promise<Reach[]> {
  const pairs = pods.flatMap((from) =>
    pods.filter((to) => to !== from).flatMap((to) => to.addresses.map((address) => ({ from, to, address }))),
  );
  const results: Reach[] = [];
  const queue = pairs.entries();
  const worker = async (): Promise<void> => {
    for (const [index, { from, to, address }] of queue) results[index] = await probe(from, to, address);
  };
  await Promise.all(Array.from({ length: WIDTH }, worker));
  return results;
}

async function probe(from: PodRecord, to: PodRecord, address: string): Promise<Reach> {
  const host = address.includes(':') ? `[${address}]` : address;
  const url = `http://${host}:${POD_PORT}/`;
  const [ping, http] = await Promise.all([
    run(inNetns(from.netns, ['ping', '-n', '-q', '-c', '1', '-W', '2', address])),
    run(inNetns(from.netns, ['curl', '-s', '-m', '3', '--noproxy', '*', url])),
  ]);
  return {
    from: from.name,
    to: to.name,
    address,
    ping: ping.code === 0,
    http: http.stdout === `${to.name} on ${to.node}\n`,
  };
}

export function allReach(reaches: readonly Reach[]): boolean {
  return reaches.length > 0 && reaches.every(({ ping, http }) => ping && http);
}

/** One row per asking pod, one column per asked one. */
export function renderMatrix(reaches: readonly Reach[]): string {
  const names = [...new Set(reaches.map(({ from }) => from))];
  const rows = names.map((from) => [
    from,
    ...names.map((to) =>
      from === to ? '·' : cell(reaches.filter((one) => one.from === from && one.to === to)),
    ),
  ]);
  const good = reaches.filter(({ ping, http }) => ping && http).length;
  const verdict = `${good} of ${reaches.length} roads work (ICMP and HTTP)`;
  return `${renderTable(['from \\ to', ...names], rows)}\n${verdict}`;
}

function cell(reaches: readonly Reach[]): string {
  const failed = reaches.flatMap(({ address, ping, http }) => {
    const family = address.includes(':') ? '6' : '4';
    return [...(ping ? [] : [`ping${family}`]), ...(http ? [] : [`http${family}`])];
  });
  if (reaches.length === 0) return 'no address';
  return failed.length === 0 ? 'ok' : `no ${failed.join(' ')}`;
}
