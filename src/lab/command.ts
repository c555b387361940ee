/** `tartan lab …`: the lab for people. Progress goes to standard error, answers to standard output. */
import { readFileSync } from 'node:fs';
import { basename, extname, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { Command, CommanderError, Option } from 'commander';
import { renderTable } from '#lib/table.ts';
import { Fault } from '#model/fault.ts';
import { FAMILIES } from '#net/address.ts';
import { labExists, listLabs } from './lab-file.ts';
import { type Lab, openLab, removeLab, startLab } from './lab.ts';
import { allReach, renderMatrix } from './matrix.ts';
import type { Output } from './process.ts';

type Options = { readonly name: string; readonly output: 'text' | 'json' };
type RunOptions = Options & { port?: string[]; namespace: string; label?: string[] };
type UpOptions = Options & {
  nodes: string;
  pods: string;
  subnets: string;
  underlay: string;
  profile: string;
  set: string[];
};

/** The words after `tartan lab`. Answers the exit code; throws Faults. */
export async function runLab(words: readonly string[]): Promise<number> {
  let code = 0;
  const program = new Command('tartan lab')
    .description('a cluster of network namespaces on this host')
    .exitOverride();
  const done = (answer: number): void => void (code = answer);
  for (const add of [addLifecycle, addPods, addPolicies, addFaults, addLooks]) add(program, done);
  try {
    await program.parseAsync([...words], { from: 'user' });
    return code;
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    throw error;
  }
}

type Done = (code: number) => void;

function command(program: Command, usage: string, description: string): Command {
  return program
    .command(usage)
    .description(description)
    .option('--name <lab>', 'which lab', 'main')
    .addOption(new Option('-o, --output <format>', 'how to print').choices(['text', 'json']).default('text'));
}

function addLifecycle(program: Command, done: Done): void {
  command(program, 'up', 'make a lab, start pods, and show who reaches whom')
    .option('--nodes <n>', 'how many nodes', '3')
    .option('--pods <n>', 'pods on each node', '2')
    .addOption(
      new Option('--subnets <n>', '2: a third of the nodes is behind a router')
        .choices(['1', '2'])
        .default('2'),
    )
    .addOption(
      new Option('--underlay <families>', 'addresses that nodes have')
        .choices(['dual', 'ipv4', 'ipv6'])
        .default('dual'),
    )
    .option('--profile <name>', 'profile of every node', 'flannel')
    .option('--set <setting...>', 'further settings of every node: road.type=host-gw', [])
    .action(async (options: UpOptions) => done(await up(options)));
  command(program, 'down', 'remove every trace of a lab').action(async ({ name }: Options) => {
    const there = labExists(name);
    await removeLab(name);
    console.log(there ? `lab ${name} is removed` : `lab ${name} was not up; nothing of it is left`);
  });
  program
    .command('list')
    .description('labs that are up')
    .action(() => console.log(listLabs().join('\n')));
}

function addPods(program: Command, done: Done): void {
  const start = async (node: string, pod: string, options: RunOptions): Promise<void> => {
    const { port = [], namespace, label = [] } = options;
    const { addresses } = await openLab(options.name).addPod(node, pod, {
      runtimeConfig: { portMappings: port.map(parsePort) },
      namespace,
      labels: Object.fromEntries(label.map(parseLabel)),
    });
    console.log(`${pod} on ${node}: ${addresses.join(' ')}`);
  };
  for (const name of ['run', 'add-pod']) {
    command(program, `${name} <node> <pod>`, 'start a pod on a node')
      .option('--port <host:pod...>', 'host ports that lead to the pod, as 8080:80')
      .option('--namespace <namespace>', 'Kubernetes’ namespace of the pod', 'default')
      .option('--label <key=value...>', 'labels of the pod, which policies select it by')
      .action(start);
  }
  command(program, 'remove-pod <pod>', 'stop a pod').action(async (pod: string, { name }: Options) => {
    await openLab(name).removePod(pod);
  });
  command(
    program,
    'exec <where> [words...]',
    'run a program in a pod or a node: exec node1-a -- ip route',
  ).action(async (where: string, words: string[], { name }: Options) => {
    done(print(await openLab(name).exec(where, words)));
  });
}

function addPolicies(program: Command, done: Done): void {
  command(
    program,
    'apply <file...>',
    'put manifests into the lab’s store: policies, and what they are about',
  ).action(async (files: string[], { name }: Options) => {
    const lab = openLab(name);
    if (lab.etcd !== undefined) return done(await ofStore(lab, 'apply', files));
    for (const file of files) lab.apply(manifestName(file), readFileSync(file, 'utf8'));
  });
  command(program, 'delete <file...>', 'take files that were applied out of the store again').action(
    async (files: string[], { name }: Options) => {
      const lab = openLab(name);
      if (lab.etcd !== undefined) return done(await ofStore(lab, 'delete', files));
      for (const file of files) lab.apply(manifestName(file), '');
    },
  );
  command(program, 'tartan <node> [words...]', 'tartan on a node: tartan node1 -- policy matrix').action(
    async (node: string, words: string[], { name }: Options) =>
      done(print(await openLab(name).tartan(node, ...words))),
  );
}

/** By this program's own command, on any node: they share the store. */
async function ofStore(lab: Lab, word: 'apply' | 'delete', files: readonly string[]): Promise<number> {
  const paths = files.map((file) => resolve(file));
  return print(await lab.tartan(lab.nodes[0]?.name ?? '', word, ...paths.flatMap((path) => ['-f', path])));
}

/** Applied files keep their own names, without directories and endings. */
function manifestName(file: string): string {
  return basename(file, extname(file));
}

function print({ code, stdout, stderr }: Output): number {
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  return code;
}

function addFaults(program: Command, done: Done): void {
  command(program, 'kill <node>', 'SIGKILL the node’s agent; its pods go on').action(
    async (node: string, { name }: Options) => openLab(name).kill(node),
  );
  command(program, 'restart <node>', 'start the node’s agent again').action(
    async (node: string, { name }: Options) => openLab(name).start(node),
  );
  command(program, 'cut <a> [b]', 'nothing passes between two nodes, or to and from one').action(
    async (a: string, b: string | undefined, { name }: Options) => openLab(name).cut(a, b),
  );
  command(program, 'heal', 'undo every cut').action(async ({ name }: Options) => openLab(name).heal());
  command(program, 'status <node>', 'tartan status of one node')
    .option('--items', 'every planned item')
    .action(async (node: string, options: Options & { items?: true }) => {
      const words = ['status', '-o', options.output, ...(options.items === true ? ['--items'] : [])];
      done(print(await openLab(options.name).tartan(node, ...words)));
    });
}

function addLooks(program: Command, done: Done): void {
  command(program, 'matrix', 'ask every pod whether it reaches every other').action(
    async ({ name, output }: Options) => done(await showMatrix(openLab(name), output)),
  );
  command(program, 'nodes', 'nodes and pods of the lab').action(({ name, output }: Options) => {
    const lab = openLab(name);
    console.log(output === 'json' ? JSON.stringify(asValue(lab), undefined, 2) : renderLab(lab));
  });
  command(program, 'shell <where>', 'an interactive shell in a pod or a node').action(
    async (where: string, { name }: Options) => {
      const lab = openLab(name);
      const netns =
        lab.pods().find((pod) => pod.name === where)?.netns ??
        lab.nodes.find((node) => node.name === where)?.netns;
      if (netns === undefined) return done((await lab.exec(where, ['true'])).code);
      const { spawnSync } = await import('node:child_process');
      done(spawnSync('nsenter', [`--net=/run/netns/${netns}`, 'sh'], { stdio: 'inherit' }).status ?? 1);
    },
  );
}

async function up(options: UpOptions): Promise<number> {
  const started = performance.now();
  const progress = (line: string): void => {
    console.error(`${((performance.now() - started) / 1000).toFixed(1).padStart(5)} s  ${line}`);
  };
  const lab = await startLab({
    name: options.name,
    nodes: Number(options.nodes),
    subnets: options.subnets === '1' ? 1 : 2,
    underlay: FAMILIES.filter((family) => ['dual', `ipv${family}`].includes(options.underlay)),
    profile: options.profile,
    settings: settingsOf(options.set),
    progress,
  });
  await startPods(lab, Number(options.pods));
  progress(`${lab.pods().length} pods: attached`);
  console.log(`${renderLab(lab)}\n`);
  const code = await waitForMatrix(lab, options.output);
  progress('done');
  console.log(`\n${hints(lab)}`);
  return code;
}

async function startPods(lab: Lab, perNode: number): Promise<void> {
  const letters = Array.from({ length: perNode }, (_, index) => index + 1);
  const jobs = lab.nodes.flatMap((node) =>
    letters.map((letter) => lab.addPod(node.name, `${node.name}-pod${letter}`)),
  );
  await Promise.all(jobs);
}

/** Web servers need a moment after ADD; the roads do not. */
async function waitForMatrix(lab: Lab, output: Options['output']): Promise<number> {
  if (lab.pods().length < 2) return 0;
  await sleep(100);
  return showMatrix(lab, output);
}

async function showMatrix(lab: Lab, output: Options['output']): Promise<number> {
  const reaches = await lab.matrix();
  console.log(output === 'json' ? JSON.stringify(reaches, undefined, 2) : renderMatrix(reaches));
  return allReach(reaches) ? 0 : 1;
}

/** `road.type=host-gw` as a setting; values are JSON where they parse as such, else text. */
function settingsOf(pairs: readonly string[]): Record<string, unknown> {
  const settings: Record<string, unknown> = {};
  for (const pair of pairs) {
    const [path = '', ...rest] = pair.split('=');
    const keys = path.split('.');
    const last = keys.pop() ?? '';
    let group = settings;
    for (const key of keys) group = (group[key] ??= {}) as Record<string, unknown>;
    group[last] = parseValue(rest.join('='));
  }
  return settings;
}

function parseValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}

function parsePort(text: string): object {
  const [hostPort, containerPort, protocol = 'tcp'] = text.split(/[:/]/);
  return { hostPort: Number(hostPort), containerPort: Number(containerPort), protocol };
}

function parseLabel(text: string): [key: string, value: string] {
  const at = text.indexOf('=');
  if (at > 0) return [text.slice(0, at), text.slice(at + 1)];
  throw new Fault('request-invalid', `${JSON.stringify(text)} is no label: write key=value`);
}

function asValue(lab: Lab): object {
  const nodes = lab.nodes.map(({ name, addresses, netns, pid, paths }) => ({
    name,
    addresses,
    netns,
    pid: pid(),
    run: paths.run,
  }));
  return { name: lab.name, profile: lab.profile, nodes, pods: lab.pods() };
}

function renderLab(lab: Lab): string {
  const nodes = lab.nodes.map((node) => [
    node.name,
    `${node.addresses[4]}, ${node.addresses[6]}`,
    `lan${node.lan}`,
    String(node.pid()),
    node.netns,
  ]);
  const pods = lab.pods().map((pod) => [pod.name, pod.node, pod.addresses.join(', '), pod.netns]);
  return [
    renderTable(['NODE', 'ADDRESSES', 'SUBNET', 'AGENT', 'NAMESPACE'], nodes),
    pods.length === 0 ? '' : `\n${renderTable(['POD', 'NODE', 'ADDRESSES', 'NAMESPACE'], pods)}`,
  ].join('\n');
}

function hints(lab: Lab): string {
  const name = lab.name === 'main' ? '' : ` --name ${lab.name}`;
  const [pod = 'POD', other] = lab.pods().map((one) => one.name);
  const address = lab.pods().find((one) => one.name !== pod && one.node !== lab.pods()[0]?.node)
    ?.addresses[0];
  return `Now try (the lab stays up):
  dist/tartan lab status node1${name}           what node1 wants and what its kernel has
  dist/tartan lab exec${name} ${pod} -- curl -s http://${address ?? other ?? 'ADDRESS'}/
  dist/tartan lab cut node1 node2${name} && dist/tartan lab matrix${name}; dist/tartan lab heal${name}
  dist/tartan lab kill node1${name} && dist/tartan lab matrix${name}    pods do not need the agent
  dist/tartan lab down${name}                   removes every trace`;
}
