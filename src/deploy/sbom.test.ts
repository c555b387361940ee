import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import { renderSbom } from './sbom.ts';

const integrity = `sha512-${hash('sha512', 'x', 'base64')}`;
const lockfile = {
  packages: {
    '': { version: '1.0.0' },
    'node_modules/zod': { version: '4.0.0', license: 'MIT', integrity },
    'node_modules/@koromix/koffi-linux-x64': { version: '3.0.0', cpu: ['x64'] },
    'node_modules/@koromix/koffi-linux-arm64': { version: '3.0.0', cpu: ['arm64'] },
    'node_modules/typescript': { version: '7.0.0', dev: true },
    'node_modules/pino/node_modules/inner': { version: '2.0.0' },
  },
};

test('what is shipped is named once, and nothing else', () => {
  const debian = 'libc6 2.36-9+deb12u14 arm64\n';
  const options = { version: '1.2.3', lockfile, debian, timestamp: '2026-01-02T03:04:05Z' };
  const text = renderSbom({ ...options, architecture: 'arm64' });
  type Read = { components: { purl: string; hashes?: { content: string }[]; licenses?: unknown }[] };
  const { components } = JSON.parse(text) as Read;
  assert.deepEqual(
    components.map(({ purl }) => purl),
    [
      'pkg:npm/zod@4.0.0',
      'pkg:npm/%40koromix/koffi-linux-arm64@3.0.0',
      'pkg:npm/inner@2.0.0',
      'pkg:deb/debian/libc6@2.36-9%2Bdeb12u14?arch=arm64&distro=debian-12',
    ],
  );
  assert.equal(components[0]?.hashes?.[0]?.content, hash('sha512', 'x'));
  assert.deepEqual(components[0]?.licenses, [{ expression: 'MIT' }]);
  assert.equal(renderSbom({ ...options, architecture: 'arm64' }), text);
});
