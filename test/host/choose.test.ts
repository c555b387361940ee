/**
 * `tartan choose` as an operator meets it: asked on a terminal, answered by this host and a running agent, measuring roads;
 * and the settings it ends with, run.
 */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { reportSchema } from '../../src/advisor/choose/report.ts';
import { measurementsSchema } from '../../src/advisor/measure/summary.ts';
import { type Lab, startLab } from '../../src/lab/lab.ts';
import { allReach, renderMatrix } from '../../src/lab/matrix.ts';
import { METRIC_NAMES } from '../../src/model/measurement.ts';
import { execute, PATIENCE } from './namespace.ts';

const skip = process.getuid?.() === 0 ? false : 'a lab makes network namespaces and needs root';
/** Of a terminal: what moves its cursor. */
const ESCAPES = new RegExp(`${String.fromCodePoint(27)}\\[[0-9;]*[A-Za-z]`, 'g');
const POLICY = `apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: web, namespace: default}
spec:
  podSelector: {}
  egress: [{ports: [{port: 80, endPort: 90}]}]
`;

/** Answers each question as it is asked, on a terminal of its own (util-linux, script). */
async function converse(words: string, answerTo: (question: string) => string) {
  const child = spawn('script', ['-qec', words, '/dev/null'], { stdio: ['pipe', 'pipe', 'inherit'] });
  const questions: string[] = [];
  let text = '';
  let told = 0;
  child.stdout.setEncoding('utf8').on('data', (chunk: string) => {
    text += chunk;
    // A prompt is the last of what is there.
    if (!/(?:^|\n)> $/.test(text.slice(told).replaceAll('\r', '').replaceAll(ESCAPES, ''))) return;
    const question = text.slice(told);
    told = text.length;
    questions.push(question);
    child.stdin.write(`${answerTo(question)}\n`);
  });
  const timer = setTimeout(() => child.kill('SIGKILL'), 60_000 * PATIENCE);
  const code = await new Promise<number | null>((resolve) => child.on('close', resolve));
  clearTimeout(timer);
  return { questions, text: text.replaceAll('\r', ''), code };
}

const choose = async (...words: string[]) => {
  const { code, stdout, stderr } = await execute(['dist/tartan', 'choose', ...words]);
  return { code, stderr, report: stdout === '' ? undefined : reportSchema.parse(JSON.parse(stdout)) };
};

test('on a terminal: at most a dozen questions, a bad answer is asked for again, and advice', async () => {
  let bad = 0;
  const { questions, text, code } = await converse('dist/tartan choose --no-host', (question) => {
    if (question.includes('Where do the nodes run')) return bad++ === 0 ? 'moon' : 'aws';
    if (question.includes('instance type')) return 'm5.large';
    if (question.includes('How many pods')) return '20';
    if (question.includes('What do you prefer')) return 'no-encapsulation';
    return '';
  });
  assert.equal(code, 0, text);
  assert.ok(questions.length > 5 && questions.length - 1 <= 12, `${questions.length} questions`);
  assert.match(questions[1] ?? '', /bare-metal/, 'what would be an answer is told');
  assert.match(text, /1\. AWS VPC CNI/);
  const again = /Without questions: tartan (choose .*)/.exec(text)?.[1] ?? '';
  assert.match(again, /--platform aws --instance m5\.large --pods-per-node 20 --prefer no-encapsulation$/);
  const { stdout } = await execute(['dist/tartan', ...again.trim().split(' ')]);
  assert.match(stdout, /1\. AWS VPC CNI/);
});

test('end of input leaves the rest open; Ctrl-C chooses nothing', async () => {
  const ended = await converse('dist/tartan choose --no-host', () => '\u0004');
  assert.equal(ended.code, 0, ended.text);
  assert.match(ended.text, /Ranking/);
  const interrupted = await converse('dist/tartan choose --no-host', () => '\u0003');
  assert.equal(interrupted.code, 2, interrupted.text);
  assert.doesNotMatch(interrupted.text, /Ranking/);
});

test('a lab: what its agent knows is not asked; the settings of IPv6 alone run', { skip }, async (t) => {
  const { report } = await choose('--family', 'ipv6', '--policies', 'kubernetes', '-o', 'json');
  const { profile, ...settings } = report?.tartan?.settings ?? {};
  await using lab = await startLab({
    name: `ch-${process.pid}`,
    nodes: 2,
    subnets: 1,
    profile: String(profile),
    settings,
  });
  for (const { name } of lab.nodes) await lab.addPod(name, `${name}-p`);

  await t.test('IPv6 alone: pods have no other address, and every pod reaches every pod', async () => {
    for (const { addresses } of lab.pods()) assert.match(addresses.join(' '), /^[0-9a-f:]+$/);
    let reaches = await lab.matrix();
    for (let round = 0; round < 4 && !allReach(reaches); round += 1) reaches = await lab.matrix();
    assert.ok(allReach(reaches), renderMatrix(reaches));
  });

  await t.test('nodes, pods, subnets, kernel, MTU, family, provider and policies are seen', async () => {
    lab.apply('web', POLICY);
    const seen = await untilSeen(lab, ({ answers }) => answers.policies !== undefined);
    const { answers } = seen;
    assert.deepEqual(
      [answers.nodes, answers.podsPerNode, answers.subnets, answers.family, answers.mtu],
      [2, 1, 'one', 'ipv6', 1500],
    );
    assert.deepEqual(answers.policies, ['kubernetes', 'egress', 'port-ranges']);
    assert.equal(answers.present, `tartan-${String(profile)}`);
    for (const topic of ['nodes', 'kernel', 'policies', 'present']) assert.ok(seen.seen[topic], topic);
  });

  await t.test('on a terminal these are not asked', async () => {
    const config = lab.nodes[0]?.paths.settings ?? '';
    const { questions, text } = await converse(`dist/tartan choose --config ${config}`, () => '');
    const asked = questions.join('');
    assert.doesNotMatch(
      asked,
      /\d+\/\d+ (?:Which is the oldest kernel|How many|Are nodes on|Which addresses|Which policies|Which provider)/,
    );
    assert.match(asked, /\d+\/\d+ What else must it have/);
    assert.match(text, /nodes: 2 \(nodes of the store\)/);
  });
});

async function untilSeen(
  lab: Lab,
  isThere: (report: NonNullable<Awaited<ReturnType<typeof choose>>['report']>) => boolean,
) {
  for (;;) {
    const { stdout, stderr } = await lab.tartan('node1', 'choose', '--host', '-o', 'json');
    assert.notEqual(stdout, '', stderr);
    const report = reportSchema.parse(JSON.parse(stdout));
    if (isThere(report)) return report;
    await sleep(200);
  }
}

test('without an agent the host is looked at; flags count before what is seen', { skip }, async () => {
  const { report, stderr } = await choose('--host', '--kernel', '9.9', '-o', 'json');
  assert.equal(report?.answers.kernel, '9.9', stderr);
  assert.equal(report.seen['kernel'], undefined);
  assert.equal(typeof report.answers.mtu, 'number');
});

test('measuring: pairs of runs of every figure, and nothing is left behind', { skip }, async () => {
  const words = '--measure --roads vxlan,host-gw --rounds 2 --run-ms 60 --policy-counts 0,20 -o json'.split(
    ' ',
  );
  const { code, stdout, stderr } = await execute(['dist/tartan', 'choose', ...words], { timeoutMs: 120_000 });
  assert.equal(code, 0, stderr);
  const { roads, missing } = measurementsSchema.parse(JSON.parse(stdout));
  assert.deepEqual(missing, []);
  assert.deepEqual(
    roads.map(({ road, policies }) => [road, policies]),
    [
      ['vxlan', 0],
      ['vxlan', 20],
      ['host-gw', 0],
      ['host-gw', 20],
    ],
  );
  for (const { series, memoryMiB, mtu, road } of roads) {
    assert.deepEqual(new Set(series.map(({ metric }) => metric)), new Set(METRIC_NAMES));
    for (const { road: on, bare } of series)
      assert.ok(on.length === 2 && bare.length === 2 && [...on, ...bare].every(({ value }) => value > 0));
    assert.ok(memoryMiB > 20);
    assert.equal(mtu, road === 'vxlan' ? 1450 : 1500);
  }
  assert.match(stderr, /VXLAN, 20 policies/);
  assert.deepEqual(
    readdirSync('/run/netns').filter((name) => name.startsWith('lab-measure-')),
    [],
  );
});

test('what cannot be measured is refused, all of it at once', async () => {
  const { code, stderr } = await choose(
    '--measure',
    '--rounds',
    '0',
    '--run-ms',
    'x',
    '--policy-counts',
    'many',
  );
  assert.equal(code, 2);
  for (const flag of ['--rounds', '--run-ms', '--policy-counts']) assert.ok(stderr.includes(flag), stderr);
});

test('answers and numbers that cannot be used are named together', async () => {
  const words = '--nodes -1 --instance m5.tiny --needs speed --capacity --range x --subnet 99'.split(' ');
  const { code, stderr } = await choose(...words);
  assert.equal(code, 2);
  for (const path of ['nodes', 'instance', 'needs.0', '--range', '--subnet'])
    assert.match(stderr, new RegExp(`^ {2}${path.replace('.', '\\.')}: `, 'm'));
});
