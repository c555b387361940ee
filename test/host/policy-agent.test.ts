/**
 * Policies from a file in the store to the packet, with real agents and pods: what is denied never passes, not at a pod's
 * first packet and not while agents, files and rules come and go; what is allowed goes on.
 */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { storePath } from '../../src/lab/topology.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import {
  admits,
  awaitPolicies,
  end,
  type PolicyLab,
  reaches,
  silences,
  startPolicyLab,
  writeSlowly,
} from './policy-pods.ts';

const skip = whyNoKernel(['ip', 'nft', 'conntrack', 'socat', 'curl']) ?? false;
const DUAL = { network: { ipv4: { range: '10.244.0.0/16' }, ipv6: { range: 'fd77::/48' } } };
const shop = (app: string): { namespace: string; labels: Record<string, string> } => ({
  namespace: 'shop',
  labels: { app },
});

const fileOf = ({ lab }: PolicyLab, name: string): string =>
  join(storePath(lab.name), 'manifests', `${name}.yaml`);

/** Each wrong in another way; some are not even YAML. */
function malformed(count: number): string {
  const kinds = ['NetworkPolicy', 'Deployment', '7', '[', 'GlobalNetworkPolicy'];
  return Array.from({ length: count }, (_, i) => {
    const spec = i % 3 === 0 ? `{ podSelector: ${i} }` : `{ selector: "app ==", types: [${i}] }`;
    const version = i % 2 === 0 ? 'networking.k8s.io/v1' : 'projectcalico.org/v3';
    const head = `apiVersion: ${version}\nkind: ${kinds[i % 5]}\nmetadata: { name: m${i}, namespace: shop }`;
    return `---\n${head}\nspec: ${spec}\n`;
  }).join('');
}

/** Until the answer is this, for both families. */
async function awaitReach(
  policies: PolicyLab,
  from: string,
  to: { readonly name: string; readonly addresses: readonly string[] },
  expected: boolean,
): Promise<void> {
  for (const address of to.addresses) {
    await waitFor(
      `${from} ${expected ? 'to reach' : 'not to reach'} ${to.name} at ${address}`,
      async () => (await reaches(policies, from, address)) === expected,
    );
  }
}

test(
  'a policy put into the store is in force on every node, changed with its file, and gone with it',
  { skip },
  async () => {
    await using policies = await startPolicyLab({ label: 'pa1', settings: DUAL });
    const { lab } = policies;
    const db = await lab.addPod('node1', 'db', shop('db'));
    for (const [pod, node] of [
      ['web', 'node1'],
      ['far', 'node2'],
    ] as const) {
      await lab.addPod(node, pod, shop(pod));
      await awaitReach(policies, pod, db, true);
    }
    lab.apply('db', admits('db', ['web']));
    await awaitPolicies(policies, 'node1', 1);
    await awaitReach(policies, 'web', db, true);
    await awaitReach(policies, 'far', db, false);
    const seen = await lab.exec('node1', ['curl', '-s', '-m', '1', `http://${db.addresses[0]}/`]);
    assert.equal(seen.stdout, 'db on node1\n', 'its own node reaches a pod whatever the policies');

    lab.apply('db', admits('db', ['far']));
    await awaitReach(policies, 'far', db, true);
    await awaitReach(policies, 'web', db, false);
    lab.apply('db', admits('db', []));
    await awaitReach(policies, 'far', db, false);
    lab.apply('db', '');
    await awaitReach(policies, 'far', db, true);
    await awaitReach(policies, 'web', db, true);
  },
);

test(
  'labels of a Pod manifest count more than those of the runtime, also for a pod of another node',
  { skip },
  async () => {
    await using policies = await startPolicyLab({ label: 'pa2' });
    const { lab } = policies;
    const db = await lab.addPod('node1', 'db', shop('db'));
    await lab.addPod('node2', 'far', shop('far'));
    lab.apply('db', admits('db', ['web']));
    await awaitReach(policies, 'far', db, false);
    const metadata = { namespace: 'shop', name: 'far', labels: { app: 'web' } };
    lab.apply(
      'pods',
      JSON.stringify({ apiVersion: 'v1', kind: 'Pod', metadata, spec: { nodeName: 'node2' } }),
    );
    await awaitReach(policies, 'far', db, true);
    lab.apply('pods', '');
    await awaitReach(policies, 'far', db, false);
  },
);

for (const profile of ['canal', 'flannel']) {
  test(
    `no window: a pod that sends from its first instruction never gets a packet past its policies, ${profile}`,
    { skip },
    async (t) => {
      const settings = { policy: { enforce: true } };
      await using policies = await startPolicyLab({ label: `pa3${profile[0]}`, nodes: 1, profile, settings });
      const { lab } = policies;
      const sink = await lab.addPod('node1', 'sink', shop('sink'));
      const denied = await policies.receive(sink, 9);
      const allowed = await policies.receive(sink, 10);
      lab.apply('early', silences('early'));
      await awaitPolicies(policies, 'node1', 1);
      const rounds = 15;
      for (let round = 1; round <= rounds; round += 1) {
        for (const [app, port] of [
          ['early', 9],
          ['free', 10],
        ] as const) {
          const name = `${app}${round}`;
          // The pod's first process runs in its namespace before ADD comes.
          const before = allowed.received();
          const sender = policies.send(`lab-${lab.name}.pod-${name}`, sink.addresses[0] ?? '', port);
          await lab.addPod('node1', name, shop(app));
          if (app === 'free') await waitFor('the free pod’s packets', () => allowed.received() > before);
          else await sleep(30);
          await end(sender);
          await lab.removePod(name);
        }
      }
      t.diagnostic(`${rounds} pods; ${allowed.received()} bytes came from those that may send`);
      assert.equal(denied.received(), 0, 'a packet came before the rules');
    },
  );
}

test(
  'fail closed: while policies cannot be loaded no pod gets a network, and then all is made up for',
  { skip },
  async () => {
    await using policies = await startPolicyLab({ label: 'pa4', nodes: 1, readyMs: 4000 });
    const { lab } = policies;
    const [node] = lab.nodes;
    assert.ok(node !== undefined);
    const db = await lab.addPod('node1', 'db', shop('db'));
    await lab.addPod('node1', 'far', shop('far'));
    lab.apply('db', admits('db', []));
    await awaitPolicies(policies, 'node1', 1);
    await awaitReach(policies, 'far', db, false);
    await lab.kill('node1');
    // The dead agent's socket, and with it the table's owner, may be there a moment longer.
    await waitFor('the table to be nobody’s', async () => {
      const { code } = await lab.exec('node1', ['nft', 'delete', 'table', 'inet', 'tartan-policy']);
      return code === 0;
    });
    // Somebody else owns a table of that name: the agent may not touch it.
    const thief = policies.start(
      node.netns,
      '(echo "add table inet tartan-policy { flags owner; }"; sleep 3600) | nft -i',
    );
    await waitFor('the stolen table', async () =>
      (await lab.exec('node1', ['nft', 'list', 'ruleset'])).stdout.includes('progname nft'),
    );
    await assert.rejects(lab.start('node1'), /policies cannot be loaded/);
    await assert.rejects(lab.addPod('node1', 'late', shop('late')), /\(11\).*policies cannot be loaded/s);
    if (thief.pid !== undefined) process.kill(-thief.pid, 'SIGKILL');
    await once(thief, 'exit');
    await waitFor('the node to be ready again', async () => (await policies.status('node1')).ready, 40_000);
    await awaitReach(policies, 'far', db, false);
    await lab.addPod('node1', 'late', shop('late'));
  },
);

test(
  'a denied flow passes at no moment: agent killed, files half written, ruleset flushed, policies changed',
  { skip },
  async (t) => {
    await using policies = await startPolicyLab({ label: 'pa5' });
    const { lab } = policies;
    const db = await lab.addPod('node1', 'db', shop('db'));
    const far = await lab.addPod('node2', 'far', shop('far'));
    const near = await lab.addPod('node1', 'near', shop('near'));
    const denied = await policies.receive(db, 9);
    const allowed = await policies.receive(db, 10);
    lab.apply('db', admits('db', ['near', 'far'], [10]));
    await awaitPolicies(policies, 'node1', 1);
    for (const pod of [far, near]) {
      policies.send(pod.netns, db.addresses[0] ?? '', 9);
      policies.send(pod.netns, db.addresses[0] ?? '', 10);
    }
    const steps: readonly (readonly [string, () => Promise<unknown>])[] = [
      ['the agent is killed and comes back', async () => (await lab.kill('node1'), await lab.start('node1'))],
      [
        'the file is rewritten slowly',
        () => writeSlowly(fileOf(policies, 'db'), admits('db', ['near', 'far'], [10]), 40),
      ],
      [
        'the file is half a file',
        async () => writeFileSync(fileOf(policies, 'db'), admits('db', ['near'], [10]).slice(0, 90)),
      ],
      ['the agent is killed while it is', async () => (await lab.kill('node1'), await lab.start('node1'))],
      [
        'it is whole, and wrong',
        async () => {
          lab.apply('db', admits('db', ['near', 'far'], [99_999]));
          const hasProblem = async (): Promise<boolean> =>
            (await policies.status('node1')).policy?.problems.some(({ message }) =>
              message.includes('65535'),
            ) === true;
          await waitFor('the problem', hasProblem);
        },
      ],
      [
        'the agent is killed while it is wrong',
        async () => (await lab.kill('node1'), await lab.start('node1')),
      ],
      ['the ruleset is flushed', () => lab.exec('node1', ['nft', 'flush', 'ruleset'])],
      [
        'a hundred others come',
        async () =>
          lab.apply(
            'others',
            Array.from({ length: 100 }, (_, i) => `---\n${admits(`x${i}`, ['far'])}`).join(''),
          ),
      ],
      [
        'the agent is killed while they are loaded',
        async () => (
          lab.apply('more', admits('more', ['far'])),
          await lab.kill('node1'),
          await lab.start('node1')
        ),
      ],
      ['ten thousand malformed manifests come', async () => lab.apply('malformed', malformed(10_000))],
      [
        'they are read',
        () =>
          waitFor(
            'their problems',
            async () => ((await policies.status('node1')).policy?.problems.length ?? 0) > 3000,
            60_000,
          ),
      ],
      ['they go', async () => lab.apply('others', '')],
      ['the store is moved away', async () => rmSync(fileOf(policies, 'more'))],
      [
        'the pod’s own policy is put right',
        async () => lab.apply('db', admits('db', ['near', 'far'], [10, 11])),
      ],
    ];
    for (const [what, act] of steps) {
      const before = allowed.received();
      await act();
      await sleep(200);
      assert.equal(denied.received(), 0, `${what}: a denied packet came`);
      await waitFor(`${what}: what is allowed to go on`, () => allowed.received() > before);
    }
    await sleep(500);
    assert.equal(denied.received(), 0);
    t.diagnostic(`${allowed.received()} bytes were allowed meanwhile`);
    const log = readFileSync(lab.nodes[0]?.paths.log ?? '', 'utf8');
    assert.match(log, /65535; it stays in force as it was/);
    assert.match(log, /[0-9]+ more objects are wrong/);
  },
);

for (const established of ['cut', 'keep'] as const) {
  test(`a change of policies and connections that live: ${established}`, { skip }, async () => {
    await using policies = await startPolicyLab({
      label: `pa6${established[0]}`,
      settings: { ...DUAL, policy: { established } },
    });
    const { lab } = policies;
    const db = await lab.addPod('node1', 'db', shop('db'));
    const far = await lab.addPod('node2', 'far', shop('far'));
    const near = await lab.addPod('node1', 'near', shop('near'));
    const live: { from: string; received: () => number }[] = [];
    let port = 7000;
    for (const from of [far, near]) {
      for (const address of db.addresses) {
        const probe = await policies.accept(db, (port += 1));
        policies.stream(from.netns, address, port);
        live.push({ from: from.name, received: probe.received });
      }
    }
    const goesOn = async (from: string, expected: boolean): Promise<void> => {
      for (const each of live.filter((one) => one.from === from)) {
        await waitFor(
          `the stream from ${from} ${expected ? 'to go on' : 'to stand still'}`,
          async () => {
            const before = each.received();
            await sleep(300);
            return each.received() > before === expected;
          },
          40_000,
        );
      }
    };
    await goesOn('far', true);
    await goesOn('near', true);
    lab.apply('db', admits('db', ['near']));
    await awaitPolicies(policies, 'node1', 1);
    await awaitReach(policies, 'far', db, false);
    await goesOn('far', established === 'keep');
    await goesOn('near', true);
    lab.apply('db', '');
    await goesOn('far', true);
    await goesOn('near', true);
  });
}

test('policy switched off, and a node that is left: no table stays', { skip }, async () => {
  await using policies = await startPolicyLab({ label: 'pa7', nodes: 1 });
  const { lab } = policies;
  const [node] = lab.nodes;
  assert.ok(node !== undefined);
  const tables = async (): Promise<string> => (await lab.exec('node1', ['nft', 'list', 'tables'])).stdout;
  assert.match(await tables(), /inet tartan-policy/);
  const text = readFileSync(node.paths.settings, 'utf8');
  writeFileSync(node.paths.settings, `${text}policy: { enforce: false }\n`);
  await lab.start('node1');
  assert.doesNotMatch(await tables(), /tartan-policy/);
  assert.equal((await policies.status('node1')).policy, undefined);
  writeFileSync(node.paths.settings, text);
  await lab.start('node1');
  assert.match(await tables(), /inet tartan-policy/);
  const { code, stdout } = await lab.tartan('node1', 'uninstall', '--purge');
  assert.equal(code, 0, stdout);
  assert.doesNotMatch(await tables(), /tartan-policy/);
});
