import assert from 'node:assert/strict';
import { test } from 'node:test';
import { renderConflist } from '#cni/conflist.ts';
import { type ConfigList, executionConfig } from './runtime.ts';

test('a plugin gets the name, the highest version, only declared capabilities, and the result before it', () => {
  const list: ConfigList = {
    name: 'blue',
    cniVersion: '0.4.0',
    cniVersions: ['1.0.0', '9.9.9'],
    plugins: [{ type: 'a', capabilities: { portMappings: true, dns: false } }],
  };
  const plugin = { ...list.plugins[0], type: 'a', color: 'red' };
  const runtimeConfig = { portMappings: [1], dns: {}, mac: 'x' };
  assert.deepEqual(executionConfig({ list, plugin, prevResult: { ips: [] } }, { runtimeConfig }), {
    type: 'a',
    color: 'red',
    name: 'blue',
    cniVersion: '1.0.0',
    runtimeConfig: { portMappings: [1] },
    prevResult: { ips: [] },
  });
});

test('our own list is run with the newest version, and has no runtimeConfig when nothing is asked', () => {
  const list = JSON.parse(renderConflist({ network: { name: 'blue' } })) as ConfigList;
  const [plugin] = list.plugins;
  assert.ok(plugin !== undefined);
  assert.deepEqual(executionConfig({ list, plugin, prevResult: undefined }, { runtimeConfig: {} }), {
    type: 'tartan-cni',
    name: 'blue',
    cniVersion: '1.1.0',
  });
});
