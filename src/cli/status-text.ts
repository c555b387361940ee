/** A node's status as text for a terminal: what is wrong comes first, and only what is there is shown. */
import type { ItemStatus, NameStatus, PeerStatus, PolicyStatus, RelayStatus, Status } from '#api/status.ts';
import { section } from './output.ts';
import { renderRoad } from './road-text.ts';

/** `items`: every item, or only those that are not as wanted. */
export function renderStatus(status: Status, items: 'all' | 'wrong'): string {
  return [
    renderHead(status),
    renderItems(status.items, items),
    section(
      'Policies that are not in force as they are written',
      ['PLACE', 'PROBLEM'],
      (status.policy?.problems ?? []).map(({ path, message }) => [path, message]),
    ),
    renderPeers(status),
    renderTunnel(status),
    renderPods(status),
    section(
      'Addresses',
      ['POOL', 'USED', 'FREE', 'QUARANTINED'],
      status.pools.map((pool) => [pool.prefix, String(pool.used), pool.free, String(pool.quarantined)]),
    ),
    section(
      'Events',
      ['TIME', 'SEVERITY', 'WHAT'],
      status.events.slice(-10).map((event) => [event.time, event.severity, event.text]),
    ),
  ]
    .filter((part) => part !== '')
    .join('\n');
}

function renderHead(status: Status): string {
  const { underlay, peers } = status;
  const programmed = peers.filter(({ state }) => state === 'programmed').length;
  const lines: [string, string | undefined][] = [
    ['Node', `${status.node} (profile ${status.profile}, tartan ${status.version}, pid ${status.pid})`],
    ['Ready', status.ready ? 'yes' : `no: ${status.reasons.join('; ')}`],
    ['Paused', status.paused ? 'yes: tartan resume lets it go on' : undefined],
    ['Brake', status.braked],
    ['Underlay', underlay && `${underlay.link} mtu ${underlay.mtu} (${underlay.why})`],
    ['Subnets', [status.subnets[4], status.subnets[6]].filter((subnet) => subnet !== undefined).join(', ')],
    ['Pod MTU', status.podMtu?.toString()],
    ['Road', status.road && renderRoad(status.road).split('\n')[0]],
    ['Peers', `${programmed} of ${peers.length} peers programmed`],
    ['Items', summary(status.items)],
    ['Store', status.relays && summarizeRelays(status.relays)],
    ['Policy', status.policy && summarizePolicy(status.policy)],
  ];
  const shown = lines.filter(([, value]) => value !== undefined && value !== '');
  return `${shown.map(([name, value]) => `${`${name}:`.padEnd(10)}${value}`).join('\n')}\n`;
}

function summary(items: readonly ItemStatus[]): string {
  const wrong = items.filter((item) => item.seen !== 'ok').length;
  return `${items.length - wrong} of ${items.length} as wanted`;
}

function summarizePolicy({ policies, entries, audit, braked, names }: PolicyStatus): string {
  const mode = audit ? ', nothing is enforced (audit)' : '';
  const known = names === undefined ? '' : `, ${summarizeNames(names)}`;
  return `${policies} policies, ${entries} entries${known}${mode}${braked === undefined ? '' : `; brake: ${braked}`}`;
}

/** Where the store's changes come from; what is not as it should be, and why, comes after it. */
export function summarizeRelays({ known, through, watches, problem }: RelayStatus): string {
  const { relay, store, waiting } = watches;
  const total = relay + store + waiting;
  const others = known === 0 ? ': there is none' : `, though ${known} ${known === 1 ? 'is' : 'are'} known`;
  const parts: readonly [count: number, text: string][] = [
    [relay, `through the relay ${through.join(', ')}`],
    [store, `without a relay${others}`],
    [waiting, 'waiting for an answer'],
  ];
  const shown = parts.filter(([count]) => count > 0);
  const texts = shown.map(([count, text]) => (count < total ? `${count} of ${total} watches ${text}` : text));
  return [...texts, ...(relay === total || problem === undefined ? [] : [problem])].join('; ');
}

function summarizeNames({ names, addresses, way, problem }: NameStatus): string {
  const how = way === undefined ? `not followed: ${problem ?? 'not yet'}` : `answers are ${HOW[way]}`;
  return `${names} DNS names with ${addresses} addresses (${how})`;
}

const HOW = { hold: 'held until they are known', copy: 'copied: the kernel cannot hold them' } as const;

function renderItems(all: readonly ItemStatus[], items: 'all' | 'wrong'): string {
  const shown = items === 'all' ? all : all.filter((item) => item.seen !== 'ok');
  return section(
    items === 'all' ? 'Items' : 'Not as wanted',
    ['STATE', 'ITEM', 'ERROR', 'HINT'],
    shown.map((item) => [item.seen, item.text, item.error ?? '', item.hint ?? '']),
  );
}

export function renderPeers(status: Status): string {
  return section(
    'Peers',
    ['NODE', 'STATE', 'ROAD', 'MTU', 'ADDRESSES', 'SUBNETS', 'WHY'],
    status.peers.map((peer) => [
      peer.name,
      peer.state,
      peer.road ?? '-',
      peer.mtu?.toString() ?? '-',
      peer.addresses.join(','),
      peer.subnets.join(','),
      peer.why,
    ]),
  );
}

function renderTunnel({ peers }: Status): string {
  return section(
    'Userspace tunnel',
    ['NODE', 'ENDPOINT', 'MTU', 'HEARD', 'KEYS', 'SENT', 'RECEIVED'],
    peers.flatMap(({ name, tunnel }) =>
      tunnel === undefined
        ? []
        : [
            [
              name,
              tunnel.endpoint ?? '-',
              String(tunnel.mtu),
              `${tunnel.heardSeconds} s ago${tunnel.silent ? ' (silent)' : ''}`,
              describeKeys(tunnel),
              String(tunnel.sentBytes),
              String(tunnel.receivedBytes),
            ],
          ],
    ),
  );
}

function describeKeys({ sessionSeconds, newestKeys }: NonNullable<PeerStatus['tunnel']>): string {
  if (sessionSeconds === undefined) return '-';
  return `${sessionSeconds} s old${newestKeys ? '' : ', of older secrets'}`;
}

export function renderPods(status: Status): string {
  return section(
    'Pods',
    ['POD', 'IFNAME', 'ADDRESSES', 'LINK', 'MTU', 'PHASE'],
    status.pods.map((pod) => [
      pod.name === undefined ? pod.containerId : `${pod.namespace ?? '-'}/${pod.name}`,
      pod.ifname,
      pod.addresses.join(','),
      pod.hostLink,
      String(pod.mtu),
      pod.phase,
    ]),
  );
}
