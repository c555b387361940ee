/** flannel's rules among others' in what `iptables-save` prints, and what takes them away again. */

/** Chains of flannel (pkg/trafficmngr/iptables), by table. */
const CHAINS = { nat: ['FLANNEL-POSTRTG'], filter: ['FLANNEL-FWD'] } as const;

/** What `iptables-restore --noflush` needs to remove them; undefined: there are none. */
export function removalOf(saved: string): string | undefined {
  const tables = Object.entries(CHAINS).flatMap(([table, chains]) => {
    const lines = linesOf(saved, table);
    const there = chains.filter((chain) => lines.some((line) => line.startsWith(`:${chain} `)));
    if (there.length === 0) return [];
    const jumps = lines.filter((line) =>
      there.some((chain) => line.startsWith('-A ') && line.endsWith(` -j ${chain}`)),
    );
    return [
      `*${table}`,
      ...jumps.map((line) => line.replace(/^-A /, '-D ')),
      ...there.flatMap((chain) => [`-F ${chain}`, `-X ${chain}`]),
      'COMMIT',
    ];
  });
  return tables.length === 0 ? undefined : `${tables.join('\n')}\n`;
}

/** Containers whose host ports are rules of the plugin portmap, which the new configuration does not call. */
export function portmapContainers(saved: string): string[] {
  const ids = linesOf(saved, 'nat').flatMap((line) => {
    const found = line.startsWith('-A CNI-HOSTPORT-DNAT ') ? / id: \\?"([^"\\]+)\\?"/.exec(line) : null;
    return found?.[1] ?? [];
  });
  return [...new Set(ids)];
}

function linesOf(saved: string, table: string): string[] {
  const lines = saved.split('\n').map((line) => line.trim());
  const from = lines.indexOf(`*${table}`);
  return from < 0 ? [] : lines.slice(from + 1, lines.indexOf('COMMIT', from));
}
