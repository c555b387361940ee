/**
 * `tartan support`: an archive (.tar.gz) of text files with what a maintainer needs. The agent leaves secrets out of its
 * part; this command adds only what the host tells anyone, and masks addresses of neither nodes nor pods, which are needed
 * to read the rest. With a dead agent the archive says so, and its own files are missing.
 */
import { execFile } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { promisify } from 'node:util';
import type { Command } from 'commander';
import { toFault } from '#model/fault.ts';
import { type Client } from './client.ts';
import { writeAtomically } from './installation.ts';
import { clientOf, configOf, textOption, withAgent } from './options.ts';
import { EXIT, renderFault } from './output.ts';
import { examine } from './doctor.ts';
import type { Doors, Make } from './program.ts';
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
  'host/xfrm-policies.txt': ['ip', 'xfrm', 'policy'],
  // An ip too old to hide keys refuses the word.
  'host/xfrm-states.txt': ['ip', '-s', 'xfrm', 'state', 'list', 'nokeys'],
  'host/journal.txt': ['journalctl', '--unit=tartan', '--lines=2000', '--no-pager'],
  'ruleset.txt': ['nft', 'list', 'ruleset'],
};

const DEFAULT_FILE = 'tartan-support.tar.gz';
/** The one directory of the archive. */
const TOP = 'tartan-support';
const run = promisify(execFile);

export function supportCommand(make: Make, doors: Pick<Doors, 'facts'>): Command {
  const command = make('support', async (options) => {
    const file = textOption(options, 'file') ?? DEFAULT_FILE;
    const files = redactAll({
      ...(await agentFiles(clientOf(options))),
      ...(await doctorFile(options, doors)),
      ...settingsFile(configOf(options)),
      ...(await hostFiles()),
    });
    writeAtomically(file, await archive(files), 0o600);
    console.log(`${file}: ${Object.keys(files).length} files. List them with: tar -tzf ${file}`);
    return EXIT.ok;
  });
  return withAgent(command)
    .description('collect a redacted archive for a bug report')
    .option('-f, --file <file>', 'where to write it', DEFAULT_FILE);
}

/** Works with a dead agent too: then the bundle says so. */
async function agentFiles(client: Client): Promise<Files> {
  try {
    return (await client.call('support')).files;
  } catch (error) {
    return { 'agent.txt': renderFault(toFault(error)) };
  }
}

async function doctorFile(options: Record<string, unknown>, doors: Pick<Doors, 'facts'>): Promise<Files> {
  const found = await examine(options, doors).catch((error: unknown) => ({
    problem: renderFault(toFault(error)),
  }));
  return { 'doctor.json': `${JSON.stringify(found, undefined, 2)}\n` };
}

/** Written out in a directory that nobody else can look into, and gone with it whatever happens. */
async function archive(files: Files): Promise<Buffer> {
  const directory = mkdtempSync(join(tmpdir(), 'tartan-support-'));
  try {
    for (const [name, text] of Object.entries(files)) {
      const path = join(directory, TOP, name);
      mkdirSync(dirname(path), { recursive: true });
      writeFileSync(path, text, { mode: 0o600 });
    }
    const words = ['--create', '--gzip', '--owner=0', '--group=0', `--directory=${directory}`, TOP];
    return (await run('tar', words, { encoding: 'buffer', maxBuffer: 256 << 20 })).stdout;
  } finally {
    rmSync(directory, { recursive: true, force: true });
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
