/**
 * A Helm chart from the objects of an installation: what `tartan install` prints, with expressions in place of values. Only three
 * forms of Helm's language are used, each of them on lines of its own or as a whole value:
 *
 *     {{ EXPRESSION | toJson }}     {{- if CONDITION }} … {{- else }} … {{- end }}     {{ "{{" }}
 */
import { stringify } from 'yaml';
import { installationObjects, renderObject } from './manifest.ts';
import type { KubeObject } from './object.ts';
import { type Epoch, EPOCHS, type Installation, pathsOf, type Values } from './options.ts';
import { SETTINGS_MAP } from './pod.ts';

/** Texts by path. */
export type ChartFiles = ReadonlyMap<string, string>;

export function chartOf(installation: Installation): ChartFiles {
  const { version, values } = installation;
  const files = new Map([
    ['Chart.yaml', chartText(version)],
    ['values.yaml', valuesText(values)],
  ]);
  const expressions = new Expressions();
  const plain = objectsOf(installation, expressions, false);
  const monitored = objectsOf(installation, expressions, true);
  for (const [name, texts] of monitored) {
    const text = expressions.put(byEpoch(texts));
    files.set(
      `templates/${name}.yaml`,
      plain.has(name) ? text : `{{- if .Values.monitoring }}\n${text}{{- end }}\n`,
    );
  }
  return files;
}

/** Stand in values' places while objects are made, and are put in when they are text. */
class Expressions {
  readonly #all: string[] = [];

  take(expression: string): string {
    const at = this.#all.indexOf(expression);
    return `EXPRESSION_${at < 0 ? this.#all.push(expression) - 1 : at}_`;
  }

  put(text: string): string {
    return text.replaceAll(
      /EXPRESSION_(\d+)_/g,
      (_, at: string) => `{{ ${this.#all[Number(at)]} | toJson }}`,
    );
  }
}

/** Texts of each object, by epoch. */
function objectsOf(
  installation: Installation,
  expressions: Expressions,
  monitoring: boolean,
): Map<string, Map<Epoch, string>> {
  const take = (expression: string): string => expressions.take(expression);
  const paths = Object.keys(pathsOf(installation.values)).map((name) => [
    name,
    take(`.Values.settings.paths.${name}`),
  ]);
  const port = (path: string): string => `:${take(`${path} | splitList ":" | last | int`)}`;
  const values = {
    image: take('.Values.image'),
    imagePullPolicy: take('.Values.imagePullPolicy'),
    imagePullSecrets: take('.Values.imagePullSecrets'),
    agent: { resources: take('.Values.agent.resources') },
    controller: {
      replicas: take('.Values.controller.replicas'),
      resources: take('.Values.controller.resources'),
    },
    relay: { replicas: take('.Values.relay.replicas'), resources: take('.Values.relay.resources') },
    settings: {
      paths: Object.fromEntries(paths),
      listen: port('.Values.settings.listen'),
      controller: { listen: port('.Values.settings.controller.listen') },
      relay: { listen: port('.Values.settings.relay.listen') },
      // What is mounted for it is the chart's, not a value's: a chart for moving is printed for moving.
      migration: installation.values.settings['migration'],
    },
    monitoring,
    // Texts stand where other things will.
  } as unknown as Values;
  const found = new Map<string, Map<Epoch, string>>();
  for (const epoch of EPOCHS) {
    const made = { ...installation, namespace: take('.Release.Namespace'), values, epoch };
    for (const object of installationObjects(made)) {
      const name = `${object.metadata.name}-${object.kind.toLowerCase()}`;
      const texts = found.get(name) ?? new Map<Epoch, string>();
      found.set(name, texts.set(epoch, textOf(object, take)));
    }
  }
  return found;
}

/** What looks like Helm's language in an object is not. */
function textOf(object: KubeObject, take: (expression: string) => string): string {
  const isSettings = object.kind === 'ConfigMap' && object.metadata.name === SETTINGS_MAP;
  const text = take(String.raw`printf "%s\n" (toYaml .Values.settings)`);
  const made = isSettings ? { ...object, data: { 'settings.yaml': text } } : object;
  return (
    renderObject(made)
      .replaceAll('{{', '{{ "{{" }}')
      // An empty list would be dropped by the API server, and seem to be new each time.
      .replaceAll(/^ *imagePullSecrets: .*\n/gm, '{{- if .Values.imagePullSecrets }}\n$&{{- end }}\n')
  );
}

/** The newest first: each text until one of a newer epoch is another. */
function byEpoch(texts: ReadonlyMap<Epoch, string>): string {
  const [oldest = ['', ''], ...newer] = [...texts];
  const changes = newer.filter(([, text], index) => text !== [...texts.values()][index]).reverse();
  const branches = changes.map(([epoch, text], index) => {
    const word = index === 0 ? 'if' : 'else if';
    return `{{- ${word} semverCompare ">=${epoch}-0" .Capabilities.KubeVersion.Version }}\n${text}`;
  });
  return changes.length === 0 ? oldest[1] : `${branches.join('')}{{- else }}\n${oldest[1]}{{- end }}\n`;
}

function chartText(version: string): string {
  return stringify({
    apiVersion: 'v2',
    name: 'tartan',
    description: 'One container-network provider that can be any of them',
    type: 'application',
    version,
    appVersion: version,
    kubeVersion: `>=${EPOCHS[0]}.0-0`,
  });
}

const VALUES_HEAD = `# Values of the chart, printed by tartan install --helm; templates give what tartan install prints for the same values. The
# namespace is the release's: create it with the label pod-security.kubernetes.io/enforce: privileged.
`;
const MEANINGS: Readonly<Record<keyof Values, string>> = {
  image: 'Of agents, controllers and relays.',
  imagePullPolicy: 'As Kubernetes has it.',
  imagePullSecrets: 'List of {name: SECRET}.',
  agent: 'On every node.',
  controller: 'One of them leads.',
  relay: 'They tell agents what the API server tells them; beyond 1,000 nodes, one for each 500.',
  monitoring: 'Also a ServiceMonitor and a PrometheusRule, for the Prometheus operator.',
  settings: 'Of every node (docs/settings.md). What is not here is the profile’s.',
};

function valuesText(values: Values): string {
  const names = Object.keys(MEANINGS) as (keyof Values)[];
  const parts = names.map((name) => `\n# ${MEANINGS[name]}\n${stringify({ [name]: values[name] })}`);
  return VALUES_HEAD + parts.join('');
}
