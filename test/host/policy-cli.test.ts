/**
 * `tartan policy` on living nodes: what it explains is what packets meet, what it says a manifest will change is what
 * changes, and a kernel that does something else is found out.
 */
import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { connectAgent } from '../../src/cli/client.ts';
import type { PodRecord } from '../../src/lab/lab-file.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { admits, awaitPolicies, reaches, startPolicyLab } from './policy-pods.ts';

const skip = whyNoKernel(['ip', 'nft', 'conntrack', 'socat', 'curl']) ?? false;
const DUAL = { network: { ipv4: { range: '10.244.0.0/16' }, ipv6: { range: 'fd78::/48' } } };

type Kernel = {
  readonly node: string;
  readonly intact: boolean;
  readonly comparisons: readonly {
    readonly kernel: string;
    readonly agrees: boolean;
    readonly opinion?: { readonly packets?: number };
  }[];
};
type Answer = {
  readonly disagreement: boolean;
  readonly unasked: readonly string[];
  readonly explanations: readonly {
    readonly family: 4 | 6;
    readonly action: 'allow' | 'deny';
    readonly checks: readonly { readonly decided: { readonly origin?: { readonly source: string } } }[];
    readonly kernels: readonly Kernel[];
  }[];
};

test('explain, diff and test on living nodes', { skip }, async (t) => {
  const directory = mkdtempSync(join(tmpdir(), 'tartan-pd-'));
  t.after(() => rmSync(directory, { recursive: true }));
  await using policies = await startPolicyLab({ label: 'pd', settings: DUAL });
  const { lab } = policies;
  const runs = lab.nodes.map(({ paths }) => paths.run);
  const pods: PodRecord[] = [];
  for (const [node, name] of [
    ['node1', 'db'],
    ['node1', 'web'],
    ['node2', 'far'],
  ] as const) {
    pods.push(await lab.addPod(node, name, { namespace: 'shop', labels: { app: name } }));
  }
  const policy = (...words: string[]) => lab.tartan('node1', 'policy', ...words);
  const explain = async (from: string, to: string): Promise<{ code: number; answer: Answer }> => {
    const { code, stdout, stderr } = await policy('explain', from, to, '-o', 'json', '--run', ...runs);
    assert.notEqual(stdout, '', stderr);
    return { code, answer: JSON.parse(stdout) as Answer };
  };
  /** All pods are known to every node, by what their agents told. */
  await waitFor('the pods of both nodes', async () => {
    const { stdout } = await policy('matrix', '-o', 'json');
    return ['db', 'web', 'far'].every((name) => stdout.includes(`shop/${name}`));
  });

  await t.test('diff tells what applying changes, and then it has changed', async () => {
    const file = join(directory, 'db.yaml');
    writeFileSync(file, admits('db', ['web'], [80]));
    const { code, stdout, stderr } = await policy('diff', '-f', file, '--exit-code');
    assert.equal(code, 1, stderr);
    assert.match(
      stdout,
      /shop\/far.* → shop\/db all traffic: allow → deny \(now isolated by NetworkPolicy shop\/db/,
    );
    assert.match(stdout, /shop\/web → shop\/db tcp\/0-79,81-65535.*: allow → deny/);
    lab.apply('db', admits('db', ['web'], [80]));
    for (const node of ['node1', 'node2']) await awaitPolicies(policies, node, 1);
    const again = await policy('diff', '-f', file, '--exit-code');
    assert.deepEqual([again.code, again.stdout], [0, 'no flow would be judged otherwise\n']);
    const removal = await policy('diff', '--remove', 'NetworkPolicy/shop/db');
    assert.match(removal.stdout, /shop\/db all traffic: deny → allow \(now selected by no policy\)/);
  });

  await t.test('what is explained is what packets meet, and the kernel agrees', async () => {
    for (const from of pods) {
      for (const to of pods.filter((pod) => pod !== from)) {
        const { code, answer } = await explain(`shop/${from.name}`, `shop/${to.name}:80`);
        assert.equal(code, 0);
        assert.deepEqual([answer.disagreement, answer.unasked, answer.explanations.length], [false, [], 2]);
        for (const { family, action, kernels } of answer.explanations) {
          const address = to.addresses.find((each) => each.includes(':') === (family === 6)) ?? '';
          await waitFor(
            `${from.name} → ${address} as explained`,
            async () => (await reaches(policies, from.name, address)) === (action === 'allow'),
          );
          // Both ends were compared with their nodes' kernels.
          assert.equal(kernels.flatMap(({ comparisons }) => comparisons).length, 2);
        }
      }
    }
  });

  await t.test('the counter of the deciding entry counts', async () => {
    const count = async (): Promise<number> => {
      const { answer } = await explain('shop/web', 'shop/db:80');
      const all = answer.explanations.flatMap(({ kernels }) =>
        kernels.flatMap(({ comparisons }) => comparisons),
      );
      return all.reduce((sum, { opinion }) => sum + (opinion?.packets ?? 0), 0);
    };
    const before = await count();
    assert.ok(await reaches(policies, 'web', pods[0]?.addresses[0] ?? ''));
    assert.ok((await count()) > before);
  });

  await t.test('the rule is named with its place in the store', async () => {
    const { stdout } = await policy('explain', 'shop/web', 'shop/db:80');
    assert.match(
      stdout,
      /allow, decided by NetworkPolicy shop\/db, .*manifests\/db\.yaml:\d+ spec\.ingress\.0/,
    );
    assert.match((await policy('explain', 'shop/far', 'shop/db:80')).stdout, /Kernel not asked: node2/);
  });

  await t.test('expectations, live', async () => {
    const file = join(directory, 'expectations.yaml');
    writeFileSync(
      file,
      '- { from: shop/web, to: shop/db, ports: [80], expect: allow }\n' +
        '- { name: wrong, from: shop/far, to: shop/db, ports: [80], expect: allow }\n',
    );
    const { code, stdout } = await policy('test', '-f', file);
    assert.equal(code, 1);
    assert.match(stdout, /^ok .*\nFAIL {2}wrong/);
    assert.match(
      (await policy('test', '-f', file, '-o', 'junit')).stdout,
      /<testcase name="wrong".*>\n *<failure/,
    );
  });

  await t.test('a kernel without the rules is a disagreement', async () => {
    await connectAgent(runs[0] ?? '').call('purge');
    const { code, answer } = await explain('shop/far', 'shop/db:80');
    assert.deepEqual([code, answer.disagreement], [1, true]);
    const { stdout } = await policy('explain', 'shop/far', 'shop/db:80');
    assert.match(stdout, /DISAGREEMENT/);
  });
});
