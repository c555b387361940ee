/** What machine and kernel this is, as far as files tell it; for `tartan choose`, which need not ask then. */
import { existsSync, readFileSync } from 'node:fs';
import { release } from 'node:os';
import { gunzipSync } from 'node:zlib';
import type { HostFacts } from '#model/facts.ts';

/** Modules that one provider or another cannot do without, and what builds them (Kconfig). */
const MODULES: Readonly<Record<string, string>> = {
  veth: 'VETH',
  bridge: 'BRIDGE',
  br_netfilter: 'BRIDGE_NETFILTER',
  nf_tables: 'NF_TABLES',
  ip_set: 'IP_SET',
  ip_vs: 'IP_VS',
  vxlan: 'VXLAN',
  geneve: 'GENEVE',
  ipip: 'NET_IPIP',
  ip_gre: 'NET_IPGRE',
  wireguard: 'WIREGUARD',
  openvswitch: 'OPENVSWITCH',
  sch_ingress: 'NET_SCH_INGRESS',
  cls_bpf: 'NET_CLS_BPF',
  af_key: 'NET_KEY',
};

export function lookAtMachine(): Pick<HostFacts, 'machine' | 'lacking'> {
  const [vendor, product] = ['sys_vendor', 'product_name'].map((name) =>
    readText(`/sys/class/dmi/id/${name}`),
  );
  const has = kernelHas();
  return {
    ...(vendor === undefined ? {} : { machine: { vendor, product: product ?? '' } }),
    ...(has === undefined ? {} : { lacking: Object.keys(MODULES).filter((name) => !has(name)) }),
  };
}

/** By the lists of its modules, else by its own configuration; undefined where it tells neither. */
function kernelHas(): ((module: string) => boolean) | undefined {
  const directory = `/lib/modules/${release()}`;
  const lists = ['modules.builtin', 'modules.dep'].map((name) => readText(`${directory}/${name}`));
  const isLoaded = (module: string): boolean => existsSync(`/sys/module/${module}`);
  if (lists.every((list) => list !== undefined)) {
    const names = new Set(
      lists.flatMap((list) =>
        [...list.matchAll(/([^/\s]+)\.ko/g)].map(([, name = '']) => name.replaceAll('-', '_')),
      ),
    );
    return (module) => names.has(module) || isLoaded(module);
  }
  const config = readConfig();
  if (config === undefined) return undefined;
  return (module) => new RegExp(`^CONFIG_${MODULES[module]}=[ym]$`, 'm').test(config) || isLoaded(module);
}

function readConfig(): string | undefined {
  try {
    return gunzipSync(readFileSync('/proc/config.gz')).toString('utf8');
  } catch {
    return readText(`/boot/config-${release()}`);
  }
}

function readText(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}
