/**
 * `tartan policy explain FROM TO:PORT`: why a flow is allowed or denied, at both ends, by which rule, and whether the rules
 * that the kernel holds say the same. Exit code 1 when they do not.
 */
import type { Command } from 'commander';
import type { KernelOpinions } from '#api/policy.ts';
import { Fault, type Problem } from '#model/fault.ts';
import type { Flow } from '#model/verdict.ts';
import { renderTable } from '#lib/table.ts';
import { formatOrigin } from '#model/manifest.ts';
import { showDecider } from '#policy/deciders.ts';
import {
  compareKernel,
  type Comparison,
  type ExplainedCheck,
  type Explanation,
  explainFlow,
  type View,
} from '#policy/explain.ts';
import {
  findEnd,
  flowsBetween,
  parseTraffic,
  showFlow,
  splitTarget,
  type Unclear,
} from '#policy/flow-text.ts';
import { crossingsOf } from '#policy/hosts.ts';
import type { Client } from './client.ts';
import { formatOf, withOutput } from './options.ts';
import { EXIT, indent, print } from './output.ts';
import { readSource, viewOf, withSource } from './policy-source.ts';
import type { Make } from './program.ts';

type Kernel = Omit<KernelOpinions, 'opinions'> & { readonly comparisons: readonly Comparison[] };
type Explained = Explanation & { readonly kernels: readonly Kernel[] };

type Answer = {
  readonly from: string;
  readonly to: string;
  readonly traffic: string;
  /** The kernel of some node says something else than its policies. */
  readonly disagreement: boolean;
  readonly explanations: readonly Explained[];
  /** Nodes that judge the flow and whose agent was not asked. */
  readonly unasked: readonly string[];
};

export function explainCommand(make: Make): Command {
  const command = make('explain', async (options, [from = '', target = '']) => {
    const source = await readSource(options);
    const answer = await answerOf(viewOf(source), [from, target], source.clients);
    print(formatOf(options), answer, (value) => render(value, options['trail'] === true));
    return answer.disagreement ? EXIT.found : EXIT.ok;
  });
  return withOutput(withSource(command))
    .description('why a flow is allowed or denied: both ends, the deciding rule, and what the kernel says')
    .argument('<from>', 'namespace/pod, pod, node:NAME, host:NAME or an IP address')
    .argument('<to>', 'the same with :PORT, :PORT/udp, :PORTNAME; icmp without one; [IPv6]:PORT')
    .option('--trail', 'show rules that did not match, too')
    .addHelpText(
      'after',
      '\nExit codes: 0 explained, whatever the verdict; 1 the kernel disagrees; 2 bad input; 3 no agent answers.',
    );
}

async function answerOf(
  view: View,
  [from, target]: readonly [string, string],
  clients: readonly Client[],
): Promise<Answer> {
  const { place, traffic } = splitTarget(target);
  const [source, destination, kind] = [
    findEnd(view.world, from),
    findEnd(view.world, place),
    parseTraffic(traffic),
  ];
  if ('unclear' in source || 'unclear' in destination || 'unclear' in kind) {
    throw unclear([
      ['FROM', source],
      ['TO', destination],
      ['PORT', kind],
    ]);
  }
  const flows = flowsBetween(source, destination, kind);
  if ('unclear' in flows) throw unclear([['TO', flows]]);
  const explanations = await Promise.all(
    flows.map(async (flow): Promise<Explained> => {
      const explanation = explainFlow(view, [source, destination], flow);
      return { ...explanation, kernels: await askKernels(view, explanation, clients) };
    }),
  );
  const asked = new Set(explanations.flatMap(({ kernels }) => kernels.map(({ node }) => node)));
  const judging = explanations.flatMap(({ checks }) => checks.map(({ node }) => node));
  return {
    from: source.name,
    to: destination.name,
    traffic: showFlow(flows[0] as Flow),
    disagreement: explanations.some(({ kernels }) => kernels.some(disagrees)),
    explanations,
    unasked: clients.length === 0 ? [] : [...new Set(judging)].filter((node) => !asked.has(node)),
  };
}

function unclear(parts: readonly (readonly [string, object])[]): Fault {
  const problems = parts.flatMap(([path, part]): Problem[] =>
    'unclear' in part ? [{ path, message: (part as Unclear).unclear }] : [],
  );
  return new Fault('request-invalid', 'the flow is not clear', { problems });
}

async function askKernels(
  view: View,
  explanation: Explanation,
  clients: readonly Client[],
): Promise<Kernel[]> {
  const crossings = crossingsOf(view.world, explanation.flow);
  const flow = crossings.length === 0 ? explanation.flow : { ...explanation.flow, crossings };
  return Promise.all(
    clients.map(async (client) => {
      const { opinions, ...about } = await client.call('policyOpinion', { flow });
      return { ...about, comparisons: compareKernel(explanation, { ...about, opinions }) };
    }),
  );
}

/** Rules that were tampered with say nothing that can be relied on. */
function disagrees({ enforces, intact, comparisons }: Kernel): boolean {
  return enforces && (!intact || comparisons.some(({ agrees }) => !agrees));
}

function render(answer: Answer, isWhole: boolean): string {
  const { from, to, traffic, explanations, unasked, disagreement } = answer;
  return [
    `${from} → ${to} ${traffic}`,
    ...explanations.map((each) => renderFamily(each, isWhole)),
    ...(unasked.length === 0
      ? []
      : [`Kernel not asked: ${unasked.join(', ')} (run it there, or give --run)`]),
    ...(disagreement ? ['DISAGREEMENT: the kernel does not do what its policies say'] : []),
  ].join('\n');
}

function renderFamily(explained: Explained, isWhole: boolean): string {
  const { family, flow, action, path, checks, kernels } = explained;
  const none = 'no policy judges this flow: nobody on its way is a pod or a host endpoint\n';
  const lines = [
    `path: ${path.join(' → ')}`,
    ...(checks.length === 0 ? [none.trim()] : checks.map((check) => renderCheck(check, isWhole))),
    ...kernels.flatMap(renderKernel),
  ];
  const title = `IPv${family}  ${flow.source} → ${flow.destination}: ${action.toUpperCase()}`;
  return `\n${title}\n${indent(lines.join('\n'))}`;
}

/** Trails up to so many rules are shown whole. */
const SHORT = 12;

function renderCheck(check: ExplainedCheck, isWhole: boolean): string {
  const { direction, endpoint, action, exempt, decided, staged, trail } = check;
  const why = exempt === undefined ? showDecider(decided) : EXEMPT[exempt];
  const lines = [
    `${direction} of ${endpoint}: ${action}, ${why}`,
    ...(staged === undefined
      ? []
      : [`  staged policies would ${staged.action} it, ${showDecider(staged.decided)}`]),
  ];
  const asked = trail.filter(({ outcome }) => isWhole || trail.length <= SHORT || outcome !== 'no match');
  const hidden = trail.length - asked.length;
  const rows = asked.map(({ tier, policy = '(default)', rule, origin, outcome }) => [
    tier,
    rule === undefined ? policy : `${policy} ${JSON.stringify(rule)}`,
    outcome,
    origin === undefined ? '' : formatOrigin(origin),
  ]);
  if (rows.length > 0) lines.push(indent(renderTable(['TIER', 'ASKED', 'OUTCOME', 'WHERE'], rows)));
  if (hidden > 0) lines.push(`  and ${hidden} rules that do not match (--trail)`);
  return lines.join('\n');
}

const EXEMPT = {
  self: 'as it stays inside the pod',
  'own-node': 'as a node may always reach its own pods',
  failsafe: 'as the port is failsafe',
} as const;

function renderKernel(kernel: Kernel): string[] {
  const { node, enforces, audit, intact, loadedProgramAgrees, comparisons } = kernel;
  if (!enforces) return [`kernel of ${node}: policies are not enforced there (policy.enforce)`];
  return [
    ...comparisons.map(renderComparison),
    ...(intact
      ? []
      : [`kernel of ${node}: DISAGREEMENT: the fixed rules of the table are not as they were made`]),
    ...(loadedProgramAgrees
      ? []
      : [`kernel of ${node}: holds other entries than its agent loaded; they are being repaired`]),
    ...(audit ? [`kernel of ${node}: audits only: what is denied passes, and is logged`] : []),
  ];
}

function renderComparison({ node, endpoint, direction, kernel, agrees, opinion }: Comparison): string {
  const verdict = kernel === 'absent' ? 'no rules, so it may' : kernel;
  const entry = opinion?.entry === undefined ? '' : ` by entry "${opinion.entry}"`;
  const rule = opinion?.rule === undefined ? '' : `, rule ${opinion.rule}`;
  const { packets, bytes } = opinion ?? {};
  const count = packets === undefined ? '' : ` (so far ${packets} first packets, ${bytes} bytes)`;
  const mark = agrees ? 'agrees' : 'DISAGREEMENT';
  return `kernel of ${node}, ${direction} of ${endpoint}: ${verdict}${entry}${rule}${count}: ${mark}`;
}
