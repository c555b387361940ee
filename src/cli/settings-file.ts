/** The settings file of a node: found, read and checked. All that is wrong with it comes in one Fault. */
import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import { parse, stringify } from 'yaml';
import { type ParsedSettings, parseSettings, type SettingsDocument } from '#config/parse.ts';
import { API_VERSION } from '#config/schema.ts';
import { Fault } from '#model/fault.ts';
import { readProfiles } from './profiles.ts';

export const DEFAULT_SETTINGS_FILE = '/etc/tartan/settings.yaml';
const DEFAULT_RUN = '/run/tartan';

/**
 * Throws Fault `settings-invalid` with every problem at its place. The default file may be missing: then everything is
 * the profile's. A node that the file does not name is called by TARTAN_NODE, as in a pod, else as its host; where a relay
 * stands is told by TARTAN_ADDRESS.
 */
export function readSettings(file: string): ParsedSettings {
  const name = process.env['TARTAN_NODE'] ?? hostname().toLowerCase();
  const address = process.env['TARTAN_ADDRESS'];
  const relay = address === undefined ? {} : { relay: { address } };
  const base = stringify({ apiVersion: API_VERSION, kind: 'Settings', node: { name }, ...relay });
  const documents: SettingsDocument[] = [{ origin: 'name of the node', text: base }];
  const text = readText(file);
  if (text !== undefined) documents.push({ origin: file, text });
  return parseSettings(documents, readProfiles());
}

/**
 * Where the agent's sockets are. Reads no more than it must, so that status and pause work beside a settings file that
 * has become invalid since the agent started, and beside none.
 */
export function runDirectory(file: string): string {
  try {
    const raw = parse(readText(file) ?? '') as { paths?: { run?: unknown } } | null;
    const run = raw?.paths?.run;
    return typeof run === 'string' ? run : DEFAULT_RUN;
  } catch (error) {
    if (error instanceof Fault) throw error;
    return DEFAULT_RUN;
  }
}

/** Undefined when it is the default file and is not there. */
function readText(file: string): string | undefined {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    if (file === DEFAULT_SETTINGS_FILE && (cause as NodeJS.ErrnoException).code === 'ENOENT')
      return undefined;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Fault('settings-invalid', `cannot read the settings: ${why}`, { cause });
  }
}
