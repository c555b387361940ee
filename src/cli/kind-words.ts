/** Words for kinds, as kubectl takes them: any case, plural or not, with the group or without, and the usual short names. */
import type { StoreObject } from '#model/store-object.ts';

const SHORT: ReadonlyMap<string, string> = new Map([
  ['netpol', 'networkpolicy'],
  ['gnp', 'globalnetworkpolicy'],
  ['cnp', 'clusternetworkpolicy'],
  ['anp', 'adminnetworkpolicy'],
  ['banp', 'baselineadminnetworkpolicy'],
  ['hep', 'hostendpoint'],
  ['ns', 'namespace'],
  ['po', 'pod'],
  ['no', 'node'],
  ['svc', 'service'],
  ['sa', 'serviceaccount'],
  ['subnet', 'subnetclaim'],
]);

export type Wanted = { readonly kind: string; readonly name?: string; readonly namespace?: string };

/** `NetworkPolicy`, `networkpolicies`, `netpol`, `networkpolicies.networking.k8s.io`; `all` is every kind. */
export function isOfKind({ value }: StoreObject, word: string): boolean {
  if (word === 'all') return true;
  const { apiVersion, kind } = value as { readonly apiVersion: string; readonly kind: string };
  const [wanted = '', ...group] = word.toLowerCase().split('.');
  if (group.length > 0 && apiVersion.split('/')[0] !== group.join('.')) return false;
  return namesKind(wanted, kind);
}

/** Whatever the group of either. */
export function namesKind(word: string, kind: string): boolean {
  const [wanted = ''] = word.toLowerCase().split('.');
  return wanted === 'all' || singulars(wanted).includes(kind.toLowerCase());
}

function singulars(word: string): string[] {
  const endings = [word, word.replace(/ies$/, 'y'), word.replace(/es$/, ''), word.replace(/s$/, '')];
  return endings.flatMap((each) => [each, SHORT.get(each) ?? each]);
}

export function selectObjects(
  objects: readonly StoreObject[],
  { kind, name, namespace }: Wanted,
): StoreObject[] {
  return objects.filter((object) => {
    const head = headOf(object);
    if (!isOfKind(object, kind)) return false;
    return [undefined, head.name].includes(name) && [undefined, head.namespace].includes(namespace);
  });
}

export function headOf({ value }: StoreObject): {
  kind: string;
  namespace: string | undefined;
  name: string;
} {
  const { kind, metadata } = value as {
    readonly kind: string;
    readonly metadata: { readonly name: string; readonly namespace?: string };
  };
  return { kind, namespace: metadata.namespace, name: metadata.name };
}
