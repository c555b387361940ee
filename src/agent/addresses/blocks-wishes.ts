/**
 * What a pod's object and its namespace's say about its addresses, by Calico's annotations; the pod's count more. A runtime
 * without Kubernetes has no such objects, and says the same in the network configuration.
 */
import { labelsOf } from './blocks-scene.ts';
import type { PodName } from '#model/attachment.ts';
import { Fault, type Problem } from '#model/fault.ts';
import { isFields } from '#model/manifest-shapes.ts';
import type { Manifest } from '#model/manifest.ts';
import type { Labels } from '#model/workload.ts';
import { type Address, type Family, parseAddress } from '#net/address.ts';
import { type PerFamily, perFamily } from '#net/per-family.ts';

export type PodWishes = {
  /** Of the namespace, with the label that none lacks. */
  readonly namespace: Labels;
  readonly pools: PerFamily<readonly string[]>;
  readonly addresses: readonly Address[];
};

/** An object of the operator's or the cluster's, by its name in the store. */
export type LookUp = (name: string) => Promise<Manifest | undefined>;

const NAME_LABEL = 'kubernetes.io/metadata.name';
const CALICO = 'cni.projectcalico.org';

/** Throws Fault `cni-config` with everything that is wrong with the annotations. */
export async function readWishes(lookUp: LookUp, pod: PodName | undefined): Promise<PodWishes> {
  if (pod === undefined) return { namespace: {}, pools: {}, addresses: [] };
  const { namespace, name } = pod;
  const place = await valueOf(lookUp, `v1/Namespace/${namespace}`);
  const object =
    (await valueOf(lookUp, `v1/Pod/${namespace}/${name}`)) ??
    (namespace === 'default' ? await valueOf(lookUp, `v1/Pod/${name}`) : undefined);
  const problems: Problem[] = [];
  const read = (key: string): readonly string[] | undefined =>
    readList(`pod ${namespace}/${name}`, annotationsOf(object), key, problems) ??
    readList(`namespace ${namespace}`, annotationsOf(place), key, problems);
  const pools = perFamily((family: Family) => read(`${CALICO}/ipv${family}pools`));
  const texts =
    readList(`pod ${namespace}/${name}`, annotationsOf(object), `${CALICO}/ipAddrs`, problems) ?? [];
  const addresses = texts.flatMap((text) => parseAddress(text) ?? []);
  if (addresses.length < texts.length)
    problems.push({ path: `${CALICO}/ipAddrs`, message: 'must be a list of IP addresses' });
  if (problems.length > 0) throw new Fault('cni-config', 'annotations cannot be read', { problems });
  return { namespace: { ...labelsOf(place), [NAME_LABEL]: namespace }, pools, addresses };
}

async function valueOf(lookUp: LookUp, name: string): Promise<unknown> {
  return (await lookUp(name))?.value;
}

function annotationsOf(value: unknown): Readonly<Record<string, unknown>> {
  const metadata = isFields(value) && isFields(value['metadata']) ? value['metadata'] : {};
  return isFields(metadata['annotations']) ? metadata['annotations'] : {};
}

/** A JSON list of texts; undefined where there is no such annotation. */
function readList(
  whose: string,
  annotations: Readonly<Record<string, unknown>>,
  key: string,
  problems: Problem[],
): readonly string[] | undefined {
  const text = annotations[key];
  if (text === undefined || text === null || text === '') return undefined;
  try {
    const list: unknown = typeof text === 'string' ? JSON.parse(text) : undefined;
    if (Array.isArray(list) && list.every((item) => typeof item === 'string')) return list;
  } catch {
    // Said below.
  }
  problems.push({ path: `${whose}: ${key}`, message: 'must be a JSON list of texts, such as ["blue"]' });
  return undefined;
}
