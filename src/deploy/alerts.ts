/**
 * What Prometheus wakes somebody for: each alert is a sentence about pods' traffic or about addresses, and has a section in
 * docs/guide/alerts.md. A test holds the metrics against those that agents have.
 */

export type Alert = {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: { readonly severity: 'warning' | 'critical' };
  readonly annotations: { readonly summary: string; readonly description: string; readonly runbook: string };
};

export type AlertGroup = { readonly name: string; readonly rules: readonly Alert[] };

const alert = (
  name: string,
  [severity, minutes]: readonly ['warning' | 'critical', number],
  { expr, summary, description }: { expr: string; summary: string; description: string },
): Alert => ({
  alert: name,
  expr,
  for: `${minutes}m`,
  labels: { severity },
  annotations: { summary, description, runbook: `docs/guide/alerts.md#${name.toLowerCase()}` },
});

export const ALERTS: readonly AlertGroup[] = [
  {
    name: 'tartan',
    rules: [
      alert('TartanNodeNotReady', ['critical', 5], {
        expr: 'tartan_ready == 0',
        summary: 'Node {{ $labels.node }} is not ready for pods.',
        description: 'New pods cannot start there. `tartan status` on the node says why.',
      }),
      alert('TartanAgentAway', ['critical', 10], {
        expr: 'up{job=~".*tartan-agent.*"} == 0',
        summary: 'The agent at {{ $labels.instance }} does not answer.',
        description:
          'Pods that run keep their network; new ones get none, and changes of policies do not arrive.',
      }),
      alert('TartanStepsFail', ['warning', 10], {
        expr: 'tartan_items{state="failed"} > 0',
        summary: 'On {{ $labels.node }} the kernel refuses {{ $value }} items.',
        description: 'Routes or rules are missing. `tartan doctor` on the node names them and the reason.',
      }),
      alert('TartanPeersUnreachable', ['warning', 10], {
        expr: 'tartan_peers{state="unreachable"} > 0',
        summary: 'Node {{ $labels.node }} has no road to {{ $value }} other nodes.',
        description:
          'Pods there and on those nodes do not reach each other. `tartan status` says why for each.',
      }),
      alert('TartanAddressesGone', ['critical', 2], {
        // A node of blocks with none free takes another block: pods that fail tell the two apart.
        expr: 'tartan_addresses{state="free"} == 0 and on (node) sum by (node) (rate(tartan_cni_seconds_count{verb="ADD",code!="0"}[5m])) > 0',
        summary: 'Node {{ $labels.node }} has no IPv{{ $labels.family }} address left for pods.',
        description: 'New pods fail there with addresses-exhausted until others go.',
      }),
      alert('TartanPodsFail', ['warning', 10], {
        expr: 'sum by (node) (rate(tartan_cni_seconds_count{verb="ADD",code!="0"}[5m])) > 0.1 * sum by (node) (rate(tartan_cni_seconds_count{verb="ADD"}[5m]))',
        summary: 'On {{ $labels.node }} more than a tenth of new pods get no network.',
        description: 'The events of those pods have the reason, and so has the log of the agent.',
      }),
      alert('TartanPodsSlow', ['warning', 15], {
        expr: 'histogram_quantile(0.99, sum by (node, le) (rate(tartan_cni_seconds_bucket{verb="ADD"}[10m]))) > 5',
        summary: 'On {{ $labels.node }} a pod waits longer than 5 s for its network.',
        description: 'Policies of the pod that do not come, a store that is slow, or a node without CPU.',
      }),
      alert('TartanConvergenceSlow', ['warning', 15], {
        expr: 'histogram_quantile(0.99, sum by (node, le) (rate(tartan_convergence_seconds_bucket[10m]))) > 5',
        summary: 'Node {{ $labels.node }} takes longer than 5 s to follow a change.',
        description: 'New pods of other nodes are not reached from there until then.',
      }),
      alert('TartanAttachmentsLeak', ['warning', 60], {
        expr: 'tartan_leaked_attachments > 0',
        summary: 'Node {{ $labels.node }} keeps {{ $value }} pods that are gone.',
        description:
          'The runtime has not deleted them; their addresses stay taken. `tartan doctor` lists them.',
      }),
      alert('TartanTunnelSilent', ['warning', 5], {
        expr: 'tartan_tunnel{what="silentPeers"} > 0',
        summary: 'On {{ $labels.node }} {{ $value }} peers of the userspace tunnel are silent.',
        description:
          'Packets are sent to them and none come back: a firewall, another password, a node that is away.',
      }),
      alert('TartanRelaysUnused', ['warning', 10], {
        // Who loses all relays forgets them within minutes; who never had one misses none.
        expr: 'sum by (node) (tartan_store_watches{way!="relay"}) > 0 and on (node) (tartan_relays_known > 0 or on (node) max_over_time(tartan_store_watches{way="relay"}[1h]) > 0)',
        summary: 'Node {{ $labels.node }} has {{ $value }} watches that no relay serves.',
        description:
          'They go to the API server, which does not bear that of very many nodes, or wait. `tartan status` on the node says why.',
      }),
      alert('TartanRelayAway', ['warning', 5], {
        expr: 'tartan_relay_away == 1 or up{job=~".*tartan-relay.*"} == 0',
        summary: 'The relay at {{ $labels.instance }} has no news for agents.',
        description: 'It does not answer, or does not hear from the API server. Its agents go to others.',
      }),
      alert('TartanNobodyLeads', ['warning', 10], {
        expr: 'sum(tartan_controller_leading) == 0',
        summary: 'No controller leads.',
        description:
          'What nodes left that are gone is not taken back, and the state of the cluster is not told.',
      }),
      alert('TartanControllerBraked', ['warning', 15], {
        expr: 'tartan_controller_braked == 1',
        summary: 'The controller takes nothing back: too many nodes are gone at once.',
        description:
          '`tartan status --cluster` says how many. Either they are really gone, or the API server forgot them.',
      }),
      alert('TartanSubnetConflict', ['critical', 5], {
        expr: 'tartan_cluster_subnet_conflicts > 0',
        summary: '{{ $value }} subnets are wanted by two nodes.',
        description: 'Pods of one of the two are not reached. `tartan status --cluster` names them.',
      }),
      alert('TartanSubnetsRunOut', ['warning', 30], {
        expr: 'tartan_cluster_subnets{state="free"} / ignoring(state) (tartan_cluster_subnets{state="free"} + ignoring(state) tartan_cluster_subnets{state="taken"}) < 0.1',
        summary: 'Less than a tenth of the node subnets of {{ $labels.range }} is free.',
        description: 'Nodes that come when none is left get no pods.',
      }),
      alert('TartanPoolRunsOut', ['warning', 30], {
        expr: 'tartan_cluster_pool_blocks{state="free"} == 0 and ignoring(state) (tartan_cluster_pool_addresses{state="free"} / ignoring(state) (tartan_cluster_pool_addresses{state="free"} + ignoring(state) tartan_cluster_pool_addresses{state="held"}) < 0.1)',
        summary: 'Pool {{ $labels.pool }} is nearly used up.',
        description:
          'All its blocks are taken, and less than a tenth of their addresses is free. Add a Pool.',
      }),
    ],
  },
];
