/** Objects of Kubernetes as plain data, and what those of an installation have in common. */

export type KubeObject = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
    readonly annotations?: Readonly<Record<string, string>>;
  };
  readonly [field: string]: unknown;
};

export type Part = 'agent' | 'controller' | 'relay' | 'cleanup';

/** By which a part's pods are found. */
export function selectorOf(part: Part): Record<string, string> {
  return { 'app.kubernetes.io/name': 'tartan', 'app.kubernetes.io/component': part };
}

export function labelsOf(part?: Part): Record<string, string> {
  return part === undefined ? { 'app.kubernetes.io/name': 'tartan' } : selectorOf(part);
}

type Head = {
  readonly apiVersion: string;
  readonly kind: string;
  readonly name: string;
  /** Absent: of the cluster. */
  readonly namespace?: string;
  readonly part?: Part;
  readonly annotations?: Readonly<Record<string, string>>;
};

export function objectOf(
  { apiVersion, kind, name, namespace, part, annotations }: Head,
  fields: Readonly<Record<string, unknown>>,
): KubeObject {
  return {
    apiVersion,
    kind,
    metadata: {
      name,
      ...(namespace === undefined ? {} : { namespace }),
      labels: labelsOf(part),
      ...(annotations === undefined ? {} : { annotations }),
    },
    ...fields,
  };
}
