/** Checklist part a: the protocol between runtime and plugin (environment, standard input, versions, errors). */
import assert from 'node:assert/strict';
import type { Output } from '../host/namespace.ts';
import { CLOSED, UNREADABLE, type Environment, type Stdin } from '../host/node.ts';
import type { Case } from './case.ts';
import { expected } from './differences.ts';
import {
  add,
  check,
  del,
  deriveConfig,
  environmentOf,
  makePod,
  parseError,
  withPod,
  type Attachment,
  type Result,
} from './runtime.ts';
import type { NetworkWish, Subject } from './subject.ts';

const configOf = (subject: Subject, wish?: NetworkWish): Record<string, unknown> => {
  const network = subject.network(wish);
  const [plugin] = network.plugins;
  assert.ok(plugin);
  return deriveConfig(network, plugin, {});
};

/** Asks with everything right but for what the case changes; the pod is removed afterwards. */
async function askWith(
  subject: Subject,
  verb: string | undefined,
  change: { environment?: Environment; stdin?: Stdin; config?: Record<string, unknown> },
): Promise<Output> {
  const pod = makePod();
  try {
    const stdin = change.stdin ?? { ...configOf(subject), ...change.config };
    return await subject.host.cni(verb, { ...environmentOf(pod), ...change.environment }, stdin);
  } finally {
    await subject.host.cni('DEL', environmentOf(pod), configOf(subject));
    pod.netns.remove();
  }
}

const REQUIRED: Record<string, readonly string[]> = {
  ADD: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  CHECK: ['CNI_CONTAINERID', 'CNI_NETNS', 'CNI_IFNAME'],
  DEL: ['CNI_CONTAINERID', 'CNI_IFNAME'],
};

async function eachVariableRemoved(subject: Subject): Promise<void> {
  for (const [verb, names] of Object.entries(REQUIRED)) {
    for (const name of names) {
      const error = parseError(await askWith(subject, verb, { environment: { [name]: undefined } }));
      assert.equal(error.code, 4, `${verb} without ${name}: ${error.msg}`);
      assert.match(`${error.msg} ${error.details}`, new RegExp(name));
    }
  }
  const withoutPath = await askWith(subject, 'ADD', { environment: { CNI_PATH: undefined } });
  assert.equal(withoutPath.code !== 0, expected(subject, 'path-required'), withoutPath.stdout);
  const withoutNetns = await askWith(subject, 'DEL', { environment: { CNI_NETNS: undefined } });
  assert.equal(withoutNetns.code, 0, withoutNetns.stdout);
}

async function severalMissing(subject: Subject): Promise<void> {
  const nothing = { CNI_CONTAINERID: undefined, CNI_NETNS: undefined, CNI_IFNAME: undefined };
  const error = parseError(await askWith(subject, 'ADD', { environment: nothing }));
  assert.equal(error.code, 4);
  for (const name of Object.keys(nothing)) assert.match(`${error.msg} ${error.details}`, new RegExp(name));
}

const ILL_FORMED = {
  CNI_CONTAINERID: ['c/1', '-c', 'a b', 'ü', '../x', ''],
  CNI_IFNAME: ['sixteen-letters-', '.', '..', 'a/b', 'a:b', 'a b', 'a\tb', ''],
};

async function illFormedVariables(subject: Subject, name: keyof typeof ILL_FORMED): Promise<void> {
  for (const value of ILL_FORMED[name]) {
    const error = parseError(await askWith(subject, 'ADD', { environment: { [name]: value } }));
    assert.equal(error.code, 4, `${name}=${JSON.stringify(value)}: ${error.code} ${error.msg}`);
  }
}

async function configWithoutVersion(subject: Subject): Promise<void> {
  const output = await askWith(subject, 'ADD', { config: { cniVersion: undefined } });
  assert.equal(output.code, 0, output.stdout);
  const result = JSON.parse(output.stdout) as Record<string, unknown>;
  assert.ok('ip4' in result, 'a result of 0.1.0');
}

async function verbsBeforeTheirVersion(subject: Subject): Promise<void> {
  const before = parseError(await askWith(subject, 'CHECK', { config: { cniVersion: '0.3.1' } }));
  assert.equal(before.code, 1, before.msg);
  for (const verb of ['GC', 'STATUS']) {
    const error = parseError(await askWith(subject, verb, { config: { cniVersion: '1.0.0' } }));
    assert.equal(error.code, expected(subject, 'speaks-1.1') === true ? 1 : 4, `${verb}: ${error.msg}`);
  }
}

async function badVersionsAndNames(subject: Subject): Promise<void> {
  const ask = async (config: Record<string, unknown>): Promise<number> =>
    parseError(await askWith(subject, 'ADD', { config })).code;
  assert.equal(await ask({ cniVersion: '9.9.9' }), 1);
  assert.equal(await ask({ cniVersion: 'one' }), expected(subject, 'unreadable-version'));
  for (const name of [undefined, '', '-x', 'a/b', 'a b', '.hidden'])
    assert.equal(await ask({ name }), 7, `name ${JSON.stringify(name)}`);
}

async function versionVerb(subject: Subject): Promise<void> {
  const none = { CNI_PATH: undefined };
  for (const stdin of [CLOSED, '', { cniVersion: '0.4.0' }] satisfies Stdin[]) {
    const output = await subject.host.cni('VERSION', none, stdin);
    assert.equal(output.code, 0, `${output.stdout} ${output.stderr}`);
    const { supportedVersions } = JSON.parse(output.stdout) as { supportedVersions: string[] };
    assert.deepEqual(supportedVersions, subject.versions);
  }
  const output = await subject.host.cni('VERSION', none, { cniVersion: '0.4.0' });
  const { cniVersion } = JSON.parse(output.stdout) as { cniVersion: string };
  assert.equal(cniVersion === '0.4.0', expected(subject, 'version-echoed'));
}

async function verbs(subject: Subject): Promise<void> {
  for (const verb of ['FOO', 'add', 'ADD ']) {
    const error = parseError(await askWith(subject, verb, {}));
    assert.equal(error.code, 4, `${verb}: ${error.msg}`);
  }
  const bare = parseError(await subject.host.cni('FOO', {}, configOf(subject)));
  assert.equal(bare.code, expected(subject, 'unknown-verb-without-id'));
  for (const verb of [undefined, '']) {
    const output = await subject.host.cni(verb, {}, '');
    assert.deepEqual([output.code, output.stdout], [0, ''], 'an about text, not an error');
    assert.match(output.stderr, /1\.0\.0/);
  }
}

async function unreadableInput(subject: Subject): Promise<void> {
  assert.equal(parseError(await askWith(subject, 'ADD', { stdin: UNREADABLE })).code, 5);
  for (const stdin of ['{bad', '', 'null garbage', '[', '\u0000'])
    assert.equal(parseError(await askWith(subject, 'ADD', { stdin })).code, 6, JSON.stringify(stdin));
}

async function errorObjects(subject: Subject): Promise<void> {
  const gone = await askWith(subject, 'ADD', { environment: { CNI_NETNS: '/run/netns/bx-is-not-there' } });
  const error = parseError(gone);
  assert.equal(error.code, expected(subject, 'missing-netns'), error.msg);
  assert.equal(error.cniVersion === '1.0.0', expected(subject, 'error-names-version'));
  assert.doesNotMatch(gone.stdout, /\bat .*:\d+:\d+|goroutine \d+/, 'no stack trace on stdout');
}

const RESULT_KEYS: Record<string, readonly string[]> = {
  old: ['cniVersion', 'dns', 'ip4', 'ip6'],
  new: ['cniVersion', 'dns', 'interfaces', 'ips', 'routes'],
};

function assertNewShape(subject: Subject, pod: Attachment, result: Result): void {
  const { cniVersion: version } = result;
  const [ip] = result.ips ?? [];
  assert.equal(ip?.version, version < '1.0.0' ? '4' : undefined, version);
  const owner = result.interfaces?.[ip?.interface ?? -1];
  assert.deepEqual(
    [owner?.name, owner?.sandbox],
    ['eth0', pod.netns.path],
    `${version}: the address names its interface`,
  );
  const host = (result.interfaces ?? []).filter((one) => (one.sandbox ?? '') === '');
  assert.ok(host.length > 0, `${version}: a host-side interface without sandbox`);
  for (const one of host) subject.host.netns.ip(`link show dev ${one.name}`);
}

async function resultShapes(subject: Subject): Promise<void> {
  for (const version of subject.versions) {
    const shape = version < '0.3.0' ? 'old' : 'new';
    await withPod(subject, subject.network({ version }), {}, async (pod, result) => {
      assert.equal(result.cniVersion, version);
      for (const key of Object.keys(result))
        assert.ok(RESULT_KEYS[shape]?.includes(key), `${version}: ${key}`);
      if (shape === 'new') assertNewShape(subject, pod, result);
      else assert.match(result.ip4?.ip ?? '', /^10\.88\.0\.\d+\/\d+$/);
    });
  }
}

async function unknownKeys(subject: Subject): Promise<void> {
  const config = {
    capabilities: { portMappings: true, unheardOf: true },
    somethingElse: { deep: [1] },
    args: { cni: {} },
  };
  const output = await askWith(subject, 'ADD', { config });
  assert.equal(output.code, 0, output.stdout);
}

async function previousResults(subject: Subject): Promise<void> {
  for (const version of ['0.4.0', '1.0.0']) {
    const network = subject.network({ version });
    await withPod(subject, network, {}, async (pod, result) => {
      assert.equal(await check(subject, network, pod, result), undefined, `CHECK ${version}`);
    });
  }
  const network = subject.network();
  const pod = makePod();
  await add(subject, network, pod);
  await del(subject, network, pod);
  assert.deepEqual(await subject.leases(network.name), [], 'DEL without prevResult gives the address back');
  pod.netns.remove();
}

async function chained(subject: Subject): Promise<void> {
  const network = subject.network({ portMappings: true });
  const first = { ...network, plugins: network.plugins.slice(0, 1) };
  const type = network.plugins.at(-1)?.type ?? '';
  const runtimeConfig = { portMappings: [{ hostPort: 18080, containerPort: 80, protocol: 'tcp' }] };
  await withPod(subject, first, {}, async (pod, prevResult) => {
    const plugin = { ...network.plugins.at(-1), type, chained: true };
    const config = deriveConfig(network, plugin, { prevResult, runtimeConfig });
    const output = await subject.host.cni('ADD', environmentOf(pod), config, { type });
    assert.equal(output.code, 0, output.stdout);
    assert.deepEqual(JSON.parse(output.stdout), prevResult, 'prevResult comes out unchanged');
    const gone = await subject.host.cni('DEL', environmentOf(pod), config, { type });
    assert.equal(gone.code, 0, gone.stdout);
  });
}

/**
 * SIGKILL at eight moments of ADD; DEL must clear whatever was there. A process namespace ends what the executable has started,
 * too: the reference's IPAM plugin would otherwise take an address after DEL.
 */
async function killedWhileAdding(subject: Subject): Promise<void> {
  const network = subject.network();
  const names = (): string[] =>
    subject.host.netns.list<{ ifname: string }>('link').map((link) => link.ifname);
  const before = new Set([...names(), 'cni0']);
  for (let step = 1; step <= 8; step += 1) {
    const pod = makePod();
    const prefix = ['unshare', '--pid', '--fork', 'timeout', '-s', 'KILL', String(step * 0.003)];
    await subject.host.cni('ADD', environmentOf(pod), configOf(subject), { prefix });
    await del(subject, network, pod);
    pod.netns.remove();
  }
  assert.deepEqual(await subject.leases(network.name), []);
  assert.deepEqual(
    names().filter((name) => !before.has(name)),
    [],
  );
}

async function collectGarbage(subject: Subject): Promise<void> {
  const config = { ...configOf(subject, { version: '1.1.0' }), cniVersion: '1.1.0' };
  const gc = (valid: readonly Attachment[]): Promise<Output> =>
    subject.host.cni(
      'GC',
      {},
      {
        ...config,
        'cni.dev/valid-attachments': valid.map((pod) => ({
          containerID: pod.containerId,
          ifname: pod.ifname,
        })),
      },
    );
  if (expected(subject, 'speaks-1.1') !== true) {
    assert.equal(
      parseError(await subject.host.cni('STATUS', {}, config)).code,
      3,
      'an unknown verb without id',
    );
    assert.notEqual((await gc([])).code, 0);
    return;
  }
  const status = await subject.host.cni('STATUS', {}, config);
  assert.deepEqual([status.code, status.stdout], [0, '']);
  const pods = [makePod(), makePod()] as const;
  for (const pod of pods) await add(subject, subject.network(), pod);
  const done = await gc([pods[0]]);
  assert.deepEqual([done.code, done.stdout], [0, '']);
  assert.equal((await subject.leases('bxnet')).length, 1, 'only the stale attachment is gone');
  assert.equal(
    parseError(await subject.host.cni('GC', {}, config)).code,
    7,
    'GC without a list is refused (G5)',
  );
  for (const pod of pods) {
    await del(subject, subject.network(), pod);
    pod.netns.remove();
  }
}

async function argumentsOfTheRuntime(subject: Subject): Promise<void> {
  const kubernetes = 'K8S_POD_NAME=a;K8S_POD_NAMESPACE=b;K8S_POD_UID=c;K8S_POD_INFRA_CONTAINER_ID=d';
  for (const spelling of ['1', 'true', 'True', 'TRUE']) {
    const environment = { CNI_ARGS: `IgnoreUnknown=${spelling};${kubernetes}` };
    assert.equal((await askWith(subject, 'ADD', { environment })).code, 0, spelling);
  }
  for (const args of ['NOBODY_KNOWS=1', 'no equals sign', 'IgnoreUnknown=perhaps']) {
    const error = parseError(await askWith(subject, 'ADD', { environment: { CNI_ARGS: args } }));
    assert.equal(error.code, expected(subject, 'bad-arguments'), `${args}: ${error.msg}`);
  }
}

export const PROTOCOL: readonly Case[] = [
  { id: 'P1', name: 'each required variable, one missing', run: eachVariableRemoved },
  { id: 'P2', name: 'several missing variables are all named', run: severalMissing },
  {
    id: 'P3',
    name: 'ill-formed container ids',
    run: (subject) => illFormedVariables(subject, 'CNI_CONTAINERID'),
  },
  {
    id: 'P4',
    name: 'ill-formed interface names',
    run: (subject) => illFormedVariables(subject, 'CNI_IFNAME'),
  },
  { id: 'P5', name: 'a config without cniVersion is 0.1.0', run: configWithoutVersion },
  { id: 'P6', name: 'verbs that the config’s version does not have', run: verbsBeforeTheirVersion },
  { id: 'P7', name: 'unsupported versions, bad network names', run: badVersionsAndNames },
  { id: 'P8', name: 'VERSION with nothing else, stdin closed', run: versionVerb },
  { id: 'P9', name: 'unknown, blank and missing verb', run: verbs },
  { id: 'P10', name: 'stdin unreadable, garbage, empty', run: unreadableInput },
  { id: 'P11', name: 'errors are objects, never stack traces', run: errorObjects },
  { id: 'P12', name: 'the result has the shape of the config’s version', run: resultShapes },
  { id: 'P13', name: 'capabilities left in and unknown keys are tolerated', run: unknownKeys },
  { id: 'P14', name: 'CHECK with prevResult per version, DEL without', run: previousResults },
  { id: 'P15', name: 'a chained plugin hands prevResult on unchanged', run: chained },
  { id: 'P16', name: 'killed while adding: DEL clears', run: killedWhileAdding },
  { id: 'P17', name: 'GC clears only what is stale; STATUS', run: collectGarbage },
  { id: 'P19', name: 'CNI_ARGS: unknown keys, spellings of true', run: argumentsOfTheRuntime },
];
