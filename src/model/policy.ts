/**
 * The one language of rules that every kind of network policy is translated to, and from which every data plane is
 * compiled. It says what is allowed, never how; #policy/evaluate.ts is its meaning.
 *
 *     RuleBook ─ tiers in order ─ policies in order ─ rules in order ─ first that matches and decides
 *
 * A rule matches a flow when all its clauses hold; a clause holds when the flow is in any (`not`: in none) of its sets.
 * A new kind of peer or of traffic is a new kind of set; nothing else has to change.
 */
import type { Family } from '#net/address.ts';
import type { Prefix } from '#net/prefix.ts';

export type Direction = 'ingress' | 'egress';
export const DIRECTIONS: readonly Direction[] = ['ingress', 'egress'];

/** Where something was written: the file or key, the line if known, and the path in the object (`spec.egress[0]`). */
export type Origin = { readonly source: string; readonly line?: number; readonly path: string };

/** IP protocol numbers (IANA) of the protocols that have names here. */
export const PROTOCOL = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132, udplite: 136 } as const;

/**
 * Whose label: the endpoint's own, its namespace's, its service account's; or a `fact`, which nobody can write as a
 * label: `kind` (pod, host, network-set), `namespace`, `account`, `node`, `name`.
 */
export type Scope = 'own' | 'namespace' | 'account' | 'fact';
export type Fact = 'kind' | 'namespace' | 'account' | 'node' | 'name';

type Label = { readonly scope: Scope; readonly key: string };

/** Tests of a label that is absent are false (`not` of them true). `and` of nothing is everything, `or` nothing. */
export type Selector =
  | { readonly op: 'and' | 'or'; readonly of: readonly Selector[] }
  | { readonly op: 'not'; readonly of: Selector }
  | ({ readonly op: 'has' } & Label)
  | ({ readonly op: 'in'; readonly values: readonly string[] } & Label)
  | ({ readonly op: 'contains' | 'starts' | 'ends'; readonly value: string } & Label);

export const EVERYTHING: Selector = { op: 'and', of: [] };

/** Seen from the endpoint whose rules are asked: the node it runs on; any pod or node of the cluster; all else. */
export type Entity = 'own-node' | 'cluster' | 'world';

/** A set of addresses. Equal sets have equal `JSON.stringify`, as makers keep the order of these fields. */
export type PeerSet =
  /** Addresses of the pods, host endpoints and network sets that the selector matches; never host-network pods. */
  | { readonly kind: 'endpoints'; readonly selector: Selector }
  | { readonly kind: 'prefixes'; readonly prefixes: readonly Prefix[]; readonly except: readonly Prefix[] }
  /** Addresses of the nodes whose labels (scope `own`) match. */
  | { readonly kind: 'nodes'; readonly selector: Selector }
  | { readonly kind: 'entity'; readonly entity: Entity }
  /** Backends of a service: as destination their address, protocol and port, as source their address. */
  | { readonly kind: 'service'; readonly namespace: string; readonly name: string }
  /** Addresses learned for DNS names; `*.` in front stands for one or more labels. */
  | { readonly kind: 'names'; readonly names: readonly string[] };

export type End = 'source' | 'destination';

/** Inclusive. */
export type PortRange = { readonly from: number; readonly to: number };

/** A set of packets. Ports without `protocol` mean TCP, UDP, SCTP or UDP-Lite, whichever the packet is. */
export type TrafficSet =
  | { readonly kind: 'family'; readonly family: Family }
  | { readonly kind: 'protocol'; readonly protocol: number }
  | {
      readonly kind: 'ports';
      readonly end: End;
      readonly protocol?: number;
      readonly ranges: readonly PortRange[];
    }
  /** The port that the endpoint at that end has under this name; endpoints without it do not match. */
  | { readonly kind: 'named-port'; readonly end: End; readonly protocol?: number; readonly name: string }
  | { readonly kind: 'icmp'; readonly family: Family; readonly type?: number; readonly code?: number };

/** In any of the sets, or with `not` in none of them. */
export type Clause<Set> = { readonly anyOf: readonly Set[]; readonly not?: true };

/**
 * `pass` leaves the tier, `log` goes on to the next rule, `redirect` allows through a proxy that judges layer 7
 * (reserved: no frontend makes it yet; what the proxy is to judge will be a field of the rule beside `traffic`).
 */
export type Action = 'allow' | 'deny' | 'pass' | 'log' | 'redirect';

/** No clauses: every flow. */
export type Rule = {
  readonly action: Action;
  readonly source: readonly Clause<PeerSet>[];
  readonly destination: readonly Clause<PeerSet>[];
  readonly traffic: readonly Clause<TrafficSet>[];
  /** What its author calls it. */
  readonly name?: string;
  readonly origin: Origin;
};

/**
 * Which packets of a host endpoint a policy judges; pods see `local` and `forward` alike and no others. `local`: to and
 * from processes of the host; `forward`: these, and what the host forwards; `untracked`: all, before connection
 * tracking; `pre-dnat`: all, before addresses are rewritten, ingress only. The latter two never deny by default.
 */
export type HostScope = 'local' | 'forward' | 'untracked' | 'pre-dnat';

export type Policy = {
  /** Kind of the object it came from, for the reader, and its name, with its namespace if it has one: `shop/web`. */
  readonly kind: string;
  readonly name: string;
  readonly tier: string;
  /** Ascending; Infinity is last; equal ones by name without namespace, then namespace, then kind, as Calico has it. */
  readonly order: number;
  readonly subjects: Selector;
  /** What no rule of the tier decided meets the tier's default action, even if the policy has no rules there. */
  readonly isolates: Readonly<Record<Direction, boolean>>;
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
  readonly host: HostScope;
  /** Not enforced, only previewed: the policy of this kind and name as it would become, or its removal. */
  readonly staged?: 'set' | 'delete';
  readonly origin: Origin;
};

export type Tier = {
  readonly name: string;
  /** Ascending; Infinity is last; equal ones by name. */
  readonly order: number;
  /** For flows that policies of the tier isolate and no rule decides. */
  readonly defaultAction: 'deny' | 'pass';
};

/** Rules that endpoints name one by one; asked after all tiers. */
export type Profile = {
  readonly name: string;
  /** Those that name it have these labels too, where they have none of their own: whoever makes the world sees to it. */
  readonly labels?: Readonly<Record<string, string>>;
  readonly ingress: readonly Rule[];
  readonly egress: readonly Rule[];
};

/** Policies of one tier, in their order. */
export type OrderedTier = { readonly tier: Tier; readonly policies: readonly Policy[] };

/** Made by createBook (#policy/book.ts): everything sorted, every tier there. */
export type RuleBook = {
  readonly enforced: readonly OrderedTier[];
  /** What would be enforced with all staged policies put in force; absent when nothing is staged. */
  readonly pending?: readonly OrderedTier[];
  readonly profiles: ReadonlyMap<string, Profile>;
};
