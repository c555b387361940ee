/** What passes between us and an IPAM plugin that the configuration names: real ones, and one that says what a case wants. */
import assert from 'node:assert/strict';
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { waitFor, type Output } from '../host/namespace.ts';
import type { Case } from './case.ts';
import { expected } from './differences.ts';
import {
  addressesOf,
  check,
  deriveConfig,
  environmentOf,
  makePod,
  parseError,
  tryAdd,
  tryDel,
  withPod,
  type Attachment,
  type CniError,
  type Result,
} from './runtime.ts';
import type { NetworkConfig, Subject } from './subject.ts';

type Ask = (verb: string, more?: object) => Promise<Output>;
type Plugin = { readonly ask: Ask; readonly pod: Attachment; readonly calls: () => string[] };

/** A pod of a network whose IPAM plugin is this shell script; it notes every verb that it is called with. */
async function withPlugin(
  subject: Subject,
  script: string,
  body: (plugin: Plugin) => Promise<void>,
): Promise<void> {
  const folder = mkdtempSync(join(subject.host.directory, 'fake-'));
  const file = join(folder, 'bx-ipam');
  writeFileSync(join(folder, 'calls'), '');
  writeFileSync(file, `#!/bin/sh\ncat >/dev/null\necho "$CNI_COMMAND" >>${folder}/calls\n${script}\n`);
  chmodSync(file, 0o755);
  const network = subject.network({ extra: { ipam: { type: 'bx-ipam' } } });
  const [plugin] = network.plugins;
  assert.ok(plugin);
  const pod = makePod();
  const environment = { ...environmentOf(pod), CNI_PATH: `${folder}:${subject.host.bin}` };
  const ask: Ask = (verb, more = {}) =>
    subject.host.cni(verb, environment, { ...deriveConfig(network, plugin, {}), ...more });
  const calls = (): string[] => readFileSync(join(folder, 'calls'), 'utf8').split('\n').filter(Boolean);
  try {
    await body({ ask, pod, calls });
  } finally {
    writeFileSync(file, '#!/bin/sh\ncat >/dev/null\n');
    assert.equal((await ask('DEL')).code, 0);
    pod.netns.remove();
    rmSync(folder, { recursive: true });
  }
}

const IPS = [{ address: '10.88.0.205/24', gateway: '10.88.0.1' }];
const answering = (answer: object): string => `[ "$CNI_COMMAND" != ADD ] || echo '${JSON.stringify(answer)}'`;

async function delegateResults(subject: Subject): Promise<void> {
  const attempt = async (answer: object): Promise<Output> => {
    let output: Output | undefined;
    await withPlugin(subject, answering(answer), async ({ ask }) => void (output = await ask('ADD')));
    assert.ok(output);
    return output;
  };
  assert.equal((await attempt({ cniVersion: '1.0.0', ips: IPS })).code, 0);
  assert.equal((await attempt({ ips: IPS })).code, 0, 'a result without version is of the config’s version');
  parseError(await attempt({ cniVersion: '1.0.0', ips: [] }));
  parseError(await attempt({ cniVersion: '1.0.0', ips: [{ address: 'nonsense' }] }));
  for (const index of [0, 7, -1]) {
    const output = await attempt({
      cniVersion: '1.0.0',
      ips: IPS.map((ip) => ({ ...ip, interface: index })),
    });
    const code = output.code === 0 ? 0 : parseError(output).code;
    assert.equal(
      code,
      expected(subject, 'delegate-index'),
      `index ${index} of no interfaces: ${output.stdout}`,
    );
  }
}

async function delegateMissing(subject: Subject): Promise<void> {
  const network = subject.network({ extra: { ipam: { type: 'no-such-plugin' } } });
  const pod = makePod();
  const failed = await tryAdd(subject, network, pod);
  assert.ok('error' in failed);
  assert.equal(failed.error.code, expected(subject, 'delegate-missing'));
  assert.match(`${failed.error.msg} ${failed.error.details ?? ''}`, /no-such-plugin/);
  await tryDel(subject, network, pod);
  pod.netns.remove();
}

async function everyVerb(subject: Subject): Promise<void> {
  const script = answering({ cniVersion: '1.0.0', ips: IPS });
  await withPlugin(subject, script, async ({ ask, calls }) => {
    const prevResult = JSON.parse((await ask('ADD')).stdout) as Result;
    assert.equal((await ask('CHECK', { prevResult })).code, 0);
    assert.equal((await ask('DEL', { prevResult })).code, 0);
    assert.deepEqual(calls(), ['ADD', 'CHECK', 'DEL']);
    if (expected(subject, 'speaks-1.1') !== true) return;
    const config = { cniVersion: '1.1.0', 'cni.dev/valid-attachments': [] };
    for (const verb of ['STATUS', 'GC']) assert.equal((await ask(verb, config)).code, 0, verb);
    assert.deepEqual(calls().slice(3), ['STATUS', 'GC']);
  });
}

/** The reference bridge asks for addresses last: a failure leaves its link, and what IPAM says of DNS is lost. */
const makesLinkFirst = (subject: Subject): boolean => subject.title === 'bridge';

/** The IPAM plugin’s error is the answer, with its number, for every verb. */
async function itsErrors(subject: Subject): Promise<void> {
  const failing = `echo '{"cniVersion":"1.0.0","code":142,"msg":"the pool is on strike"}'; exit 1`;
  const assertPassedOn = (output: Output): void => {
    const error: CniError = parseError(output);
    assert.equal(error.code, 142);
    assert.match(error.msg, /the pool is on strike/);
  };
  await withPlugin(subject, failing, async ({ ask, calls, pod }) => {
    assertPassedOn(await ask('ADD'));
    const links = pod.netns.list<{ ifname: string }>('link').map((link) => link.ifname);
    if (!makesLinkFirst(subject)) assert.deepEqual(links, ['lo'], 'nothing is left in the pod');
    assert.equal(calls().includes('DEL'), expected(subject, 'failed-delegate-undone'));
    assertPassedOn(await ask('DEL'));
    if (expected(subject, 'speaks-1.1') === true)
      assertPassedOn(await ask('STATUS', { cniVersion: '1.1.0' }));
  });
  const later = `${answering({ cniVersion: '1.0.0', ips: IPS })}\n[ "$CNI_COMMAND" = ADD ] || { ${failing}; }`;
  await withPlugin(subject, later, async ({ ask, pod }) => {
    const prevResult = JSON.parse((await ask('ADD')).stdout) as Result;
    assertPassedOn(await ask('CHECK', { prevResult }));
    assertPassedOn(await ask('DEL', { prevResult }));
    const gone = (): boolean =>
      pod.netns.list<{ ifname: string }>('link').every((link) => link.ifname !== 'eth0');
    // The reference ptp stops at its IPAM plugin's error.
    if (subject.title !== 'ptp') await waitFor('eth0 to go', gone);
  });
}

const hostLocal = (subject: Subject, more: object): NetworkConfig => {
  const dataDir = join(subject.host.directory, 'delegated');
  mkdirSync(dataDir, { recursive: true });
  const ranges = [[{ subnet: '10.88.0.0/24', rangeStart: '10.88.0.210', rangeEnd: '10.88.0.220' }]];
  return subject.network({ extra: { ipam: { type: 'host-local', dataDir, ranges, ...more } } });
};

/** CHECK reaches host-local, and what it no longer finds fails the attachment (K5). */
async function lostLease(subject: Subject): Promise<void> {
  const network = hostLocal(subject, {});
  const folder = join(subject.host.directory, 'delegated', network.name);
  const leases = (): string[] => readdirSync(folder).filter((name) => name.startsWith('10.'));
  await withPod(subject, network, {}, async (pod, result) => {
    assert.deepEqual(leases(), addressesOf(result));
    assert.equal(await check(subject, network, pod, result), undefined);
    for (const lease of leases()) rmSync(join(folder, lease));
    assert.ok(
      (await check(subject, network, pod, result)) !== undefined,
      'CHECK sees that the lease is gone',
    );
  });
  await withPod(subject, network, {}, async () => assert.equal(leases().length, 1));
  assert.deepEqual(leases(), [], 'DEL gives the lease back');
}

/** The IPAM plugin’s DNS comes out, unless the configuration has some: then that, as a whole. */
async function dnsOfTheDelegate(subject: Subject): Promise<void> {
  const resolvConf = join(subject.host.directory, 'resolv.conf');
  writeFileSync(resolvConf, 'nameserver 192.0.2.1\nsearch one.example two.example\noptions ndots:3\n');
  const network = hostLocal(subject, { resolvConf });
  const theirs = { nameservers: ['192.0.2.1'], search: ['one.example', 'two.example'], options: ['ndots:3'] };
  await withPod(subject, network, {}, async (_, result) =>
    assert.deepEqual(result.dns, makesLinkFirst(subject) ? {} : theirs),
  );
  const own = { search: ['mine.example'] };
  const [plugin, ...rest] = network.plugins;
  assert.ok(plugin);
  const overriding = { ...network, plugins: [{ ...plugin, dns: own }, ...rest] };
  await withPod(subject, overriding, {}, async (_, result) => assert.deepEqual(result.dns, own));
}

const staticNetwork = (subject: Subject, ipam: object, more: object = {}): NetworkConfig =>
  subject.network({ extra: { ipam: { type: 'static', ...ipam }, ...more } });

/** The static plugin stands beside host-local in every installation; both sides hand on to it what it reads. */
async function fixedAddresses(subject: Subject): Promise<void> {
  const addresses = [{ address: '10.88.0.201/24', gateway: '10.88.0.1' }];
  const routes = [{ dst: '0.0.0.0/0' }];
  const sources: [string, NetworkConfig, Partial<Attachment>][] = [
    ['configuration', staticNetwork(subject, { addresses, routes }), {}],
    [
      'CNI_ARGS',
      staticNetwork(subject, { routes }),
      { args: 'IgnoreUnknown=1;IP=10.88.0.201/24;GATEWAY=10.88.0.1' },
    ],
    ['args.cni', staticNetwork(subject, {}, { args: { cni: { ips: ['10.88.0.201/24'] } } }), {}],
    [
      'runtimeConfig',
      staticNetwork(subject, {}, { capabilities: { ips: true } }),
      { runtimeConfig: { ips: ['10.88.0.201/24'] } },
    ],
  ];
  // The reference ptp cannot do without a gateway, which only the first two can give.
  for (const [source, network, options] of subject.title === 'ptp' ? sources.slice(0, 2) : sources)
    await withPod(subject, network, options, async (_, result) => {
      assert.deepEqual(addressesOf(result), ['10.88.0.201'], source);
    });
}

async function badFixedAddresses(subject: Subject): Promise<void> {
  const attempt = async (network: NetworkConfig, what: string): Promise<void> => {
    const pod = makePod();
    const done = await tryAdd(subject, network, pod);
    await tryDel(subject, network, pod);
    pod.netns.remove();
    assert.ok('error' in done, what);
  };
  for (const address of ['10.88.0.201', '10.88.0.999/24', '', '10.88.0.201/33'])
    await attempt(
      staticNetwork(subject, { addresses: [{ address }] }),
      `static address ${JSON.stringify(address)}`,
    );
  await attempt(staticNetwork(subject, {}), 'no addresses at all');
}

export const DELEGATION: readonly Case[] = [
  {
    id: 'P20/B16',
    name: 'results without version, without addresses, with bad indexes',
    run: delegateResults,
  },
  { id: 'P20', name: 'a plugin that is not there', run: delegateMissing },
  { id: 'P20/G4/S3', name: 'every verb is handed on', run: everyVerb },
  { id: 'P20/A6', name: 'an error of the plugin keeps its number', run: itsErrors },
  { id: 'K5', name: 'CHECK fails when the plugin’s lease is gone', run: lostLease },
  { id: 'B2/B14', name: 'DNS of the plugin and of the configuration', run: dnsOfTheDelegate },
  { id: 'I6', name: 'the static plugin, addresses from every source', run: fixedAddresses },
  { id: 'I6', name: 'the static plugin, bad addresses', run: badFixedAddresses },
];
