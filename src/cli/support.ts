/**
 * `tartan support`: one JSON file with what a maintainer needs. The agent leaves secrets out of its part; this command
 * adds only what the host tells anyone, and masks addresses of neither nodes nor pods, which are needed to read the rest.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { gzipSync } from 'node:zlib';
import type { Command } from 'commander';
import { toFault } from '#model/fault.ts';
import { type Client } from './client.ts';
import { writeAtomically } from './installation.ts';
import { clientOf, configOf, textOption, withAgent } from './options.ts';
import { EXIT, renderFault } from './output.ts';
import type { Make } from './program.ts';
import { redact } from './redact.ts';

type Files = Record<string, string>;

/** Read-only looks at the host; what is not installed is noted in its file. */
const LOOKS: Readonly<Record<string, readonly string[]>> = {
  'host/uname.txt': ['uname', '-a'],
  'host/links.txt': ['ip', '-d', '-s', 'link'],
  'host/addresses.txt': ['ip', 'address'],
  'host/routes4.txt': ['ip', '-4', 'route', 'show', 'table', 'all'],
  'host/routes6.txt': ['ip', '-6', 'route', 'show', 'table', 'all'],
  'host/rules.txt': ['ip', 'rule'],
  'host/neighbors.txt': ['ip', 'neighbor'],
  'host/fdb.txt': ['bridge', 'fdb'],
  'host/nft.txt': ['nft', 'list', 'ruleset'],
};

export function supportCommand(make: Make): Command {
  const command = make('support', async (options) => {
    const file = textOption(options, 'file') ?? 'tartan-support.json.gz';
    const files = redactAll({
      ...(await agentFiles(clientOf(options))),
      ...settingsFile(configOf(options)),
      ...(await hostFiles()),
    });
    writeAtomically(file, gzipSync(JSON.stringify({ format: 1, files }, undefined, 1)), 0o600);
    console.log(`${file}: ${Object.keys(files).length} files. Read it with: zcat ${file}`);
    return EXIT.ok;
  });
  return withAgent(command)
    .description('collect a redacted bundle for a bug report')
    .option('-f, --file <file>', 'where to write it', 'tartan-support.json.gz');
}

/** Works with a dead agent too: then the bundle says so. */
async function agentFiles(client: Client): Promise<Files> {
  try {
    return (await client.call('support')).files;
  } catch (error) {
    return { 'agent.txt': renderFault(toFault(error)) };
  }
}

function settingsFile(path: string): Files {
  try {
    return { 'settings.yaml': readFileSync(path, 'utf8') };
  } catch (error) {
    return { 'settings.yaml': `# ${toFault(error).message}` };
  }
}

async function hostFiles(): Promise<Files> {
  const run = promisify(execFile);
  const looks = Object.entries(LOOKS).map(async ([name, [program = '', ...words]]) => {
    const answer = await run(program, words, { timeout: 10_000, maxBuffer: 16 << 20 }).catch(
      (error: unknown) => ({ stdout: `${program}: ${toFault(error).message}` }),
    );
    return [name, answer.stdout] as const;
  });
  return Object.fromEntries(await Promise.all(looks));
}

function redactAll(files: Files): Files {
  return Object.fromEntries(Object.entries(files).map(([name, text]) => [name, redact(text)]));
}
