/**
 * Steps about addresses, neighbours, forwarding entries and routes, and about links that only have to be configured: all
 * packed behind one another, a few sends for thousands and one for a pod. What is already gone counts as removed.
 */
import type { Step } from '#model/diff.ts';
import type {
  AddressItem,
  FdbItem,
  Item,
  NeighborItem,
  ProxyItem,
  RouteItem,
  RuleItem,
  StationItem,
} from '#model/host.ts';
import { keyOf } from '#model/host.ts';
import type { LinkStep } from './apply-links.ts';
import type { Failure } from './kernel.ts';
import { putAddress, removeAddress } from './netlink/address.ts';
import { isMade, setLink } from './netlink/link.ts';
import {
  putFdb,
  putNeighbor,
  putProxy,
  putStation,
  removeFdb,
  removeNeighbor,
  removeProxy,
  removeStation,
} from './netlink/neighbor.ts';
import { putRoute, removeRoute } from './netlink/route.ts';
import { putRule, removeRule } from './netlink/rule.ts';
import type { Refusal } from './netlink/socket.ts';
import { observeRoutes } from './observe.ts';
import type { Scope } from './scope.ts';
import { SysError } from './sys.ts';

type LinkChange = Exclude<LinkStep, { op: 'remove' }>;
type Entry = AddressItem | NeighborItem | ProxyItem | FdbItem | StationItem | RouteItem | RuleItem;

/** Whether this is about a link that others made, and netlink alone can do what is wanted of it. */
export function isLinkEntry(step: Step): boolean {
  if (step.op === 'remove' || step.item.kind !== 'link') return false;
  return !isMade(step.item) && step.item.txChecksumOffload === undefined;
}

/** What the kernel says when the entry, its link or its table is gone already. */
const GONE = new Set(['ENODEV', 'ENOENT', 'ESRCH', 'EADDRNOTAVAIL', 'ENETUNREACH', 'ENXIO']);

/** Tries all of them, in order. */
export function applyEntries(scope: Scope, steps: readonly Step[]): Failure[] {
  const { writer, socket } = scope;
  const failures: Failure[] = [];
  const owners: Step[] = [];
  writer.clear();
  scope.names.forget();
  for (const step of steps) {
    const failure = pack(scope, step);
    if (failure !== undefined) failures.push(failure);
    while (owners.length < writer.starts.length) owners.push(step);
  }
  if (owners.length === 0) return failures;
  const refused: Failure[] = [];
  for (const [number, refusal] of socket.batch(writer).refusals) {
    const failure = judge(owners[number], refusal);
    if (failure !== undefined) refused.push(failure);
  }
  return refused.length === 0 ? failures : [...failures, ...tryAgain(scope, refused)];
}

/** Packs the step's messages, or nothing at all when a link that it names is not there. */
function pack(scope: Scope, step: Step): Failure | undefined {
  const first = scope.writer.starts.length;
  try {
    if (step.op === 'remove') packRemoval(scope, step.was as Entry);
    else if (step.item.kind === 'link') packLink(scope, step as LinkChange);
    else packChange(scope, step as Exclude<Step, { op: 'remove' }> & { item: Entry });
    return undefined;
  } catch (error) {
    scope.writer.rewind(first);
    if (!(error instanceof SysError)) throw error;
    if (step.op === 'remove' && GONE.has(error.code)) return undefined;
    return { step, code: error.code, message: `${error.code}: a link of ${step.key} does not exist` };
  }
}

function packLink({ writer, names }: Scope, step: LinkChange): void {
  setLink(writer, step.item, names, step.op === 'add' ? undefined : step.was);
}

function packRemoval({ writer, names }: Scope, was: Entry): void {
  switch (was.kind) {
    case 'address':
      return removeAddress(writer, was, names);
    case 'neighbor':
      return removeNeighbor(writer, was, names);
    case 'proxy':
      return removeProxy(writer, was, names);
    case 'fdb':
      return removeFdb(writer, was, names);
    case 'station':
      return removeStation(writer, was, names);
    case 'route':
      return removeRoute(writer, was);
    case 'rule':
      return removeRule(writer, was);
  }
}

function packChange({ writer, names }: Scope, step: Exclude<Step, { op: 'remove' }> & { item: Entry }): void {
  const { item } = step;
  switch (item.kind) {
    case 'address':
      return putAddress(writer, item, names);
    case 'neighbor':
      return putNeighbor(writer, item, names);
    case 'proxy':
      return putProxy(writer, item, names);
    case 'fdb':
      return putFdb(writer, item, names);
    case 'station':
      return putStation(writer, item, names);
    case 'route':
      return putRoute(writer, item, names, step.op === 'add' ? 'add' : 'replace');
    case 'rule':
      return putRule(writer, item);
  }
}

function judge(step: Step | undefined, refusal: Refusal): Failure | undefined {
  if (step === undefined || (step.op === 'remove' && GONE.has(refusal.code))) return undefined;
  if (refusal.code === 'EEXIST' && step.op !== 'remove' && step.item.kind === 'rule') return undefined;
  return { step, code: refusal.code, message: refusal.reason };
}

function isTakenRoute({ step, code }: Failure): boolean {
  return code === 'EEXIST' && step.op === 'add' && step.item.kind === 'route';
}

/** What the kernel refuses of routes has sometimes another way. */
function tryAgain(scope: Scope, refused: readonly Failure[]): Failure[] {
  const taken = refused.filter(isTakenRoute);
  const covered = refused.filter(isCoveredHop);
  return [
    ...refused.filter((failure) => !isTakenRoute(failure) && !isCoveredHop(failure)),
    ...(taken.length === 0 ? [] : replaceOwn(scope, taken)),
    ...(covered.length === 0 ? [] : uncover(scope, covered)),
  ];
}

function isCoveredHop({ step, code }: Failure): boolean {
  return (
    code === 'EINVAL' && step.op === 'replace' && step.item.kind === 'route' && step.item.onlink === true
  );
}

/**
 * IPv6 takes no next hop that is covered by a route of another link, not even by the one that is to be replaced (Linux'
 * ip6_route_check_nh_onlink). So that one goes just before, in the same send.
 */
function uncover(scope: Scope, refused: readonly Failure[]): Failure[] {
  const replaced = new Map(refused.map(({ step }) => [step.key, step]));
  const steps = refused.flatMap(({ step }): Step[] => {
    const { key, item } = step as Extract<Step, { item: Item }>;
    return [
      { op: 'remove', key, was: item },
      { op: 'add', key, item },
    ];
  });
  return applyEntries(scope, steps).map((failure) => ({
    ...failure,
    step: replaced.get(failure.step.key) ?? failure.step,
  }));
}

/** A route in the way that is our own was only not seen: it is changed. A stranger's stays, and the step has failed. */
function replaceOwn(scope: Scope, taken: readonly Failure[]): Failure[] {
  const own = new Set(observeRoutes(scope).map((item) => keyOf(item)));
  const mine = taken.filter(({ step }) => own.has(step.key));
  const steps = mine.map(({ step }): Step => {
    const item = (step as Extract<Step, { op: 'add' }>).item;
    return { op: 'replace', key: step.key, item, was: item };
  });
  const failures = steps.length === 0 ? [] : applyEntries(scope, steps);
  return [...taken.filter(({ step }) => !own.has(step.key)), ...failures];
}
