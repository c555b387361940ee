import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readManifests } from '#model/manifest.ts';
import { prefix } from '#net/prefix.ts';
import { lengthProblems, type PoolBook, readPools, selectPools, withPresentLengths } from './pool-book.ts';

const RANGES = { 4: prefix('10.0.0.0/8'), 6: prefix('fd00::/48') };
const DEFAULTS = { ranges: RANGES, blockLengths: { 4: 26, 6: 122 }, exclude: [prefix('10.0.0.1/32')] };

function bookOf(text: string): PoolBook {
  const { manifests, problems } = readManifests('pools.yaml', text);
  assert.deepEqual(problems, []);
  return readPools(manifests, DEFAULTS);
}

const CALICO = `
apiVersion: projectcalico.org/v3
kind: IPPool
metadata: { name: blue }
spec:
  cidr: 10.1.0.0/16
  blockSize: 28
  nodeSelector: rack == 'r1'
  namespaceSelector: team in { 'shop' }
  vxlanMode: Always
  natOutgoing: true
---
apiVersion: crd.projectcalico.org/v1
kind: IPPool
metadata: { name: manual }
spec: { cidr: 10.2.0.0/16, assignmentMode: Manual, allowedUses: [Workload] }
---
apiVersion: projectcalico.org/v3
kind: IPReservation
metadata: { name: printers }
spec: { reservedCIDRs: [10.1.0.0/28] }
---
apiVersion: projectcalico.org/v3
kind: IPAMConfiguration
metadata: { name: default }
spec: { strictAffinity: true, maxBlocksPerHost: 3 }
---
apiVersion: tartan.dev/v1
kind: Pool
metadata: { name: red }
spec: { prefix: 10.3.0.0/16, namespaces: "has(red)", uses: [pods], reserved: [10.3.1.0/24] }
`;

test('pools of either kind, reservations and rules', () => {
  const book = bookOf(CALICO);
  assert.deepEqual(book.problems, []);
  assert.deepEqual(
    book.pools.map(({ name, prefix, blockLength }) => `${name} ${prefix} ${blockLength}`),
    ['blue 10.1.0.0/16 28', 'manual 10.2.0.0/16 26', 'red 10.3.0.0/16 26', 'default-ipv6 fd00::/48 122'],
  );
  assert.deepEqual(book.reserved, ['10.0.0.1/32', '10.1.0.0/28', '10.3.1.0/24']);
  assert.deepEqual(book.rules, { strictAffinity: true, maxBlocksPerNode: 3 });
});

test('which pools are for whom', () => {
  const book = bookOf(CALICO);
  const names = (question: Omit<Parameters<typeof selectPools>[1], 'family'>): string =>
    selectPools(book, { family: 4, ...question })
      .pools.map(({ name }) => name)
      .join(' ');
  const node = { rack: 'r1' };
  assert.equal(names({ node, namespace: { team: 'shop' } }), 'blue');
  assert.equal(names({ node: {}, namespace: { team: 'shop' } }), '');
  assert.equal(names({ node: {}, namespace: { red: '' } }), 'red');
  assert.equal(names({ node }), 'blue', 'for the node itself, whatever namespaces');
  assert.equal(names({ node: {}, namespace: {}, named: ['manual', '10.3.0.0/16'] }), 'manual red');
  const { problems } = selectPools(book, {
    family: 4,
    node,
    namespace: {},
    named: ['green', 'default-ipv6'],
  });
  assert.deepEqual(
    problems.map(({ path }) => path),
    ['green', 'default-ipv6'],
  );
});

test('without a pool the range is one; what is wrong is told at its line and nothing is used in its place', () => {
  assert.deepEqual(
    bookOf('').pools.map(({ name }) => name),
    ['default-ipv4', 'default-ipv6'],
  );
  const pool = (name: string, spec: string): string =>
    `apiVersion: projectcalico.org/v3\nkind: IPPool\nmetadata: {name: ${name}}\nspec: ${spec}\n---\n`;
  const book = bookOf(
    pool('a', '{cidr: 10.0.0.0/16, blockSize: 32}') +
      pool('b', '{cidr: 192.168.0.0/16}') +
      pool('c', '{cidr: 10.4.0.0/16}') +
      pool('d', '{cidr: 10.4.3.0/24}') +
      pool('e', '{cidr: 10.5.0.1/16, nodeSelector: "all(", colour: red}'),
  );
  assert.deepEqual(
    book.pools.map(({ name }) => name),
    ['c'],
  );
  const told = book.problems.map(({ path, message }) => `${path} ${message}`).join('\n');
  assert.match(told, /pools.yaml:4 spec.blockSize must be 20 to 30 for 10.0.0.0\/16, not 32/);
  assert.match(told, /192.168.0.0\/16 is outside network.ipv4.range/);
  assert.match(told, /10.4.3.0\/24 overlaps pool c/);
  assert.match(told, /without host bits/);
  assert.match(told, /column/);
  assert.match(told, /colour unknown field/);
});

test('a pool whose blocks have another length goes on with that, which is told', () => {
  const { pools } = bookOf('');
  const lengthIn = ({ name }: { readonly name: string }) => (name === 'default-ipv4' ? 28 : undefined);
  assert.deepEqual(
    withPresentLengths(pools, lengthIn).map(({ blockLength }) => blockLength),
    [28, 122],
  );
  assert.deepEqual(lengthProblems(pools, lengthIn), [
    { path: 'pool default-ipv4', message: 'blocks of 10.0.0.0/8 are /28 since the first of them, not /26' },
  ]);
});
