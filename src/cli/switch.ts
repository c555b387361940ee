/**
 * `tartan switch`: the whole cluster changes its road while traffic goes on. The agents do it by themselves, phase by
 * phase; this command begins it and tells how far they are. Stopping it stops nothing.
 */
import type { Command } from 'commander';
import type { ForeseenAnswer, RoadAnswer } from '#api/road.ts';
import { parseSettings } from '#config/parse.ts';
import { Fault } from '#model/fault.ts';
import { type RoadSpec, specText } from '#model/road-switch.ts';
import { ROAD_TYPES } from '#model/settings.ts';
import type { Client } from './client.ts';
import { clientOf, formatOf, textOption, withAgent, withOutput } from './options.ts';
import { EXIT, type ExitCode, type OutputFormat, print } from './output.ts';
import { readProfiles } from './profiles.ts';
import type { Make } from './program.ts';
import { isDone, renderRoad } from './road-text.ts';

const POLL_MS = 250;
/** A failure may be one of a moment: the agents try again. */
const GRACE_MS = 5000;

export function switchCommand(make: Make): Command {
  const command = make('switch', async (options, words) => {
    const [client, format] = [clientOf(options), formatOf(options)];
    const request = {
      back: options['back'] === true,
      without: (options['without'] as string[] | undefined) ?? [],
      ...(words[0] === undefined ? {} : { to: specOf(words[0], textOption(options, 'mode')) }),
    };
    if (options['dryRun'] === true) return foresee(client, format, request);
    const asks = request.to !== undefined || request.back || request.without.length > 0;
    const begun = asks ? await client.call('changeRoad', request) : await client.call('road');
    const seconds = Number(textOption(options, 'timeout') ?? '60');
    const ended = options['wait'] === false ? begun : await follow(client, begun, { format, seconds });
    print(format, ended, (answer) => `road: ${renderRoad(answer)}`);
    return isDone(ended) ? EXIT.ok : EXIT.found;
  });
  return withOutput(withAgent(command))
    .argument('[road]', `${ROAD_TYPES.join(', ')}, or a profile, whose road is taken; absent: how far it is`)
    .option('--mode <mode>', 'Always or CrossSubnet')
    .option('--dry-run', 'tell what would stand against it, and each node’s steps')
    .option('--back', 'turn round: to where the last change came from')
    .option(
      '--without <node...>',
      'do not wait for these nodes; they may lose their peers until they run again',
    )
    .option('--no-wait', 'do not wait until it is done')
    .option('--timeout <seconds>', 'wait so long for a phase', '60')
    .description('change the road between nodes while traffic goes on');
}

function specOf(word: string, mode: string | undefined): RoadSpec {
  const type = ROAD_TYPES.find((each) => each === word);
  const profiles = readProfiles();
  if (type === undefined && !Object.hasOwn(profiles, word))
    throw new Fault('request-invalid', `there is neither a road nor a profile ${word}`);
  const { settings } = parseSettings([], profiles, {
    'node.name': 'any',
    ...(type === undefined ? { profile: word } : { 'road.type': type }),
    ...(mode === undefined ? {} : { 'road.mode': mode }),
  });
  return { type: settings.road.type, mode: settings.road.mode };
}

type Request = { readonly to?: RoadSpec; readonly back: boolean; readonly without: string[] };

async function foresee(client: Client, format: OutputFormat, request: Request): Promise<ExitCode> {
  const foreseen = await client.call('foreseeRoad', request);
  print(format, foreseen, renderForeseen);
  return foreseen.obstacles.length === 0 ? EXIT.ok : EXIT.found;
}

function renderForeseen({ from, to, obstacles, nodes }: ForeseenAnswer): string {
  const lines = [`${specText(from)} → ${specText(to)}`];
  for (const { node, peer, why } of obstacles)
    lines.push(`cannot: ${node}${peer === undefined ? '' : ` to ${peer}`}: ${why}`);
  for (const { name, phases } of obstacles.length > 0 ? [] : nodes) {
    lines.push('', name);
    for (const { phase, steps } of phases) {
      lines.push(`  ${phase}`, ...steps.map((step) => `    ${step}`));
    }
  }
  return lines.join('\n');
}

type Patience = { readonly format: OutputFormat; readonly seconds: number };

/** Until it is done, somebody fails, or a phase takes too long. */
async function follow(client: Client, begun: RoadAnswer, { format, seconds }: Patience): Promise<RoadAnswer> {
  let [answer, phase, since] = [begun, '', Date.now()];
  for (;;) {
    const now = answer.change?.phase ?? 'done';
    if (now !== phase) {
      [phase, since] = [now, Date.now()];
      if (format === 'text') console.error(`${now} …`);
    }
    const waited = Date.now() - since;
    const fails = answer.holds.some(({ failed }) => failed) && waited > GRACE_MS;
    if (isDone(answer) || fails || waited > seconds * 1000) return answer;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    answer = await client.call('road');
  }
}
