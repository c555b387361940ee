/**
 * The Helm chart gives the objects that `tartan install` prints for the same values: by Helm itself where it is installed, and by a
 * reader of the three forms of its language that the chart keeps to, which refuses every other.
 */
import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { globSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { parse, parseAllDocuments } from 'yaml';
import { chartOf } from '#deploy/chart.ts';
import { installationObjects, plainObjects, settingsText } from '#deploy/manifest.ts';
import { EPOCHS, type Epoch, type Installation, planInstallation } from '#deploy/options.ts';
import { readProfiles } from '../../src/cli/profiles.ts';

const profiles = readProfiles();
const VERSION = '0.0.0';

function plan(profile: string, epoch: Epoch, monitoring: boolean): Installation {
  const set = ['network.ipv4.range=10.9.0.0/16', 'paths.cniBin=/usr/lib/cni', 'listen="[::]:9999"'];
  if (profile === 'flannel') set.push('migration.flannel.cniState=/srv/cni');
  const image = 'example.org/t@sha256:00';
  return planInstallation({ profile, version: VERSION, kubernetes: epoch, monitoring, set, image }, profiles);
}

const keyOf = (object: unknown): string => {
  const { kind, metadata } = object as { kind: string; metadata: { name: string; namespace?: string } };
  return `${kind}/${metadata.namespace ?? ''}/${metadata.name}`;
};
const byName = (objects: readonly unknown[]) => new Map(objects.map((object) => [keyOf(object), object]));

type Values = Readonly<Record<string, unknown>>;
const valueAt = (values: Values, path: string): unknown =>
  path.split('.').reduce<unknown>((at, name) => (at as Values)[name], values);

/** The expressions that the chart has. */
function evaluate(expression: string, values: Values): string {
  if (expression === '"{{"') return '{{';
  const [first = '', ...rest] = expression.split(' | ');
  const found: unknown =
    first === '.Release.Namespace'
      ? 'tartan-system'
      : first === String.raw`printf "%s\n" (toYaml .Values.settings)`
        ? settingsText(values['settings'] as Values)
        : first.startsWith('.Values.')
          ? valueAt(values, first.slice('.Values.'.length))
          : assert.fail(`no such expression: ${expression}`);
  const words = rest.join(' | ');
  if (words === 'toJson') return JSON.stringify(found);
  assert.equal(words, 'splitList ":" | last | int | toJson', expression);
  return String(found).split(':').at(-1) ?? '';
}

function holds(condition: string, values: Values, epoch: Epoch): boolean {
  if (condition === '.Values.monitoring') return values['monitoring'] === true;
  if (condition === '.Values.imagePullSecrets') return valueAt(values, 'imagePullSecrets.length') !== 0;
  const [, at = assert.fail(condition)] =
    /^semverCompare ">=(1\.\d+)-0" \.Capabilities\.KubeVersion\.Version$/.exec(condition) ?? [];
  return Number(epoch.slice(2)) >= Number(at.slice(2));
}

/** Lines that are conditions, kept or not by those around them; every other form of the language fails. */
function render(template: string, values: Values, epoch: Epoch): string {
  const around: { isTaken: boolean; isOpen: boolean }[] = [];
  const lines: string[] = [];
  for (const line of template.split('\n')) {
    const [, word, condition = ''] = /^\{\{- (if|else if|else|end)(?: (.*))? \}\}$/.exec(line) ?? [];
    const top = around.at(-1);
    if (word === 'if') {
      const isOpen = holds(condition, values, epoch);
      around.push({ isOpen, isTaken: isOpen });
    } else if (word === 'end') around.pop();
    else if (word !== undefined && top !== undefined) {
      top.isOpen = !top.isTaken && (word === 'else' || holds(condition, values, epoch));
      top.isTaken ||= top.isOpen;
    } else if (around.every(({ isOpen }) => isOpen))
      lines.push(
        line.replaceAll(/\{\{ (.*?) \}\}/g, (_, expression: string) => evaluate(expression, values)),
      );
  }
  assert.equal(around.length, 0);
  return lines.join('\n');
}

for (const epoch of EPOCHS)
  for (const [profile, monitoring] of [
    ['calico', true],
    ['flannel', false],
  ] as const)
    test(`the chart of ${profile} gives what tartan install prints for ${epoch}`, () => {
      const installation = plan(profile, epoch, monitoring);
      const files = chartOf(installation);
      const values = parse(files.get('values.yaml') ?? '') as Values;
      const rendered = [...files]
        .filter(([path]) => path.startsWith('templates/'))
        .flatMap(([, text]) => parseAllDocuments(render(text, values, epoch)))
        .map((document) => document.toJS() as unknown)
        .filter((object) => object !== null);
      assert.deepEqual(byName(rendered), byName(plainObjects(installationObjects(installation))));
    });

const hasHelm = spawnSync('helm', ['version']).status === 0;

test('Helm itself gives the same', { skip: hasHelm ? false : 'needs helm, which Debian 12 has not' }, () => {
  const directory = mkdtempSync(join(tmpdir(), 'kd-chart-'));
  try {
    for (const epoch of EPOCHS) {
      const installation = plan('calico', epoch, true);
      for (const [path, text] of chartOf(installation)) {
        mkdirSync(dirname(join(directory, path)), { recursive: true });
        writeFileSync(join(directory, path), text);
      }
      const words = [
        'template',
        't',
        directory,
        '--namespace',
        'tartan-system',
        '--kube-version',
        `${epoch}.0`,
      ];
      const documents = parseAllDocuments(execFileSync('helm', words, { encoding: 'utf8' }));
      const rendered = documents.map((document) => document.toJS() as unknown);
      assert.deepEqual(byName(rendered), byName(plainObjects(installationObjects(installation))));
    }
  } finally {
    rmSync(directory, { recursive: true });
  }
});

test('the chart in the tree is printed from the objects', () => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
  const files = chartOf(planInstallation({ profile: 'flannel', version }, profiles));
  const found = globSync('deploy/helm/tartan/**/*', { withFileTypes: true }).filter((entry) =>
    entry.isFile(),
  );
  assert.equal(found.length, files.size);
  for (const [path, text] of files)
    assert.equal(readFileSync(join('deploy/helm/tartan', path), 'utf8'), text, path);
});
