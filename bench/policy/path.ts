/**
 * A node with two routed pods, in namespaces of their own: what packets between pods of one node pass. Neighbours are
 * permanent, so that no packet waits for an answer.
 *
 *     a (10.244.0.1) ── node ── b (10.244.0.2)
 */
import { makeForwarding, makeNamespace, type Namespace } from '../../test/host/namespace.ts';

export type Path = {
  readonly node: Namespace;
  readonly from: Namespace;
  readonly to: Namespace;
  readonly address: string;
  remove(): void;
};

const HOST_MAC = 'ee:ee:ee:ee:ee:ee';

export async function makePath(label: string): Promise<Path> {
  const node = makeNamespace(`${label}-node`);
  const pods = ['a', 'b'].map((name) => makeNamespace(`${label}-${name}`));
  await makeForwarding(node);
  for (const [index, pod] of pods.entries()) {
    const [own, mac, link] = [`10.244.0.${index + 1}`, `02:00:00:00:00:0${index + 1}`, `tt${index}`];
    node.ip(`link add ${link} address ${HOST_MAC} type veth peer name eth0 address ${mac} netns ${pod.name}`);
    node.ip(`link set ${link} up`);
    pod.ip('link set eth0 up');
    pod.ip(`address add ${own}/32 dev eth0`);
    pod.ip(`neighbor replace 169.254.1.1 lladdr ${HOST_MAC} dev eth0 nud permanent`);
    pod.ip('route add default via 169.254.1.1 dev eth0 onlink');
    node.ip(`route add ${own}/32 dev ${link}`);
    node.ip(`neighbor replace ${own} lladdr ${mac} dev ${link} nud permanent`);
  }
  const [from, to] = pods as [Namespace, Namespace];
  return {
    node,
    from,
    to,
    address: '10.244.0.2',
    remove: () => [node, from, to].forEach((each) => each.remove()),
  };
}
