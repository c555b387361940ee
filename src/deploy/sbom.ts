/** What a release is made of, as a bill of materials (CycloneDX 1.5, JSON): packages of npm and of Debian. */

export type Lockfile = {
  readonly packages: Readonly<
    Record<
      string,
      {
        readonly version?: string;
        readonly integrity?: string;
        readonly license?: string;
        readonly dev?: boolean;
        readonly devOptional?: boolean;
        readonly cpu?: readonly string[];
      }
    >
  >;
};

export type Component = {
  readonly type: 'library';
  readonly name: string;
  readonly version: string;
  readonly purl: string;
  readonly 'bom-ref': string;
  readonly licenses?: readonly { readonly expression: string }[];
  readonly hashes?: readonly { readonly alg: string; readonly content: string }[];
};

export type SbomOptions = {
  readonly version: string;
  /** As Debian calls it. */
  readonly architecture: string;
  readonly lockfile: Lockfile;
  /** Lines of `NAME VERSION ARCHITECTURE`, as deploy/image/build.sh writes them. */
  readonly debian: string;
  /** RFC 3339. */
  readonly timestamp: string;
};

export function renderSbom({ version, architecture, lockfile, debian, timestamp }: SbomOptions): string {
  const components = [...npmComponents(lockfile, architecture), ...debianComponents(debian)];
  const purl = `pkg:generic/tartan@${version}`;
  const tartan = { type: 'application', name: 'tartan', version, purl, 'bom-ref': purl };
  const licensed = { ...tartan, licenses: [{ license: { id: 'Apache-2.0' } }] };
  const whole = {
    bomFormat: 'CycloneDX',
    specVersion: '1.5',
    version: 1,
    metadata: { timestamp, component: licensed },
    components,
    dependencies: [{ ref: purl, dependsOn: components.map((component) => component['bom-ref']) }],
  };
  return `${JSON.stringify(whole, undefined, 2)}\n`;
}

const CPUS: Readonly<Record<string, string>> = { amd64: 'x64', arm64: 'arm64' };

/** What is shipped: neither of development nor of another processor. */
function npmComponents({ packages }: Lockfile, architecture: string): Component[] {
  const cpu = CPUS[architecture] ?? architecture;
  return Object.entries(packages).flatMap(([path, { version, dev, devOptional, cpu: cpus, ...rest }]) => {
    const at = path.lastIndexOf('node_modules/');
    const isShipped = dev !== true && devOptional !== true && (cpus === undefined || cpus.includes(cpu));
    if (at < 0 || version === undefined || !isShipped) return [];
    const name = path.slice(at + 'node_modules/'.length);
    const purl = `pkg:npm/${name.replace('@', '%40')}@${version}`;
    return [{ type: 'library', name, version, purl, 'bom-ref': purl, ...factsOf(rest) }];
  });
}

function factsOf({
  license,
  integrity,
}: {
  readonly license?: string;
  readonly integrity?: string;
}): Pick<Component, 'licenses' | 'hashes'> {
  const digest = /^sha512-(.+)$/.exec(integrity ?? '')?.[1];
  return {
    ...(license === undefined ? {} : { licenses: [{ expression: license }] }),
    ...(digest === undefined ? {} : { hashes: [{ alg: 'SHA-512', content: hexOf(digest) }] }),
  };
}

function hexOf(base64: string): string {
  return Array.from(atob(base64), (character) => character.charCodeAt(0).toString(16).padStart(2, '0')).join(
    '',
  );
}

function debianComponents(lines: string): Component[] {
  return lines
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [name = '', version = '', architecture = ''] = line.split(' ');
      const purl = `pkg:deb/debian/${name}@${encodeURIComponent(version)}?arch=${architecture}&distro=debian-12`;
      return { type: 'library', name, version, purl, 'bom-ref': purl };
    });
}
