/**
 * Kinds of Kubernetes itself, which tell what policies are about. Only the fields that are used here are checked:
 * others are somebody else's business. What is kept of an object is these fields.
 */
import { z } from 'zod';
import type { Problem } from '#model/fault.ts';
import { type Manifest, manifestOf } from '#model/manifest.ts';
import type { Labels } from '#model/workload.ts';
import { parseAddress } from '#net/address.ts';
import { type Context, defineFrontend } from '../frontends/frontend.ts';
import { texts } from '#model/manifest-shapes.ts';
import type { Thing } from './things.ts';

export type CoreReading = {
  /** Absent: there are problems, or the object tells nothing. */
  readonly thing?: Thing;
  readonly problems: readonly Problem[];
  /** As much of it as was read, which reads the same. */
  readonly kept: Manifest;
};

export type CoreKind = {
  readonly apiVersion: string;
  readonly kind: string;
  /** Of the whole object, for docs/policy-fields.md. */
  readonly schema: z.ZodType;
  readonly read: (manifest: Manifest, defaultNamespace: string) => CoreReading;
};

type Head = { readonly apiVersion: string; readonly kind: string };

export type CoreObject<F> = {
  readonly name: string;
  /** `namespace/name`. */
  readonly place: string;
  readonly namespace: string;
  readonly labels: Labels | undefined;
  readonly fields: F;
};

const metadata = z.object({
  name: z.string().min(1, 'must not be empty'),
  namespace: z.string().nullish(),
  labels: texts,
});

export function defineCore<S extends z.core.$ZodLooseShape>(
  head: Head,
  shape: S,
  translate: (
    object: CoreObject<z.output<z.ZodObject<S>>>,
    context: Pick<Context, 'refuse'>,
  ) => Thing | undefined,
): CoreKind {
  const schema = z.object({
    apiVersion: z.literal(head.apiVersion),
    kind: z.literal(head.kind),
    metadata,
    ...shape,
  });
  const read: CoreKind['read'] = (manifest, defaultNamespace) => {
    const made: { thing?: Thing | undefined; data?: unknown } = {};
    const frontend = defineFrontend(head, {
      schema,
      translate: (data, context) => {
        // The compiler does not see the fields of a shape that it does not know.
        const { metadata: about, ...fields } = data as z.output<typeof schema> & { metadata: Metadata };
        made.data = data;
        made.thing = translate(
          { ...describe(about, defaultNamespace), fields: fields as z.output<z.ZodObject<S>> },
          context,
        );
        return {};
      },
    });
    const { problems } = frontend.parse(manifest);
    const { thing, data } = made;
    return {
      ...(thing === undefined || problems.length > 0 ? {} : { thing }),
      problems,
      kept: manifestOf(manifest.source, data ?? {}),
    };
  };
  return { ...head, schema, read };
}

type Metadata = z.output<typeof metadata>;

function describe({ name, namespace, labels }: Metadata, defaultNamespace: string) {
  const inside = namespace || defaultNamespace;
  return { name, namespace: inside, place: `${inside}/${name}`, labels: labels ?? undefined };
}

/** Empty where there is none yet, as API servers have it. */
export const ipText = z
  .string()
  .refine(
    (text) => text === '' || parseAddress(text) !== undefined,
    'must be an IP address such as 10.0.0.1 or fd00::1',
  );

/** Each once. */
export function readAddresses(addresses: readonly (string | null | undefined)[]) {
  return [...new Set(addresses.flatMap((text) => parseAddress(text ?? '') ?? []))];
}

export const PROTOCOL_NAMES = z.enum(['TCP', 'UDP', 'SCTP']).nullish();
