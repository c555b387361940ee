/** AWS instance types: how many network interfaces, and addresses on each (facts/aws-instances.txt tells its source). */

export type InstanceLimits = {
  readonly type: string;
  /** Of the default network card. */
  readonly interfaces: number;
  /** IPv4 addresses per interface, its own among them. */
  readonly addresses: number;
  /** Prefixes (/28) in place of addresses need nitro or bare metal. */
  readonly prefixes: boolean;
};
export type InstanceTable = ReadonlyMap<string, InstanceLimits>;

/** Lines `interfaces addresses kind family:size,size …`; those that begin with # are comments. */
export function parseInstances(text: string): InstanceTable {
  const lines = text.split('\n').filter((line) => line !== '' && !line.startsWith('#'));
  return new Map(lines.flatMap(parseLine).map((limits) => [limits.type, limits]));
}

function parseLine(line: string): InstanceLimits[] {
  const [interfaces, addresses, kind, ...families] = line.split(' ');
  const limits = {
    interfaces: Number(interfaces),
    addresses: Number(addresses),
    prefixes: kind === 'nitro' || kind === 'metal',
  };
  return families.flatMap((group) => {
    const [family = '', sizes = ''] = group.split(':');
    return sizes.split(',').map((size) => ({ type: `${family}.${size}`, ...limits }));
  });
}
