/**
 * The part of the policy table that judges what crosses interfaces of the host itself: there only while host endpoints
 * are, so that nobody else pays for it. Like the rest of the structure it is the same whatever the policies.
 *
 *     prerouting  raw      host-raw         untracked-ingress ─ allowed: not tracked, marked
 *                 mangle   host-mangle      pre-dnat-ingress ── allowed: marked
 *     input       filter   host-input       local-ingress
 *     forward     filter   host-forward     forward-ingress (unless marked), forward-egress
 *     output      raw      host-raw-output  untracked-egress ── allowed: not tracked, marked
 *                 filter   host-output      local-egress
 *     postrouting filter   host-postrouting local-egress, of what the host sent and DNAT sent elsewhere: only now its
 *                                           interface is known
 *
 * Marked packets are not judged again where they came in, or by the host that sent them. Loopback, NDP and MLD are
 * never judged, nor is what goes on; and at the gates for what is the host's own, nothing to or from its pods.
 */
import { MARK, POD_LINK_PREFIX } from '#model/numbers.ts';
import { type Gate, gateMap, type Hook, HOOKS } from '#model/policy-program.ts';
import type { Direction } from '#model/policy.ts';
import { FAMILIES, type Family } from '#net/address.ts';
import {
  compare,
  connectionStatus,
  type Expression,
  lookup,
  mask,
  meta,
  notrack,
  payload,
  setMark,
  type Verdict,
  verdict,
  within,
} from './expressions.ts';
import { PLACES } from './places.ts';
import {
  askProgram,
  established,
  goto,
  HOOK,
  jump,
  KEY,
  type NftChain,
  type NftRule,
  ofFamily,
  rule,
} from './structure.ts';

/** Priorities of netfilter: before connection tracking (-200), and before DNAT (-100). */
const RAW = -300;
const MANGLE = -150;
const IPS_DST_NAT = 0x20;
const ICMPV6 = 58;
const INTERFACE_BYTES = 16;

export type HostStyle = {
  /** Packets are only told of: nothing is marked, and all are tracked. */
  readonly staged: boolean;
  /** The bridge that pods hang on, where they do. */
  readonly bridge?: string;
};

export function isHook(chain: string): chain is Hook {
  return HOOKS.some((each) => each === chain);
}

/** Chains to which entries and chains of programs lead: there as long as the first of the early hooks is. */
export function earlyChains(hooks: readonly Hook[], { staged }: HostStyle): NftChain[] {
  if (!hooks.includes('host-raw')) return [];
  const chain = (name: string, ...expressions: Expression[]): NftChain => ({
    name,
    rules: [rule(name, ...(staged ? [] : expressions), verdict('return'))],
  });
  return [chain('early', ...mark), chain('untracked', notrack(), ...mark)];
}

/**
 * The other chains of these hooks, every one behind those that it leads to, base chains last. Hooks that share a gate
 * come and go together, or take each other's place.
 */
export function hostChains(hooks: readonly Hook[], style: HostStyle): NftChain[] {
  const made = hooks.map((hook) => ({ ...BASES[hook], name: hook }));
  const gates = new Set(made.flatMap(({ gates }) => gates));
  return [
    ...[...gates].flatMap((gate) => FAMILIES.flatMap((family) => gateChains(gate, family))),
    ...made.map(({ name, hook, priority, rules }): NftChain => ({
      name,
      hook,
      // Staged ones behind the enforced ones of the same hook, as everywhere.
      ...(priority === undefined ? {} : { priority: style.staged ? priority + 1 : priority }),
      rules: rules(style),
    })),
  ];
}

const directionOf = (gate: Gate): Direction => (gate.endsWith('egress') ? 'egress' : 'ingress');
const linkOf = (way: Direction): 'iifname' | 'oifname' => (way === 'ingress' ? 'iifname' : 'oifname');

/** As for pods, but the subject is found by interface, and perhaps again by the class of the host's own end. */
function gateChains(gate: Gate, family: Family): NftChain[] {
  const way = directionOf(gate);
  const name = gateMap(gate, family);
  const { source, destination } = PLACES[family];
  const [own, peer] = way === 'egress' ? [source, destination] : [destination, source];
  const classOf = (place: typeof own): Expression[] => [
    payload('network', place, 4),
    lookup(`peer${family}`, 4, 2),
    lookup(`net${family}`, 4, 3),
  ];
  const subject = [KEY, meta(linkOf(way), 8), lookup(name, 8, 1)];
  const place = [...subject, ...classOf(own), lookup('place', 0, 1)];
  const asked = (chain: string, found: readonly Expression[]): NftChain[] => {
    const pair = [...found, ...classOf(peer), lookup('pair', 0, 1)];
    return [
      { name: `${chain}-pair`, rules: askProgram(way, pair) },
      {
        name: chain,
        rules: [
          rule('pair', ...pair, verdict(goto(`${chain}-pair`))),
          ...askProgram(way, [...found, lookup('alone', 0, 1)]),
        ],
      },
    ];
  };
  return [
    ...asked(`${name}-place`, place),
    ...asked(`${name}-elsewhere`, subject),
    {
      name,
      rules: [
        rule('place', ...place, verdict(goto(`${name}-place`))),
        rule('selected', ...subject, verdict(goto(`${name}-elsewhere`))),
      ],
    },
  ];
}

const marked = (test: 'equal' | 'unequal'): Expression[] => [
  meta('mark', 0),
  mask(0, MARK.hostAllowed),
  compare(0, test, new Uint8Array(4)),
];
const mark = [meta('mark', 0), mask(0, ~MARK.hostAllowed, MARK.hostAllowed), setMark(0)];
/** A packet may have been marked in another guise: before it was put into a tunnel, or taken out. */
const clear = rule('clear', ...marked('unequal'), meta('mark', 0), mask(0, ~MARK.hostAllowed), setMark(0));
const early = rule('early', ...marked('unequal'), verdict('accept'));

const through = (way: Direction, link: Buffer): Expression[] => [
  meta(linkOf(way), 0),
  compare(0, 'equal', link),
];
function link(name: string): Buffer {
  const bytes = Buffer.alloc(INTERFACE_BYTES);
  bytes.write(name, 0, INTERFACE_BYTES - 1);
  return bytes;
}

const loopback = (way: Direction): NftRule => rule('lo', ...through(way, link('lo')), verdict('accept'));

function pods(way: Direction, { bridge }: HostStyle): NftRule[] {
  const links = [Buffer.from(POD_LINK_PREFIX), ...(bridge === undefined ? [] : [link(bridge)])];
  return links.map((each) => rule('pods', ...through(way, each), verdict('accept')));
}

/** MLD and NDP (RFC 2710, 4861; RFC 3810): what links themselves live by. */
const signalling = [
  [130, 137],
  [143, 143],
].map(([from = 0, to = 0]) =>
  rule(
    'signalling',
    ...ofFamily(6),
    meta('l4proto', 0),
    compare(0, 'equal', Uint8Array.of(ICMPV6)),
    payload('transport', PLACES.icmpType, 0),
    within(0, Uint8Array.of(from), Uint8Array.of(to)),
    verdict('accept'),
  ),
);

function enter(gate: Gate, ...tests: Expression[]): NftRule[] {
  return FAMILIES.map((family) => {
    const name = gateMap(gate, family);
    const to: Verdict = jump(name);
    return rule(name, ...ofFamily(family), ...tests, verdict(to));
  });
}

const translated = (test: 'equal' | 'unequal'): Expression[] => [
  connectionStatus(0),
  mask(0, IPS_DST_NAT),
  compare(0, test, new Uint8Array(4)),
];

type Base = Pick<NftChain, 'priority'> & {
  readonly hook: number;
  readonly gates: readonly Gate[];
  readonly rules: (style: HostStyle) => NftRule[];
};

const raw = (hook: number, gate: Gate): Base => ({
  hook,
  priority: RAW,
  gates: [gate],
  rules: ({ staged }) => [
    ...(staged ? [] : [clear]),
    loopback(directionOf(gate)),
    ...signalling,
    ...enter(gate),
  ],
});

const input = (...heed: NftRule[]): Base => ({
  hook: HOOK.input,
  gates: ['local-ingress'],
  rules: (style) => [
    established,
    loopback('ingress'),
    ...pods('ingress', style),
    ...heed,
    ...signalling,
    ...enter('local-ingress'),
  ],
});

const forward = (...unmarked: Expression[]): Base => ({
  hook: HOOK.forward,
  gates: ['forward-ingress', 'forward-egress'],
  rules: () => [established, ...enter('forward-ingress', ...unmarked), ...enter('forward-egress')],
});

const output = (...heed: NftRule[]): Base => ({
  hook: HOOK.output,
  gates: ['local-egress'],
  rules: (style) => [
    established,
    loopback('egress'),
    ...pods('egress', style),
    ...heed,
    rule('translated', ...translated('unequal'), verdict('accept')),
    ...signalling,
    ...enter('local-egress'),
  ],
});

/** What the host itself sends has come in nowhere. */
const own: Expression[] = [meta('iif', 0), compare(0, 'equal', new Uint8Array(4))];

const postrouting = (...heed: NftRule[]): Base => ({
  hook: HOOK.postrouting,
  gates: ['local-egress'],
  rules: (style) => [
    established,
    loopback('egress'),
    ...pods('egress', style),
    ...heed,
    ...enter('local-egress', ...own, ...translated('unequal')),
  ],
});

const BASES: Readonly<Record<Hook, Base>> = {
  'host-raw': raw(HOOK.prerouting, 'untracked-ingress'),
  'host-raw-output': raw(HOOK.output, 'untracked-egress'),
  'host-mangle': {
    hook: HOOK.prerouting,
    priority: MANGLE,
    gates: ['pre-dnat-ingress'],
    rules: () => [established, loopback('ingress'), early, ...signalling, ...enter('pre-dnat-ingress')],
  },
  'host-input': input(),
  'host-input-early': input(early),
  'host-forward': forward(),
  'host-forward-early': forward(...marked('equal')),
  'host-output': output(),
  'host-output-early': output(early),
  'host-postrouting': postrouting(),
  'host-postrouting-early': postrouting(early),
};
