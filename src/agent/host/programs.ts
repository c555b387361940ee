/**
 * Other programs on the host that handle links and packets: which are active, what they hold of ours, and what legacy
 * iptables does. Read from their own state and configuration files; what cannot be read is not told.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import type { HostFacts, LegacyChain } from '#model/facts.ts';
import type { UnderlayLink } from '#model/underlay.ts';
import type { Family } from '#net/address.ts';

type Programs = Pick<HostFacts, 'services' | 'networkd' | 'networkManager' | 'legacyChains'>;

const NETWORKD_STATE = '/run/systemd/netif';
const NETWORK_MANAGER_STATE = '/run/NetworkManager/devices';

/** `links`: ours and the one between nodes. */
export function lookAtPrograms(settings: HostFacts['settings'], links: readonly UnderlayLink[]): Programs {
  const managedBy = (state: string, mark: RegExp): string[] =>
    links.filter(({ index }) => mark.test(readText(`${state}/${index}`) ?? '')).map(({ name }) => name);
  return {
    services: activeServices(),
    ...(existsSync(`${NETWORKD_STATE}/state`)
      ? {
          networkd: {
            manageForeignRoutes: managesForeignRoutes(),
            // networkd calls these files private; sd-network(3), which reads them, is a C library only.
            managed: managedBy(`${NETWORKD_STATE}/links`, /^ADMIN_STATE=(?!unmanaged)/m),
          },
        }
      : {}),
    ...(existsSync(NETWORK_MANAGER_STATE)
      ? { networkManager: { managed: managedBy(NETWORK_MANAGER_STATE, /^managed=true/m) } }
      : {}),
    legacyChains: readLegacyChains(settings),
  };
}

/** By what they leave while they are active; ufw has no process, only a setting. */
function activeServices(): string[] {
  const marks: Record<string, boolean> = {
    docker: existsSync('/run/docker.pid'),
    firewalld: existsSync('/run/firewalld.pid'),
    ufw: /^ENABLED=yes/m.test(readText('/etc/ufw/ufw.conf') ?? ''),
    'systemd-networkd': existsSync(`${NETWORKD_STATE}/state`),
    NetworkManager: existsSync(NETWORK_MANAGER_STATE),
  };
  return Object.keys(marks).filter((name) => marks[name]);
}

/** networkd.conf(5): drop-ins of all directories by file name, the last word counts; it is yes when nobody says. */
function managesForeignRoutes(): boolean {
  const directories = ['/usr/lib', '/usr/local/lib', '/run', '/etc'].map((root) => `${root}/systemd`);
  const dropIns = new Map<string, string>();
  for (const directory of directories)
    for (const name of listFiles(`${directory}/networkd.conf.d`))
      if (name.endsWith('.conf')) dropIns.set(name, `${directory}/networkd.conf.d/${name}`);
  const inOrder = [...dropIns].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, path]) => path);
  const words = ['/etc/systemd/networkd.conf', ...inOrder].flatMap((path) =>
    [...(readText(path) ?? '').matchAll(/^\s*ManageForeignRoutes\s*=\s*(\S+)/gm)].map(([, word]) => word),
  );
  return !/^(?:no|false|off|0|n|f)$/i.test(words.at(-1) ?? 'yes');
}

/** The legacy modules of a family are in use once one of their tables exists in this network namespace. */
function readLegacyChains(settings: HostFacts['settings']): LegacyChain[] {
  return ([4, 6] as const).flatMap((family): LegacyChain[] => {
    const names = readText(`/proc/thread-self/net/${family === 4 ? 'ip' : 'ip6'}_tables_names`) ?? '';
    if (!names.split('\n').includes('filter')) return [];
    const program = family === 4 ? 'iptables-legacy-save' : 'ip6tables-legacy-save';
    const { status, stdout } = spawnSync(program, ['-t', 'filter'], { encoding: 'utf8', timeout: 5000 });
    return status === 0
      ? parseLegacy(stdout, family, settings)
      : (['INPUT', 'FORWARD'] as const).map((chain) => ({ family, chain }));
  });
}

/** An accept counts in whatever chain it stands: front ends make chains of their own. */
export function parseLegacy(
  listing: string,
  family: Family,
  { ranges, roads }: Pick<HostFacts['settings'], 'ranges' | 'roads'>,
): LegacyChain[] {
  const range = ranges[family];
  const accepts = listing.split('\n').filter((line) => line.endsWith('-j ACCEPT'));
  const has = (words: string): boolean => accepts.some((line) => `${line} `.includes(` ${words} `));
  const accepted = {
    INPUT: roads.every(({ port, protocols }) =>
      port === undefined
        ? protocols.every((number) => namesOf(number).some((name) => has(`-p ${name}`)))
        : has(`--dport ${port}`),
    ),
    FORWARD: range !== undefined && has(`-s ${range}`) && has(`-d ${range}`),
  };
  return [...listing.matchAll(/^:(INPUT|FORWARD) (ACCEPT|DROP)/gm)].map(([, chain, policy]): LegacyChain => {
    const name = chain as LegacyChain['chain'];
    return {
      family,
      chain: name,
      policy: policy === 'DROP' ? 'drop' : 'accept',
      accepts: accepted[name],
    };
  });
}

/** iptables-save(8) writes a protocol by the name that /etc/protocols has, if it has one. */
function namesOf(protocol: number): string[] {
  const line = new RegExp(`^(\\S+)\\s+${protocol}\\s`, 'm').exec(readText('/etc/protocols') ?? '');
  return [String(protocol), ...(line?.[1] === undefined ? [] : [line[1]])];
}

function listFiles(directory: string): string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}
