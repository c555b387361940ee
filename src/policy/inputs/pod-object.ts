/** Which pod a v1 Pod object is about: of one name there are several, one after the other. */
import type { Manifest } from '#model/manifest.ts';
import type { PodName } from '#model/attachment.ts';

type Head = {
  readonly metadata?: {
    readonly uid?: unknown;
    readonly annotations?: Readonly<Record<string, unknown>> | null;
  };
  readonly spec?: { readonly nodeName?: unknown };
};

/** Of static pods, whose objects the kubelet makes: there the runtime is told the configuration's own (kubelet/types). */
const MIRROR = 'kubernetes.io/config.mirror';

/** As runtimes know it (K8S_POD_UID); undefined: the object does not tell. */
export function podUid(manifest: Manifest | undefined): string | undefined {
  const { metadata } = (manifest?.value ?? {}) as Head;
  const uid = metadata?.annotations?.[MIRROR] ?? metadata?.uid;
  return typeof uid === 'string' && uid !== '' ? uid : undefined;
}

/** The pod that a runtime asks for; where one of the two does not tell its uid, by its name. */
export function isOfPod(manifest: Manifest, { uid }: PodName): boolean {
  const told = podUid(manifest);
  return uid === undefined || told === undefined || uid === told;
}

/** Where it runs; undefined: it is not told. */
export function podNode(manifest: Manifest): string | undefined {
  const { spec } = manifest.value as Head;
  return typeof spec?.nodeName === 'string' && spec.nodeName !== '' ? spec.nodeName : undefined;
}
