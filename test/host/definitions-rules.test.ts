/**
 * The definitions that `tartan install` prints, at a server that evaluates their rules (CEL), as every Kubernetes from 1.25 on does:
 * each definition is taken, and each rule takes what is right and refuses what is not, in its own words.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { customResourceDefinitions } from '../../src/deploy/crds.ts';
import { type ApiServer, noApiServer, startApiServer } from '../kubernetes/api-server.ts';
import {
  DEFINITIONS,
  type DefinitionsServer,
  noDefinitionsServer,
  startDefinitionsServer,
} from '../kubernetes/definitions-server.ts';
import { waitFor } from './namespace.ts';

type Case = {
  readonly plural: string;
  readonly kind: string;
  readonly good: readonly (readonly [name: string, spec: object])[];
  readonly bad: readonly (readonly [name: string, spec: object])[];
};

const claim = (subnet: string): object => ({ node: 'a', subnet, reserved: false });
/** By the rule's message. */
const CASES: Readonly<Record<string, Case>> = {
  'the name must be the subnet with / written as -': {
    plural: 'subnetclaims',
    kind: 'SubnetClaim',
    good: [
      ['10.244.7.0-24', claim('10.244.7.0/24')],
      ['x--fd00-3a-3a-2d64', claim('fd00::/64')],
    ],
    bad: [['mine', claim('10.244.7.0/24')]],
  },
  'spec.blockLength must not be less than the length of the prefix': {
    plural: 'pools',
    kind: 'Pool',
    good: [
      ['none', { prefix: '10.1.0.0/16' }],
      ['same', { prefix: '10.2.0.0/24', blockLength: 24 }],
    ],
    bad: [['short', { prefix: '10.3.0.0/24', blockLength: 23 }]],
  },
  'spec.blockLength must be at most 30 for IPv4': {
    plural: 'pools',
    kind: 'Pool',
    good: [
      ['small', { prefix: '10.4.0.0/24', blockLength: 30 }],
      ['large', { prefix: 'fd00:1::/64', blockLength: 122 }],
    ],
    bad: [['tiny', { prefix: '10.5.0.0/24', blockLength: 31 }]],
  },
};

const skip = noApiServer ?? noDefinitionsServer ?? false;

describe('definitions at a server that evaluates their rules', { skip }, () => {
  let beside: ApiServer;
  let server: DefinitionsServer;
  const definitions = customResourceDefinitions({ version: '1.2.3' });
  before(async () => {
    beside = await startApiServer();
    server = await startDefinitionsServer(beside);
  });
  after(async () => {
    await server?.[Symbol.asyncDispose]();
    await beside?.[Symbol.asyncDispose]();
  });

  test('each is taken, and nothing is wrong with its schema', async () => {
    for (const body of definitions) {
      const { status, body: said } = await server.ask(DEFINITIONS, { method: 'POST', body });
      assert.equal(status, 201, `${body.metadata.name}: ${JSON.stringify(said['message'])}`);
    }
    for (const { metadata } of definitions) {
      const conditions = await waitFor(`${metadata.name} to be served`, async () => {
        const { body } = await server.ask(`${DEFINITIONS}/${metadata.name}`);
        const { conditions } = (body['status'] ?? {}) as {
          conditions?: readonly { readonly type: string; readonly status: string }[] | null;
        };
        const all = conditions ?? [];
        return all.some(({ type, status }) => type === 'Established' && status === 'True') && all;
      });
      assert.deepEqual(
        conditions
          .filter(({ status }) => status === 'True')
          .map(({ type }) => type)
          .toSorted(),
        ['Established', 'NamesAccepted'],
      );
    }
  });

  test('every rule has a case, and its schema stands as it was written', async () => {
    const messages = [
      ...JSON.stringify(definitions).matchAll(/"rule":"(?:[^"\\]|\\.)*","message":"([^"]*)"/g),
    ];
    assert.deepEqual(new Set(messages.map(([, message]) => message)), new Set(Object.keys(CASES)));
    const { body } = await server.ask(`${DEFINITIONS}/pools.tartan.dev`);
    assert.equal(JSON.stringify(body).match(/x-kubernetes-validations/g)?.length, 1, 'nothing was pruned');
  });

  for (const [message, { plural, kind, good, bad }] of Object.entries(CASES))
    test(message, async () => {
      const path = `/apis/tartan.dev/v1/${plural}`;
      const write = ([name, spec]: readonly [string, object]) =>
        server.ask(path, {
          method: 'POST',
          body: { apiVersion: 'tartan.dev/v1', kind, metadata: { name }, spec },
        });
      for (const each of good) {
        const { status, body } = await write(each);
        assert.equal(status, 201, JSON.stringify(body['message']));
      }
      for (const each of bad) {
        const { status, body } = await write(each);
        assert.equal(status, 422, JSON.stringify(body));
        assert.ok(String(body['message']).includes(message), String(body['message']));
      }
    });
});
