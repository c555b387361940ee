/** What `show route all` says of routes. */
import type { SeenRoute } from '#model/routing.ts';
import { parseAddress } from '#net/address.ts';
import { parsePrefix, type Prefix } from '#net/prefix.ts';
import type { Reply } from './reply.ts';

type Draft = { -readonly [K in keyof SeenRoute]: SeenRoute[K] };

/** `PREFIX  unicast [SESSION DATE TIME from ADDRESS] * (100/?) [AS65001i]`; the prefix is said once for all of its routes. */
const HEAD = /^(\S*)\s+(unicast|blackhole|unreachable|prohibit) \[(\S+) ([^\]]*)\](.*)$/;

export function readRoutes({ lines }: Reply, filtered: boolean): SeenRoute[] {
  const routes: Draft[] = [];
  let prefix: Prefix | undefined;
  for (const { text } of lines) {
    const [, place = '', kind, from, , marks = ''] = HEAD.exec(text) ?? [];
    if (kind === undefined || from === undefined) {
      const last = routes.at(-1);
      if (last !== undefined) readDetail(last, text.trim());
      continue;
    }
    prefix = place === '' ? prefix : parsePrefix(place);
    if (prefix !== undefined) routes.push(draftOf(prefix, { kind, from, marks, filtered }));
  }
  return routes;
}

type Head = {
  readonly kind: string;
  readonly from: string;
  readonly marks: string;
  readonly filtered: boolean;
};

/** `*` is the best one of those that are shown. */
function draftOf(prefix: Prefix, { kind, from, marks, filtered }: Head): Draft {
  return {
    prefix,
    from,
    via: [],
    kind: kind as SeenRoute['kind'],
    chosen: !filtered && /^\s*\*/.test(marks),
    filtered,
    asPath: [],
    communities: [],
  };
}

const DETAILS: readonly [RegExp, (route: Draft, text: string) => void][] = [
  [/^(via .*)$/, (route, text) => (route.via = [...route.via, hopOf(text)])],
  [/^(dev .*)$/, (route, text) => (route.via = [...route.via, hopOf(text)])],
  [/^BGP\.as_path: (.*)$/, (route, text) => (route.asPath = numbersIn(text))],
  [/^BGP\.local_pref: (\d+)$/, (route, text) => (route.localPreference = Number(text))],
  [
    /^BGP\.(?:large_)?community: (.*)$/,
    (route, text) => (route.communities = [...route.communities, ...pairsIn(text)]),
  ],
  [
    /^BGP\.next_hop: (\S+)/,
    (route, text) => {
      const nextHop = parseAddress(text);
      if (nextHop !== undefined) route.nextHop = nextHop;
    },
  ],
];

function readDetail(route: Draft, line: string): void {
  for (const [pattern, put] of DETAILS) {
    const text = pattern.exec(line)?.[1];
    if (text !== undefined) put(route, text);
  }
}

function hopOf(text: string): SeenRoute['via'][number] {
  const gateway = parseAddress(/^via (\S+)/.exec(text)?.[1] ?? '');
  const device = /(?:on|dev) (\S+)/.exec(text)?.[1];
  return {
    ...(gateway === undefined ? {} : { gateway }),
    ...(device === undefined ? {} : { interface: device }),
  };
}

function numbersIn(text: string): number[] {
  return (text.match(/\d+/g) ?? []).map(Number);
}

/** `(64512,1)` and `(64512, 1, 2)`, as `64512:1` and `64512:1:2`. */
function pairsIn(text: string): string[] {
  return (text.match(/\([^)]*\)/g) ?? []).map((each) => numbersIn(each).join(':'));
}
