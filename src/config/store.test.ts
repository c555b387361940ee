import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Fault } from '#model/fault.ts';
import { parseSettings } from './parse.ts';

const HEAD = `apiVersion: tartan.dev/v1
kind: Settings
profile: none
node: { name: a }
network: { ipv4: { range: 10.0.0.0/16 } }
`;

function parse(store: string): ReturnType<typeof parseSettings> {
  return parseSettings([{ origin: 'file', text: HEAD + store }], { none: '' });
}

function problems(store: string): string[] {
  try {
    parse(store);
    return [];
  } catch (error) {
    assert.ok(error instanceof Fault);
    return error.problems.map(({ path, message }) => `${path}: ${message}`);
  }
}

test('etcd: what is not said has a default, and a directory needs none of it', () => {
  const { settings, warnings } = parse('store: { type: etcd }\n');
  assert.deepEqual(warnings, []);
  assert.deepEqual(settings.store.type === 'etcd' && settings.store.etcd, {
    endpoints: ['http://127.0.0.1:2379'],
    prefix: '/tartan',
    requestTimeoutSeconds: 5,
  });
  assert.equal(parse('').settings.store.type, 'directory');
});

test('etcd: everything that is wrong is told at its line', () => {
  assert.deepEqual(
    problems(`store:
  type: etcd
  etcd:
    endpoints: [ftp://a:1, 'https://user:word@host:2379', 'https://[fd00::1]:2379', unix:///run/e.sock]
    prefix: tartan/
    requestTimeoutSeconds: 0
    password: secret
`).map((line) => line.replace(/: must be.*/, '')),
    [
      'file:9 store.etcd.endpoints.0',
      'file:9 store.etcd.endpoints.1',
      'file:10 store.etcd.prefix',
      'file:11 store.etcd.requestTimeoutSeconds',
      'file:12 store.etcd.password: unknown setting; did you mean passwordFile?',
    ],
  );
  assert.deepEqual(problems('store: { type: etcd, etcd: { endpoints: [] } }\n').length, 1);
  assert.deepEqual(
    problems('store: { type: etcd, etcd: { user: a, keyFile: /k, endpoints: [https://a:1] } }\n').map(
      (line) => line.replace('file:6 ', ''),
    ),
    [
      'store.etcd.passwordFile: is missing: store.etcd.user needs it',
      'store.etcd.certFile: is missing: store.etcd.keyFile needs it',
    ],
  );
});

test('etcd: secrets on a plain connection are warned of', () => {
  const secret = 'user: a, passwordFile: /p';
  const warned = (endpoint: string): number =>
    parse(`store: { type: etcd, etcd: { ${secret}, endpoints: ['${endpoint}'] } }\n`).warnings.length;
  assert.equal(warned('http://a:1'), 1);
  assert.equal(warned('https://a:1'), 0);
  assert.equal(warned('unix:///run/e.sock'), 0);
});
