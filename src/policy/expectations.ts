/**
 * What users expect of their policies, as cases: who may reach whom on which ports. A case that matches nobody fails, so
 * that a name which has changed is not taken for one that holds.
 *
 *     - name: only the shop reaches its database
 *       from: [shop/web, shop/api-*]
 *       to: shop/db
 *       ports: [5432, 53/udp, http, icmp]
 *       expect: allow
 */
import { z } from 'zod';
import type { Problem } from '#model/fault.ts';
import { type Manifest, originOf, readManifests } from '#model/manifest.ts';
import type { Origin } from '#model/policy.ts';
import type { Labels, Pod, PolicyWorld } from '#model/workload.ts';
import { type Family, parseAddress } from '#net/address.ts';
import { formatOrigin } from '#model/manifest.ts';
import { findEnd, type End, parseTraffic, type Traffic } from './flow-text.ts';

/** A place as findEnd has it, with `*` for any text; or pods by namespace and labels; or an address. */
export type Place =
  | string
  | { readonly namespace?: string | undefined; readonly labels?: Labels | undefined }
  | { readonly outside: string };

export type Expectation = {
  readonly name: string;
  readonly from: readonly Place[];
  readonly to: readonly Place[];
  readonly traffic: readonly Traffic[];
  /** Only in these; absent: in each that both ends have. */
  readonly families?: readonly Family[];
  readonly expect: 'allow' | 'deny';
  /** With staged policies in force. */
  readonly staged: boolean;
  readonly origin: Origin;
};

const PLACE =
  'must be a place: namespace/pod (with *), node:NAME, an address, outside: ADDRESS, or namespace and labels';
const place = z.union(
  [
    z.string().min(1),
    z.strictObject({ outside: z.string().refine((text) => parseAddress(text) !== undefined) }),
    z
      .strictObject({ namespace: z.string().optional(), labels: z.record(z.string(), z.string()).optional() })
      .refine((given) => Object.keys(given).length > 0),
  ],
  { error: PLACE },
);
const places = z.preprocess(
  (given) => (given === undefined || Array.isArray(given) ? given : [given]),
  z.array(place).min(1, 'must name at least one place'),
);

const traffic = z
  .union([z.number(), z.string()], { error: 'must be a port: 80, 53/udp, a name, or icmp' })
  .transform((given, context): Traffic => {
    const parsed = parseTraffic(String(given));
    if (!('unclear' in parsed)) return parsed;
    context.addIssue(parsed.unclear);
    return { protocol: 'icmp' };
  });

const caseSchema = z.strictObject({
  name: z.string().optional(),
  from: places,
  to: places,
  ports: z.array(traffic).min(1, 'must name at least one port'),
  families: z
    .array(z.literal([4, 6], { error: 'must be 4 or 6' }))
    .min(1)
    .optional(),
  expect: z.enum(['allow', 'deny'], { error: 'must be allow or deny' }),
  staged: z.boolean().default(false),
});
const fileSchema = z.array(caseSchema, { error: 'must be a list of cases' });

/** Every case of the text, or all that is wrong with it, at its lines. */
export function readExpectations(
  source: string,
  text: string,
): { readonly expectations: readonly Expectation[]; readonly problems: readonly Problem[] } {
  const { manifests, problems } = readManifests(source, text);
  const empty = manifests.length === 0 && problems.length === 0;
  const found = manifests.map((manifest) => readFile(manifest));
  return {
    expectations: found.flatMap(({ expectations }) => expectations),
    problems: [
      ...(empty ? [{ path: source, message: 'has no cases' }] : []),
      ...problems,
      ...found.flatMap((each) => each.problems),
    ],
  };
}

function readFile(manifest: Manifest): ReturnType<typeof readExpectations> {
  const read = fileSchema.safeParse(manifest.value, { reportInput: true });
  if (!read.success)
    return { expectations: [], problems: read.error.issues.flatMap((each) => describe(manifest, each)) };
  const expectations = read.data.map(({ name, ports, families, ...rest }, index): Expectation => {
    const only = families === undefined ? {} : { families };
    const title = name ?? `${showPlaces(rest.from)} → ${showPlaces(rest.to)}`;
    return { ...rest, ...only, name: title, traffic: ports, origin: originOf(manifest, [index]) };
  });
  return { expectations, problems: [] };
}

function describe(manifest: Manifest, issue: z.core.$ZodIssue): Problem[] {
  const at = (path: readonly PropertyKey[], message: string): Problem => ({
    path: formatOrigin(originOf(manifest, path)),
    message,
  });
  if (issue.code === 'unrecognized_keys') {
    return issue.keys.map((key) => at([...issue.path, key], 'unknown field'));
  }
  const isMissing = issue.input === undefined && issue.code !== 'custom';
  return [at(issue.path, isMissing ? 'is missing' : issue.message)];
}

export function showPlaces(places: readonly Place[]): string {
  return places.map(showPlace).join(', ');
}

function showPlace(place: Place): string {
  if (typeof place === 'string') return place;
  if ('outside' in place) return place.outside;
  const labels = Object.entries(place.labels ?? {}).map(([key, value]) => `${key}=${value}`);
  return [`${place.namespace ?? '*'}/*`, ...labels].join(' ');
}

/** All ends that the places stand for, each once; a sentence where a place stands for none. */
export function findEnds(world: PolicyWorld, places: readonly Place[]): readonly End[] | string {
  const found = new Map<string, End>();
  for (const place of places) {
    const ends = endsOf(world, place);
    if (typeof ends === 'string') return ends;
    for (const end of ends) found.set(end.name, end);
  }
  return [...found.values()];
}

function endsOf(world: PolicyWorld, place: Place): readonly End[] | string {
  const names = typeof place === 'string' && place.includes('*') ? matching(world, place) : undefined;
  const selected = typeof place === 'object' && !('outside' in place) ? podsWith(world, place) : undefined;
  const all = names ?? selected;
  if (all !== undefined) {
    if (all.length === 0) return `${showPlace(place)} matches nothing`;
    return all.map((name) => findEnd(world, name)).filter((each): each is End => !('unclear' in each));
  }
  const end = findEnd(world, showPlace(place));
  return 'unclear' in end ? end.unclear : [end];
}

/** `*` stands for any text without a slash; `*` alone for all pods. */
function matching(world: PolicyWorld, pattern: string): string[] {
  const whole =
    pattern === '*' ? '*/*' : pattern.includes('/') || pattern.includes(':') ? pattern : `default/${pattern}`;
  const parts = whole.split('*').map((part) => part.replaceAll(/[.+?^${}()|[\]\\]/g, '\\$&'));
  const expression = new RegExp(`^${parts.join('[^/]*')}$`);
  const names = [...podsOf(world).map(podName), ...[...world.nodes.keys()].map((name) => `node:${name}`)];
  return names.filter((name) => expression.test(name));
}

function podsWith(
  world: PolicyWorld,
  { namespace, labels = {} }: Exclude<Place, string | { outside: string }>,
): string[] {
  return podsOf(world)
    .filter((pod) => namespace === undefined || pod.namespace === namespace)
    .filter((pod) =>
      Object.entries(labels).every(
        ([key, value]) => Object.hasOwn(pod.labels, key) && pod.labels[key] === value,
      ),
    )
    .map(podName);
}

function podsOf(world: PolicyWorld): Pod[] {
  return world.endpoints.filter((each): each is Pod => each.kind === 'pod' && each.addresses.length > 0);
}

const podName = ({ namespace, name }: Pod): string => `${namespace}/${name}`;
