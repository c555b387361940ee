/**
 * Generated CNI requests: a walk over environments, configurations and sizes that is the same for the same seed, and
 * what every answer to them must be. Most requests are nearly right: a request that is wrong everywhere tests only the
 * first check.
 */
import assert from 'node:assert/strict';
import { connect } from 'node:net';

export type FuzzRequest = { readonly environment: Readonly<Record<string, string>>; readonly stdin: Buffer };

/** Mulberry32: small, and the same everywhere. */
export function makeRandom(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

const VERBS = ['ADD', 'ADD', 'ADD', 'DEL', 'DEL', 'CHECK', 'GC', 'STATUS', 'VERSION', 'add', 'FOO', ''];
const WEIRD: readonly unknown[] = [
  null,
  true,
  0,
  -1,
  1e308,
  '',
  ' ',
  '\u0000',
  '../../etc',
  'ü',
  '\ud800',
  '__proto__',
  [],
  {},
  [[]],
  { a: { b: [null] } },
  'x'.repeat(300),
  65_536,
];
const KEYS = [
  'cniVersion',
  'name',
  'type',
  'runtimeConfig',
  'prevResult',
  'args',
  'dns',
  'ipam',
  'mtu',
  'capabilities',
  'cni.dev/valid-attachments',
  '__proto__',
  'constructor',
  'extra',
];

type Random = () => number;
const pick = <T>(random: Random, from: readonly T[]): T => from[Math.floor(random() * from.length)] as T;
const chance = (random: Random, share: number): boolean => random() < share;

function makeConfig(random: Random): Record<string, unknown> {
  const config: Record<string, unknown> = {
    cniVersion: pick(random, ['0.1.0', '0.3.1', '0.4.0', '1.0.0', '1.1.0', '9.9.9']),
    name: 'bxnet',
    type: 'tartan-cni',
    'cni.dev/valid-attachments': [],
  };
  if (chance(random, 0.3))
    config.runtimeConfig = {
      [pick(random, ['portMappings', 'bandwidth', 'ips', 'mac', 'ipRanges', 'dns', 'aliases'])]: pick(
        random,
        [...WEIRD, [{ hostPort: pick(random, WEIRD), containerPort: 80, protocol: 'tcp' }]],
      ),
    };
  if (chance(random, 0.2))
    config.prevResult = pick(random, [
      ...WEIRD,
      { cniVersion: '1.0.0', ips: pick(random, WEIRD), interfaces: pick(random, WEIRD) },
    ]);
  while (chance(random, 0.35))
    Object.defineProperty(config, pick(random, KEYS), {
      value: pick(random, WEIRD),
      enumerable: true,
      configurable: true,
    });
  if (chance(random, 0.3)) delete config[pick(random, KEYS)];
  return config;
}

function makeStdin(random: Random): Buffer {
  const text = JSON.stringify(makeConfig(random));
  const kind = random();
  if (kind < 0.8) return Buffer.from(text);
  if (kind < 0.86) return Buffer.from(text.slice(0, Math.floor(random() * text.length)));
  if (kind < 0.92)
    return Buffer.from(Array.from({ length: Math.floor(random() * 200) }, () => Math.floor(random() * 256)));
  if (kind < 0.95) return Buffer.from('['.repeat(Math.floor(random() * 20_000)));
  if (kind < 0.955)
    return Buffer.from(
      JSON.stringify({ ...makeConfig(random), padding: 'y'.repeat(Math.floor(random() * 2 ** 20)) }),
    );
  return Buffer.from(pick(random, ['', 'null', '[]', '0', '"x"', '{}']));
}

/** `netns`: a namespace that exists, so that some requests go all the way. */
export function makeRequest(random: Random, netns: string): FuzzRequest {
  const environment: Record<string, string> = {
    CNI_COMMAND: pick(random, VERBS),
    CNI_CONTAINERID: `fuzz${Math.floor(random() * 20)}`,
    CNI_NETNS: pick(random, [
      netns,
      netns,
      '',
      '/nonexistent',
      '/proc/self/ns/net',
      '/dev/null',
      '/proc/self/ns/mnt',
    ]),
    CNI_IFNAME: pick(random, ['eth0', 'eth0', 'eth1', 'lo', '.', 'a/b', 'x'.repeat(16)]),
    CNI_PATH: '/nonexistent',
    CNI_ARGS: pick(random, ['', 'IgnoreUnknown=1;K8S_POD_NAME=a', 'IP=10.88.0.5', 'X=1', ';;;=', 'MAC=zz']),
  };
  while (chance(random, 0.2)) {
    const weird = pick(random, WEIRD);
    if (typeof weird === 'string')
      environment[pick(random, Object.keys(environment))] = weird.replaceAll('\u0000', '');
  }
  if (chance(random, 0.1)) delete environment[pick(random, Object.keys(environment))];
  return { environment, stdin: makeStdin(random) };
}

/** Sends the request as the executable does (native/shim.c) and gives the whole reply. */
export function sendRequest(socketPath: string, request: FuzzRequest, timeoutMs = 20_000): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const socket = connect({ path: socketPath, allowHalfOpen: true });
    socket.setTimeout(timeoutMs, () => socket.destroy(new Error(`no answer within ${timeoutMs} ms`)));
    socket.on('error', reject);
    socket.on('data', (chunk: Buffer) => chunks.push(chunk));
    socket.on('end', () => {
      socket.end();
      resolve(Buffer.concat(chunks).toString());
    });
    const words = Object.entries({
      ...request.environment,
      TARTAN_PROTOCOL: '1',
      TARTAN_ARGV0: 'tartan-cni',
    });
    socket.write(`${words.map(([key, value]) => `${key}=${value}\0`).join('')}\0`);
    socket.end(request.stdin);
  });
}

/** An answer is a result with exit code 0, or one error object with another: nothing else, nothing internal. */
export function assertAnswer(code: number, stdout: string, about: string): void {
  if (code === 0) {
    if (stdout !== '') JSON.parse(stdout);
    return;
  }
  const error = JSON.parse(stdout) as { code?: unknown; msg?: unknown };
  assert.equal(typeof error.code, 'number', `${about}: ${stdout}`);
  assert.ok(typeof error.msg === 'string' && error.msg !== '', `${about}: ${stdout}`);
  assert.notEqual(error.code, 999, `${about}: an internal error: ${stdout}`);
}
