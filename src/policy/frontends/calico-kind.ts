/**
 * Calico's kinds under both of their names: `projectcalico.org/v3`, which its API server gives out, and
 * `crd.projectcalico.org/v1`, as they lie in Kubernetes. There, labels are kept inside an annotation.
 */
import type { z } from 'zod';
import type { Labels } from '#model/workload.ts';
import { type Context, defineFrontend, type Frontend, type Objects } from './frontend.ts';
import { across, type Fields, isFields, isThere, objectOf, texts } from '#model/manifest-shapes.ts';

export const CALICO_GROUPS = ['projectcalico.org/v3', 'crd.projectcalico.org/v1'] as const;

type Head = { readonly kind: string; readonly title?: string; readonly namespaced: boolean };

export type CalicoObject<S> = {
  readonly name: string;
  /** `default` where the object does not say; '' in kinds without namespace. */
  readonly namespace: string;
  readonly labels: Labels;
  readonly spec: S;
};

type Definition<S> = {
  readonly translate: (object: CalicoObject<S>, context: Context) => Partial<Objects>;
  readonly inspect?: (object: Fields, context: Context) => void;
};

export function defineCalico<S extends z.ZodType>(
  head: Head,
  spec: S,
  { translate, inspect }: Definition<z.output<S>>,
): Frontend[] {
  return CALICO_GROUPS.map((apiVersion) => {
    const schema = across(objectOf({ ...head, apiVersion }, spec), ({ metadata }, say) => {
      const { labels, problem } = labelsOf(apiVersion, isFields(metadata) ? metadata : {});
      if (problem !== undefined) say(['metadata', 'annotations', STORED], problem);
      if (Object.hasOwn(labels, MADE))
        say(['metadata', 'labels', MADE], 'must not be there: it is made from the namespace');
    });
    return defineFrontend(
      { ...head, apiVersion },
      {
        schema,
        translate: (object, context) => {
          const { name, namespace } = object.metadata;
          const { labels } = labelsOf(apiVersion, object.metadata);
          const place = head.namespaced ? (namespace ?? 'default') : '';
          // The compiler does not see the field of a shape that it does not know.
          const { spec } = object as unknown as { spec: z.output<S> };
          return translate({ name, namespace: place, labels, spec }, context);
        },
        ...(inspect === undefined ? {} : { inspect }),
      },
    );
  });
}

const MADE = 'projectcalico.org/namespace';
/** The annotation where Calico keeps all of an object's metadata in Kubernetes. */
const STORED = 'projectcalico.org/metadata';

function labelsOf(
  apiVersion: string,
  metadata: Fields,
): { readonly labels: Labels; readonly problem?: string } {
  const own = texts.safeParse(metadata['labels']).data ?? {};
  const annotations = texts.safeParse(metadata['annotations']).data ?? {};
  const isStored = apiVersion === CALICO_GROUPS[1] && Object.hasOwn(annotations, STORED);
  const stored = isStored ? annotations[STORED] : undefined;
  if (stored === undefined) return { labels: own };
  const read = readJson(stored);
  if (!isFields(read)) return { labels: own, problem: 'must be an object as JSON' };
  const labels = texts.safeParse(isThere(read['labels']) ? read['labels'] : {});
  if (!labels.success) return { labels: own, problem: 'must have labels as text' };
  return { labels: { ...own, ...labels.data } };
}

function readJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
