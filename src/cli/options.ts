/** Options that several commands share, and what they mean. */
import { type Command, Option } from 'commander';
import { type Client, connectAgent } from './client.ts';
import type { OutputFormat } from './output.ts';
import { DEFAULT_SETTINGS_FILE, runDirectory } from './settings-file.ts';

export function withOutput(command: Command): Command {
  return command.addOption(
    new Option('-o, --output <format>', 'how to print').choices(['text', 'json']).default('text'),
  );
}

export function withConfig(command: Command): Command {
  return command.option('-c, --config <file>', 'settings of the node', DEFAULT_SETTINGS_FILE);
}

/** For commands that speak to a running agent. */
export function withAgent(command: Command): Command {
  return withConfig(command).option(
    '--run <directory>',
    'the agent’s run directory (default: from --config)',
  );
}

export function formatOf(options: Record<string, unknown>): OutputFormat {
  return options['output'] === 'json' ? 'json' : 'text';
}

export function clientOf(options: Record<string, unknown>): Client {
  return connectAgent(textOption(options, 'run') ?? runDirectory(configOf(options)));
}

export function configOf(options: Record<string, unknown>): string {
  return textOption(options, 'config') ?? DEFAULT_SETTINGS_FILE;
}

export function textOption(options: Record<string, unknown>, name: string): string | undefined {
  const value = options[name];
  return typeof value === 'string' ? value : undefined;
}
