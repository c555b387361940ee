/**
 * `tartan install --profile NAME`: prints what installs Tartan in a cluster of Kubernetes, for `kubectl apply -f -`. Nothing
 * but a chart, where one is asked for, is written on this host, and nobody is asked.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { chartOf } from '#deploy/chart.ts';
import {
  cleanupObjects,
  installationObjects,
  namespaceObject,
  plainObjects,
  renderObjects,
} from '#deploy/manifest.ts';
import { type Installation, type InstallationWords, planInstallation } from '#deploy/options.ts';
import { Fault } from '#model/fault.ts';
import { textOption } from './options.ts';
import { EXIT } from './output.ts';
import { readProfiles } from './profiles.ts';

/** Of an installation in Kubernetes only, as commander names them. */
const NAMES = [
  'profile',
  'kubernetes',
  'image',
  'namespace',
  'set',
  'withMonitoring',
  'uninstall',
  'helm',
] as const;

export function withKubernetes(command: Command): Command {
  return command
    .option('--profile <name>', 'print what installs this profile in Kubernetes')
    .option('--kubernetes <version>', 'version of the cluster, 1.20 or later (default: 1.30 or later)')
    .option('--image <image>', 'image of agent and controller (default: localhost/tartan:VERSION)')
    .option('--namespace <name>', 'where the pods stand (default: tartan-system)')
    .option('--set <path=value...>', 'settings of all nodes, such as network.ipv4.range=10.1.0.0/16')
    .option('--with-monitoring', 'also objects of the Prometheus operator')
    .option('--helm <directory>', 'write a Helm chart of it there instead of printing it')
    .option('--uninstall', 'print what takes Tartan off all nodes instead');
}

export function isForKubernetes(options: Readonly<Record<string, unknown>>): boolean {
  return NAMES.some((name) => options[name] !== undefined);
}

/** Throws Fault `request-invalid` with every problem. */
export function installInKubernetes(options: Readonly<Record<string, unknown>>, version: string): number {
  const words = wordsOf(options, version);
  const installation = planInstallation(words, readProfiles());
  const chart = textOption(options, 'helm');
  if (chart !== undefined) return writeChart(chart, installation);
  const objects =
    options['uninstall'] === true
      ? cleanupObjects(installation)
      : [namespaceObject(installation), ...installationObjects(installation)];
  const isJson = options['output'] === 'json';
  const list = { apiVersion: 'v1', kind: 'List', items: plainObjects(objects) };
  process.stdout.write(isJson ? `${JSON.stringify(list, undefined, 2)}\n` : renderObjects(objects));
  return EXIT.ok;
}

function writeChart(directory: string, installation: Installation): number {
  for (const [path, text] of chartOf(installation)) {
    const file = join(directory, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
  }
  console.log(`wrote ${directory}; helm install tartan ${directory} --namespace ${installation.namespace}`);
  return EXIT.ok;
}

function wordsOf(options: Readonly<Record<string, unknown>>, version: string): InstallationWords {
  const profile = textOption(options, 'profile');
  if (profile === undefined) {
    const message = 'is missing: which profile is to be installed';
    throw new Fault('request-invalid', 'there is no such installation', {
      problems: [{ path: '--profile', message }],
    });
  }
  const set = options['set'];
  return {
    profile,
    version,
    image: textOption(options, 'image'),
    namespace: textOption(options, 'namespace'),
    kubernetes: textOption(options, 'kubernetes'),
    set: Array.isArray(set) ? set.map(String) : [],
    monitoring: options['withMonitoring'] === true,
  };
}
