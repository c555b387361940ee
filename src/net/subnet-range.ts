import { type Address, addressBits, addressFamily, addressValue } from './address.ts';
import {
  contains,
  lastAddress,
  nthSubnet,
  type Prefix,
  prefixFamily,
  prefixLength,
  prefixOf,
} from './prefix.ts';

/**
 * Node subnets inside a larger range, as flannel counts them (flannel pkg/subnet/config.go, CheckNetworkConfig): the
 * defaults for what is not given, and everything that is wrong with what is. A result is always consistent: `min` and
 * `max` are subnets of `length` bits inside `range`, in this order.
 */
export type SubnetRange = {
  readonly range: Prefix;
  readonly length: number;
  readonly min: Prefix;
  readonly max: Prefix;
};

/** What is wrong; `path` is one of `range`, `length`, `min`, `max`. */
export type SubnetRangeProblem = { readonly path: keyof SubnetRange; readonly message: string };

const DEFAULT_LENGTH = { 4: 24, 6: 64 } as const;
/** A node needs room for a gateway and one pod besides the network and broadcast addresses. */
const LONGEST = { 4: 30, 6: 126 } as const;

/**
 * The range with its defaults. `length`: 24 (IPv6: 64) where at least four such subnets fit, else two bits more than
 * the range. `min`: the second subnet, because the first one's network address is the range's own; `max`: the last.
 * Bounds may be given as a subnet or as its first address.
 */
export function subnetDefaults(
  range: Prefix,
  length?: number,
  min?: Address | Prefix,
  max?: Address | Prefix,
): SubnetRange | { readonly problems: readonly SubnetRangeProblem[] } {
  const wanted = length ?? defaultLength(range);
  const wrong = lengthProblem(range, wanted, length !== undefined);
  if (wrong !== undefined) return { problems: [wrong] };
  const low = min === undefined ? nthSubnet(range, wanted, 1n) : bound(min, wanted);
  const high = max === undefined ? prefixOf(lastAddress(range), wanted) : bound(max, wanted);
  const problems = [
    ...boundProblems(range, wanted, 'min', low),
    ...boundProblems(range, wanted, 'max', high),
  ];
  if (problems.length > 0) return { problems };
  const result = { range, length: wanted, min: low as Prefix, max: high as Prefix };
  if (firstValue(result.min) > firstValue(result.max)) {
    return { problems: [{ path: 'min', message: `${result.min} comes after max ${result.max}` }] };
  }
  return result;
}

function defaultLength(range: Prefix): number {
  const usual = DEFAULT_LENGTH[prefixFamily(range)];
  return prefixLength(range) + 2 <= usual ? usual : prefixLength(range) + 2;
}

function lengthProblem(range: Prefix, length: number, given: boolean): SubnetRangeProblem | undefined {
  const longest = LONGEST[prefixFamily(range)];
  if (!given && length > longest) {
    return { path: 'range', message: `${range} is too small: /${longest - 2} is the smallest range` };
  }
  const shortest = prefixLength(range) + 2;
  if (Number.isInteger(length) && length >= shortest && length <= longest) return undefined;
  const message =
    shortest > longest
      ? `${range} is too small for any node subnets`
      : `must be between ${shortest} (four subnets in ${range}) and ${longest}, not ${length}`;
  return { path: 'length', message };
}

/** The bound as a subnet, or the text of what cannot be one. */
function bound(text: Address | Prefix, length: number): Prefix | { readonly reason: string } {
  if (text.includes('/')) {
    const found = text as Prefix;
    return prefixLength(found) === length ? found : { reason: `${text} is no /${length}` };
  }
  const address = text as Address;
  if (length > addressBits(addressFamily(address))) return { reason: `${text} is of the other family` };
  const whole = prefixOf(address, length);
  return firstValue(whole) === addressValue(address)
    ? whole
    : { reason: `${text} is inside ${whole}, not its first address` };
}

function boundProblems(
  range: Prefix,
  length: number,
  path: 'min' | 'max',
  found: Prefix | { readonly reason: string },
): SubnetRangeProblem[] {
  if (typeof found === 'object') return [{ path, message: found.reason }];
  if (contains(range, found)) return [];
  return [{ path, message: `${found} is not one of the /${length} subnets of ${range}` }];
}

function firstValue(prefix: Prefix): bigint {
  return addressValue(prefix.slice(0, prefix.lastIndexOf('/')) as Address);
}
