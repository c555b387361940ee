/**
 * What manifests are made of, as schemas. All are strict: a field that is not known here is a problem. `null` is a field
 * that is not there, as API servers have it.
 */
import { z } from 'zod';
import { parseInterfaceAddress, prefixAddress, prefixLength, prefixOf, type Prefix } from '#net/prefix.ts';

export type Fields = Readonly<Record<string, unknown>>;
export type Say = (path: readonly (string | number)[], message: string) => void;

/** A check across the fields of an object, made whatever else is wrong with it; fields may hold anything. */
export function across<T extends z.ZodType>(schema: T, check: (fields: Fields, say: Say) => void): T {
  const refine = z.superRefine<unknown>(
    (value, context) => {
      check(value as Fields, (path, message) =>
        context.addIssue({ code: 'custom', path: [...path], message }),
      );
    },
    { when: ({ value }) => isFields(value) },
  );
  return schema.check(refine);
}

export function isFields(value: unknown): value is Fields {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function isThere(value: unknown): boolean {
  return value !== undefined && value !== null;
}

/** An object of which exactly one field must be there. */
export function oneOf<S extends z.core.$ZodLooseShape>(shape: S) {
  const names = Object.keys(shape);
  return across(z.strictObject(shape), (fields, say) => {
    const there = names.filter((name) => isThere(fields[name]));
    if (there.length !== 1) say([], `must have exactly one of ${names.join(', ')}`);
  });
}

export function listOf<T extends z.ZodType>(item: T, min: number, max: number) {
  const message = `must have ${min} to ${max} entries`;
  return z.array(item).min(min, message).max(max, message);
}

export function wholeNumber(min: number, max: number) {
  const message = `must be a whole number from ${min} to ${max}`;
  return z.number(message).int(message).min(min, message).max(max, message);
}

export const portNumber = wholeNumber(1, 65_535);

/** RFC 6335, as Kubernetes checks it. */
export const portName = z
  .string()
  .regex(
    /^(?=.{1,15}$)(?=.*[a-z])[a-z0-9]+(?:-[a-z0-9]+)*$/,
    'must be a port name: 1–15 of a–z 0–9 -, with a letter, no - at an end or twice in a row',
  );

/** Host bits are cut off, as Kubernetes does. */
export const cidr = z.string().transform((text, context): Prefix => {
  const found = parseInterfaceAddress(text);
  if (found !== undefined) return prefixOf(prefixAddress(found), prefixLength(found));
  context.addIssue({
    code: 'custom',
    message: `must be a CIDR such as 10.0.0.0/8, not ${JSON.stringify(text)}`,
  });
  return z.NEVER;
});

const NAME = /^(?=.{1,63}$)[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?$/;
const SUBDOMAIN = /^(?=.{1,253}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*$/;

const labelKey = z.string().refine((key) => {
  const [name = '', prefix, ...more] = key.split('/').reverse();
  return more.length === 0 && NAME.test(name) && (prefix === undefined || SUBDOMAIN.test(prefix));
}, 'must be a label key: a name of 1–63 of A–Z a–z 0–9 - _ ., with or without a DNS name and / in front');

const labelValue = z
  .string('must be text; numbers, true and false need quotes')
  .refine(
    (value) => value === '' || NAME.test(value),
    'must be a label value: at most 63 of A–Z a–z 0–9 - _ .',
  );

const requirement = across(
  z.strictObject({
    key: labelKey,
    operator: z.enum(['In', 'NotIn', 'Exists', 'DoesNotExist']),
    values: z.array(labelValue).nullish(),
  }),
  ({ operator, values }, say) => {
    const count = Array.isArray(values) ? values.length : 0;
    if ((operator === 'In' || operator === 'NotIn') && count === 0) {
      say(['values'], `must not be empty with operator ${operator}`);
    }
    if ((operator === 'Exists' || operator === 'DoesNotExist') && count > 0) {
      say(['values'], `must be empty with operator ${operator}`);
    }
  },
);

export const labelSelector = z.strictObject({
  matchLabels: z.record(labelKey, labelValue).nullish(),
  matchExpressions: z.array(requirement).nullish(),
});
export type LabelSelector = z.infer<typeof labelSelector>;

export const texts = z
  .record(z.string(), z.string('must be text; numbers, true and false need quotes'))
  .nullish();

/** What the cluster writes for itself. */
const BOOKKEEPING = [
  'uid',
  'resourceVersion',
  'generation',
  'generateName',
  'selfLink',
  'creationTimestamp',
  'deletionTimestamp',
  'deletionGracePeriodSeconds',
  'finalizers',
  'ownerReferences',
  'managedFields',
];

export const dnsLabel = z
  .string()
  .regex(/^(?=.{1,63}$)[a-z0-9](?:[-a-z0-9]*[a-z0-9])?$/, 'must be a DNS label in lower case');

/** Of policies, only name and namespace are read; labels and annotations are for people. */
const metadata = z.strictObject({
  name: z.string().regex(SUBDOMAIN, 'must be a DNS name in lower case'),
  namespace: dnsLabel.nullish(),
  labels: texts,
  annotations: texts,
  ...Object.fromEntries(BOOKKEEPING.map((name) => [name, z.unknown().optional()])),
});

const clusterMetadata = across(metadata, ({ namespace }, say) => {
  if (isThere(namespace)) say(['namespace'], 'must not be there: the kind belongs to no namespace');
});

/** A whole object; `status` is the cluster's and not read. */
export function objectOf<S extends z.ZodType>(
  head: { apiVersion: string; kind: string; namespaced: boolean },
  spec: S,
) {
  return z.strictObject({
    apiVersion: z.literal(head.apiVersion),
    kind: z.literal(head.kind),
    metadata: head.namespaced ? metadata : clusterMetadata,
    spec,
    status: z.unknown().optional(),
  });
}
