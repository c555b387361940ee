/**
 * The policies of a pod by hand as kube-router's controller of network policies lays them out (K7.1 to K7.6 of its
 * inventory; pkg/controllers/netpol): a chain per pod, a chain per policy that is walked one after the other, ipsets for
 * the sources and destinations of each rule, marks for what is allowed, a comment on every rule.
 */
import type { Namespace } from '../../test/host/namespace.ts';
import { otherNetwork, otherPort, PORT } from './cluster.ts';

const POD = '10.244.0.2/32';
const PEER = '10.244.0.1';
const ALLOWED = '0x10000/0x10000';
const PASSED = '0x20000/0x20000';

/** The two of iptables: rules of nf_tables with its matches, or its own. */
export type Flavour = 'iptables-nft' | 'iptables-legacy';

const chain = (n: number): string => `KUBE-NWPLCY-${String(n).padStart(16, '0')}`;
const set = (side: 'SRC' | 'DST' | 'NET', n: number): string => `KUBE-${side}-${String(n).padStart(16, '0')}`;
const comment = (text: string): string => `-m comment --comment "${text}"`;

/** Destinations are the selected pods; sources the pods of the first policy's peer, and the network of the others. */
function setsOf(n: number): string[] {
  return [
    `create ${set('DST', n)} hash:ip`,
    `add ${set('DST', n)} 10.244.0.2`,
    `create ${set('SRC', n)} hash:ip`,
    ...(n === 0
      ? [`add ${set('SRC', n)} ${PEER}`]
      : [`create ${set('NET', n)} hash:net`, `add ${set('NET', n)} ${otherNetwork(n)}`]),
  ];
}

function rulesOf(n: number): string[] {
  const why = comment(`rule to ACCEPT traffic from source pods to dest pods selected by policy on${n}`);
  const ports = n === 0 ? [`tcp --dport ${PORT}`, `udp --dport ${PORT}`] : [`tcp --dport ${otherPort(n)}`];
  const sources = n === 0 ? [set('SRC', n)] : [set('SRC', n), set('NET', n)];
  return sources.flatMap((source) =>
    ports.flatMap((port) => [
      `-A ${chain(n)} ${why} -m set --match-set ${source} src -m set --match-set ${set('DST', n)} dst -p ${port} -j MARK --set-xmark ${ALLOWED}`,
      `-A ${chain(n)} ${why} -m mark --mark ${ALLOWED} -j RETURN`,
    ]),
  );
}

const FIREWALL = 'KUBE-POD-FW-0000000000000000';

function tableOf(count: number): string {
  const numbers = Array.from({ length: count }, (_, n) => n);
  const of = comment('POD name:b namespace: measured');
  const walk = numbers.map(
    (n) => `-A ${FIREWALL} -d ${POD} ${comment(`run through nw policy on${n}`)} -j ${chain(n)}`,
  );
  return [
    '*filter',
    ':FORWARD ACCEPT [0:0]',
    ':KUBE-ROUTER-FORWARD - [0:0]',
    `:${FIREWALL} - [0:0]`,
    ...numbers.map((n) => `:${chain(n)} - [0:0]`),
    '-A FORWARD -j KUBE-ROUTER-FORWARD',
    `-A KUBE-ROUTER-FORWARD -d ${POD} ${of} -j ${FIREWALL}`,
    `-A KUBE-ROUTER-FORWARD ${of} -m mark --mark ${PASSED} -j ACCEPT`,
    `-A ${FIREWALL} ${of} -m conntrack --ctstate INVALID -j DROP`,
    `-A ${FIREWALL} ${of} -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT`,
    `-A ${FIREWALL} -d ${POD} ${of} -m addrtype --src-type LOCAL -j ACCEPT`,
    ...walk,
    `-A ${FIREWALL} ${of} -m mark ! --mark ${ALLOWED} -m limit --limit 10/minute --limit-burst 10 -j NFLOG --nflog-group 100`,
    `-A ${FIREWALL} ${of} -m mark ! --mark ${ALLOWED} -j REJECT`,
    `-A ${FIREWALL} -j MARK --set-xmark 0x0/0x10000`,
    `-A ${FIREWALL} ${of} -j MARK --set-xmark ${PASSED}`,
    ...numbers.flatMap(rulesOf),
    'COMMIT',
    '',
  ].join('\n');
}

/** In the filter table of the namespace, whose ipsets must be none. */
export async function loadWalk(node: Namespace, flavour: Flavour, count: number): Promise<void> {
  const sets = Array.from({ length: count }, (_, n) => setsOf(n)).flat();
  await node.must(['ipset', 'restore'], { input: `${sets.join('\n')}\n`, timeoutMs: 120_000 });
  await node.must([`${flavour}-restore`], { input: tableOf(count), timeoutMs: 120_000 });
}
