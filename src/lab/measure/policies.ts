/** Policies to measure with: each selects the receiving pod, and the last one lets the sender in. */
import { stringify } from 'yaml';

/** Label of the pod that receives. */
export const RECEIVER = { measure: 'receiver' } as const;
const SENDER = { measure: 'sender' } as const;
export const LABELS = { sender: SENDER, receiver: RECEIVER };

/** One document per policy; each of the others allows a network that nobody has. */
export function measuringPolicies(count: number): string {
  const all = Array.from({ length: count }, (_, index) => {
    const from =
      index === count - 1
        ? { podSelector: { matchLabels: SENDER } }
        : { ipBlock: { cidr: `198.${18 + (index >> 15)}.${(index >> 7) & 255}.${(index & 127) << 1}/31` } };
    return stringify({
      apiVersion: 'networking.k8s.io/v1',
      kind: 'NetworkPolicy',
      metadata: { name: `measure-${index + 1}`, namespace: 'default' },
      spec: { podSelector: { matchLabels: RECEIVER }, ingress: [{ from: [from] }] },
    });
  });
  return all.join('---\n');
}
