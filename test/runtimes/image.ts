/**
 * A container image without a registry: an OCI image layout (image-spec 1.0) in one tar, holding Debian's static
 * busybox and a link for each of its applets. `ctr image import` and `podman load` read it.
 */
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';

const BLOCK = 512;
const BUSYBOX = '/usr/bin/busybox';
export const IMAGE = 'tartan.test/busybox:1';

export type Entry =
  | { readonly name: string; readonly kind: 'file'; readonly data: Buffer; readonly mode?: number }
  | { readonly name: string; readonly kind: 'directory' }
  | { readonly name: string; readonly kind: 'link'; readonly target: string };

const TYPE = { file: '0', link: '2', directory: '5' } as const;
const octal = (value: number, digits: number): string => `${value.toString(8).padStart(digits, '0')}\0`;

/** A ustar header (POSIX 1003.1): all numbers octal, the checksum counted with its own field blank. */
function encodeHeader(entry: Entry): Buffer {
  const header = Buffer.alloc(BLOCK);
  const size = entry.kind === 'file' ? entry.data.length : 0;
  const mode = entry.kind === 'file' ? (entry.mode ?? 0o644) : 0o755;
  header.write(entry.name, 0);
  header.write(octal(mode, 7), 100);
  header.write(octal(0, 7), 108);
  header.write(octal(0, 7), 116);
  header.write(octal(size, 11), 124);
  header.write(octal(0, 11), 136);
  header.write(' '.repeat(8), 148);
  header.write(TYPE[entry.kind], 156);
  if (entry.kind === 'link') header.write(entry.target, 157);
  header.write('ustar\x0000', 257);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${octal(sum, 6)} `, 148);
  return header;
}

export function encodeTar(entries: readonly Entry[]): Buffer {
  const parts = entries.flatMap((entry) => {
    const data = entry.kind === 'file' ? entry.data : Buffer.alloc(0);
    return [encodeHeader(entry), data, Buffer.alloc((BLOCK - (data.length % BLOCK)) % BLOCK)];
  });
  return Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]);
}

const digestOf = (data: Buffer): string => createHash('sha256').update(data).digest('hex');
const json = (value: unknown): Buffer => Buffer.from(JSON.stringify(value));
const describe = (mediaType: string, data: Buffer) => ({
  mediaType: `application/vnd.oci.image.${mediaType}`,
  digest: `sha256:${digestOf(data)}`,
  size: data.length,
});

function makeLayer(more: readonly Entry[] = []): Buffer {
  const applets = execFileSync(BUSYBOX, ['--list'], { encoding: 'utf8' }).trim().split('\n');
  const directories = ['bin/', 'etc/', 'tmp/', 'proc/', 'sys/', 'dev/', 'root/', 'var/', 'run/'];
  return encodeTar([
    ...directories.map((name) => ({ name, kind: 'directory' }) as const),
    { name: 'bin/busybox', kind: 'file', data: readFileSync(BUSYBOX), mode: 0o755 },
    ...applets
      .filter((name) => name !== 'busybox')
      .map((name) => ({ name: `bin/${name}`, kind: 'link', target: 'busybox' }) as const),
    { name: 'etc/passwd', kind: 'file', data: Buffer.from('root:x:0:0:root:/root:/bin/sh\n') },
    { name: 'etc/group', kind: 'file', data: Buffer.from('root:x:0:\n') },
    ...more,
  ]);
}

/** The image's files alone, as `docker import` reads them (Docker before 25 loads no OCI layout). */
export function writeRootfs(file: string): void {
  writeFileSync(file, makeLayer());
}

/** Writes the image to `file`, with more in it where a test needs that. */
export function writeImage(file: string, name = IMAGE, more: readonly Entry[] = []): void {
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const layer = makeLayer(more);
  const config = json({
    architecture,
    os: 'linux',
    config: { Env: ['PATH=/bin'], Cmd: ['/bin/sleep', '1000000'] },
    rootfs: { type: 'layers', diff_ids: [`sha256:${digestOf(layer)}`] },
    history: [],
  });
  const manifest = json({
    schemaVersion: 2,
    mediaType: 'application/vnd.oci.image.manifest.v1+json',
    config: describe('config.v1+json', config),
    layers: [describe('layer.v1.tar', layer)],
  });
  const annotations = { 'io.containerd.image.name': name, 'org.opencontainers.image.ref.name': name };
  const platform = { os: 'linux', architecture };
  const index = json({
    schemaVersion: 2,
    manifests: [{ ...describe('manifest.v1+json', manifest), annotations, platform }],
  });
  const blob = (data: Buffer): Entry => ({ name: `blobs/sha256/${digestOf(data)}`, kind: 'file', data });
  writeFileSync(
    file,
    encodeTar([
      { name: 'blobs/', kind: 'directory' },
      { name: 'blobs/sha256/', kind: 'directory' },
      blob(layer),
      blob(config),
      blob(manifest),
      { name: 'index.json', kind: 'file', data: index },
      { name: 'oci-layout', kind: 'file', data: json({ imageLayoutVersion: '1.0.0' }) },
    ]),
  );
}
