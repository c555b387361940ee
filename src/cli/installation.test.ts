import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { mkdirSync } from 'node:fs';
import type { Settings } from '#model/settings.ts';
import { install, uninstall } from './installation.ts';

function scene(): {
  root: string;
  executable: string;
  settings: Pick<Settings, 'network' | 'paths' | 'wiring'>;
} {
  const root = mkdtempSync(join(tmpdir(), 'lb-install-'));
  const executable = join(root, 'built');
  writeFileSync(executable, 'ELF');
  const paths = {
    run: '/run/somewhere',
    state: join(root, 'state'),
    cniBin: join(root, 'bin'),
    cniConf: join(root, 'net.d'),
    etc: join(root, 'etc'),
  };
  const bridge = { name: 'cni0', hairpin: 'hairpin-veth' } as const;
  const wiring = { type: 'bridge', bridge, dropSpoofed: true } as const;
  const network = {
    name: 'blue',
    subnets: {},
    nodeSubnets: {},
    lease: { ttlSeconds: 1, renewBeforeSeconds: 1 },
  };
  return { root, executable, settings: { network, paths, wiring } };
}

test('install writes executables, sidecars and the list; uninstall removes exactly these', () => {
  const { root, executable, settings } = scene();
  mkdirSync(settings.paths.cniBin);
  writeFileSync(join(settings.paths.cniBin, 'bridge'), 'other');
  const { written } = install(settings, executable);
  assert.equal(written.at(-1), join(settings.paths.cniConf, '10-tartan.conflist'), 'the list comes last');
  assert.equal(
    readFileSync(join(settings.paths.cniBin, 'tartan-cni.socket'), 'utf8'),
    '/run/somewhere/cni.sock\n',
  );
  assert.equal(statSync(join(settings.paths.cniBin, 'tartan-cni')).mode & 0o777, 0o755);
  const list = JSON.parse(readFileSync(join(settings.paths.cniConf, '10-tartan.conflist'), 'utf8')) as {
    name: string;
    plugins: { type: string }[];
  };
  assert.equal(list.name, 'blue');
  assert.deepEqual(
    list.plugins.map((plugin) => plugin.type),
    ['tartan-cni'],
  );
  assert.deepEqual(install(settings, executable).written, written, 'a second run is the same');
  assert.deepEqual(uninstall(settings).removed.sort(), [...written].sort());
  assert.deepEqual(readdirSync(settings.paths.cniBin), ['bridge']);
  assert.deepEqual(uninstall(settings).removed, []);
  rmSync(root, { recursive: true });
});

test('programs that manage links are told which are ours, where they are', () => {
  const { root, executable, settings } = scene();
  const etc = settings.paths.etc;
  mkdirSync(join(etc, 'NetworkManager'), { recursive: true });
  const { written } = install(settings, executable);
  const file = join(etc, 'NetworkManager/conf.d/90-tartan.conf');
  assert.match(
    readFileSync(file, 'utf8'),
    /^unmanaged-devices\+=interface-name:tt\*;interface-name:ti\*;interface-name:tartan\*;interface-name:cni0$/m,
  );
  assert.deepEqual(
    written.filter((path) => path.startsWith(etc)),
    [file],
    'systemd is not there',
  );
  assert.ok(uninstall(settings).removed.includes(file));
  rmSync(root, { recursive: true });
});

test('a bridge of the profile before stays named for as long as it is there', () => {
  const { root, executable, settings } = scene();
  const etc = settings.paths.etc;
  const files = ['NetworkManager/conf.d/90-tartan.conf', 'systemd/network/00-tartan.network'];
  for (const program of ['NetworkManager', 'systemd']) mkdirSync(join(etc, program), { recursive: true });
  const routed = { ...settings, wiring: { ...settings.wiring, type: 'routed' as const } };
  const named = (): boolean[] =>
    files.map((file) => /[ ;:]cni0$/m.test(readFileSync(join(etc, file), 'utf8')));
  install(routed, executable, () => true);
  assert.deepEqual(named(), [false, false], 'a bridge of that name is somebody else’s');
  install(settings, executable, () => false);
  assert.deepEqual(named(), [true, true]);
  for (const _ of ['once', 'and again']) {
    install(routed, executable, (name) => name === 'cni0');
    assert.deepEqual(named(), [true, true]);
  }
  install(routed, executable, () => false);
  assert.deepEqual(named(), [false, false]);
  rmSync(root, { recursive: true });
});

test('a loopback plugin of somebody else is neither replaced nor removed', () => {
  const { root, executable, settings } = scene();
  const foreign = join(settings.paths.cniBin, 'loopback');
  mkdirSync(settings.paths.cniBin);
  writeFileSync(foreign, 'reference');
  assert.deepEqual(install(settings, executable).kept, [foreign]);
  assert.equal(readFileSync(foreign, 'utf8'), 'reference');
  assert.deepEqual(uninstall(settings).kept, [foreign]);
  assert.ok(existsSync(foreign));
  rmSync(root, { recursive: true });
});

test('a missing build is said with its path, and nothing is written', () => {
  const { root, settings } = scene();
  assert.throws(() => install(settings, join(root, 'nowhere')), /cannot read the CNI executable .*nowhere/);
  assert.ok(!existsSync(settings.paths.cniConf));
  rmSync(root, { recursive: true });
});
