/** docs/policy-scenarios.md: each paragraph and row, and the test that shows it. */
import { betweenPods, type Documentation, type Elsewhere, titleOf } from './scenario.ts';

const HEAD = `# Policy scenarios

What the documentation of each kind of policy says, paragraph by paragraph and row by row, and the test that shows it: agents
and pods in a lab, manifests in the store, packets of IPv4 and IPv6. Of each flow, four things are held against each other:
what is expected here, what \`evaluate\` says of what the agents know, what the rules in the nodes' kernels come to, and
whether the packet arrives (of TCP, also its answer).

Tests are \`test/host/policy-scenarios.test.ts\` (profile \`canal\`, two nodes) and, where the last column says so,
\`test/host/policy-scenarios-bridge.test.ts\` (profile \`flannel\`, one bridge) too; the name of a test is its place and, behind a
colon, what it says. Written by \`npm exec -- node scripts/docs.ts\` from \`test/host/scenarios\`.
`;

export function renderScenarios(
  documentation: readonly Documentation[],
  onBridge: readonly Documentation[],
): string {
  const bridged = new Set(onBridge.flatMap(({ scenarios }) => betweenPods(scenarios)).map(titleOf));
  const parts = documentation.map(({ title, source, scenarios, elsewhere, silent }) => {
    const played = scenarios.map((each) => row(each.section, each.says, wires(bridged.has(titleOf(each)))));
    const others = elsewhere.map((each) => row(each.section, each.says, otherTest(each)));
    const rest = silent.map(([section, says, why]) => row(section, says, `not by packets: ${why}`));
    return [
      `## ${title}\n\n${source}\n`,
      row('where', 'what it says', 'shown'),
      '|---|---|---|',
      ...played,
      ...others,
      ...rest,
    ].join('\n');
  });
  return `${[HEAD, ...parts].join('\n')}\n`;
}

const wires = (bridged: boolean): string => (bridged ? 'routed, bridge' : 'routed');

function otherTest({ file, title }: Elsewhere): string {
  return `\`test/host/${file}\`: ${title}`;
}

function row(...cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`;
}
