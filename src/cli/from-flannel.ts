/** `tartan from-flannel`: flannel's net-conf.json as a settings file, with what has no counterpart as comments on top. */
import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { stringify } from 'yaml';
import { layerOfPaths } from '#config/document.ts';
import { fromFlannelNetConf } from '#config/net-conf.ts';
import { API_VERSION } from '#config/schema.ts';
import { Fault } from '#model/fault.ts';
import { EXIT } from './output.ts';
import type { Make } from './program.ts';

export function fromFlannelCommand(make: Make): Command {
  return make('from-flannel', (_options, [file = '']) => {
    const { fragment, warnings } = fromFlannelNetConf(readText(file));
    const settings = { apiVersion: API_VERSION, kind: 'Settings', profile: 'flannel' };
    const { values } = layerOfPaths(file, fragment);
    const comments = warnings.map(({ path, message }) => `# ${path} ${message}\n`);
    process.stdout.write(comments.join('') + stringify({ ...settings, ...values }));
    return EXIT.ok;
  })
    .description('a settings file of flannel’s net-conf.json, on standard output')
    .argument('<file>', 'net-conf.json');
}

function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new Fault('settings-invalid', `cannot read ${file}: ${why}`, { cause });
  }
}
