import assert from 'node:assert/strict';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { ADDRESSES } from '../conformance/addresses.ts';
import { ATTACHMENT } from '../conformance/attachment.ts';
import { SHAPING } from '../conformance/bandwidth.ts';
import { BRIDGE } from '../conformance/bridge.ts';
import { CHAIN } from '../conformance/chain.ts';
import { DELEGATION } from '../conformance/delegation.ts';
import { DIFFERENCES } from '../conformance/differences.ts';
import { HOST_PORT } from '../conformance/host-port.ts';
import { PROTOCOL } from '../conformance/protocol.ts';

const cases = globSync('test/conformance/*.ts')
  .filter((file) => !file.endsWith('differences.ts'))
  .map((file) => readFileSync(file, 'utf8'))
  .join('\n');

test('every line of the table is a difference, and a case asserts it on both sides', () => {
  assert.ok(Object.keys(DIFFERENCES).length > 10);
  for (const [name, { reference, ours, why }] of Object.entries(DIFFERENCES)) {
    assert.notEqual(reference, ours, name);
    assert.ok(why.length > 20, name);
    assert.match(cases, new RegExp(`expected\\(subject, '${name}'\\)`), `no case asks for ${name}`);
  }
});

/** Suites by the word that docs/conformance.md has for them. */
const SUITES = {
  protocol: PROTOCOL,
  attachment: ATTACHMENT,
  bridge: BRIDGE,
  delegation: DELEGATION,
  addresses: ADDRESSES,
  'host-port': HOST_PORT,
  bandwidth: SHAPING,
  chain: CHAIN,
};

type Row = { readonly ids: string[]; readonly shown: string; readonly differs: string };

function rowsOf(page: string): Row[] {
  return page
    .split('\n')
    .filter((line) => line.startsWith('| ') && !line.startsWith('| row'))
    .map((line) => {
      const [ids = '', , shown = '', differs = ''] = line.slice(2).split(' | ');
      return { ids: ids.split(', '), shown, differs };
    });
}

test('docs/conformance.md names every case and every difference, and nothing that is not there', () => {
  const page = readFileSync('docs/conformance.md', 'utf8');
  const rows = rowsOf(page);
  assert.ok(rows.length > 40);
  for (const [suite, ofSuite] of Object.entries(SUITES)) {
    for (const id of ofSuite.flatMap((one) => one.id.split('/'))) {
      const named = rows.some((row) => row.ids.includes(id) && row.shown.includes(suite));
      assert.ok(named, `${suite} ${id} is in no row`);
    }
  }
  for (const { ids, shown } of rows) {
    const suites = Object.keys(SUITES).filter((suite) => new RegExp(`(^|[ ,;])${suite}\\b`).test(shown));
    const files = [...shown.matchAll(/`([^`]+\.ts)`/g)].map(([, file = '']) => file);
    for (const file of files) assert.ok(existsSync(file), file);
    assert.ok(suites.length + files.length > 0, `${ids.join(', ')}: shown by nothing`);
  }
  const named = new Set([...page.matchAll(/`([a-z][a-z0-9.-]*)`/g)].map(([, name]) => name));
  for (const name of Object.keys(DIFFERENCES)) assert.ok(named.has(name), `${name} is not on the page`);
});
