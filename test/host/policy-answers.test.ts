/**
 * DNS answers on their way to pods, shown to who learns from them: held until that is done where the kernel can hold them,
 * copied otherwise, and passing where nobody looks.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { closeSync } from 'node:fs';
import { after, before, describe, test } from 'node:test';
import { readAnswers } from '#kernel/answers.ts';
import { inNetns, openNetns, ready } from '#kernel/netns.ts';
import type { AnswerWay } from '#kernel/nftables/policy/answers.ts';
import { openPolicy, type PolicyTable } from '#kernel/nftables/policy/policy.ts';
import type { Flow } from '#model/verdict.ts';
import { type Address, address } from '#net/address.ts';
import { makeFlow, makeWorld } from '#policy/testing/world.ts';
import { whyLacking } from '../vm/features.ts';
import { waitFor, whyNoKernel } from './namespace.ts';
import { carries, firstPacket, makeWire, type Station, stationOf, type Wire } from './policy-wire.ts';

const skip = whyNoKernel(['ip', 'sysctl', 'nft']) ?? whyLacking('packet log') ?? false;
const WAYS: readonly (readonly [AnswerWay, string | false])[] = [
  ['copy', skip],
  ['hold', skip === false ? (whyLacking('held packets') ?? false) : skip],
];

let wire: Wire;
let netns: number;
let table: PolicyTable;
const inNode = <T>(work: () => T): T => inNetns(netns, work);

before(async () => {
  if (skip !== false) return;
  await ready;
  wire = await makeWire('pan');
  netns = openNetns(wire.node.path);
  table = inNode(() => openPolicy());
});
after(() => {
  if (skip !== false) return;
  table.close();
  closeSync(netns);
  wire.remove();
});

const world = makeWorld({ pods: ['shop/a', 'shop/b', 'shop/c'].map((name) => ({ name, node: 'a' })) });
let port = 20_000;

/** A question that nobody has asked before. */
function question(from: string, to: string, family: 4 | 6): Flow {
  port += 1;
  return { ...makeFlow(world, [from, to], 'udp/53', family), sourcePort: port };
}

const answerTo = (asked: Flow): Flow => ({
  protocol: asked.protocol,
  source: asked.destination,
  destination: asked.source,
  sourcePort: asked.destinationPort ?? 0,
  destinationPort: asked.sourcePort ?? 0,
});

const station = (of: Address): Station => {
  const found = stationOf(wire, of);
  assert.ok(found !== 'node');
  return found;
};

/** Sends it, and waits until it has come. */
async function pass(flow: Flow, meanwhile: (arrived: () => boolean) => void = () => {}): Promise<Buffer> {
  const token = randomBytes(8);
  let isThere = false;
  const arrived = (): boolean => {
    isThere ||= station(flow.destination)
      .take()
      .some((packet) => carries(packet, token));
    return isThere;
  };
  meanwhile(arrived);
  station(flow.source).send(firstPacket(flow, token));
  await waitFor(`${flow.source}:${flow.sourcePort} at ${flow.destination}`, arrived);
  return token;
}

type Shown = { readonly messages: Buffer[]; onMessage: (message: Buffer) => void };

function listen(way: AnswerWay): Shown & Disposable {
  const shown: Shown = { messages: [], onMessage: () => {} };
  const reader = readAnswers(inNode, {
    way,
    onMessage: (message) => {
      shown.messages.push(Buffer.from(message));
      shown.onMessage(message);
    },
    onEnd: () => assert.fail('the reader has ended'),
  });
  return Object.assign(shown, { [Symbol.dispose]: () => reader[Symbol.dispose]() });
}

for (const [way, lacking] of WAYS) {
  describe(way, () => {
    before(() => {
      if (lacking !== false) return;
      const [pods, servers] = [1, 2].map((n) => [address(`10.244.0.${n}`), address(`fd00::${n}`)]);
      table.showAnswers({ way, pods: pods ?? [], servers: servers ?? [] });
    });

    for (const family of [4, 6] as const) {
      test(`an answer is shown with all it says, and goes on; IPv${family}`, { skip: lacking }, async () => {
        using shown = listen(way);
        const asked = question('shop/a', 'shop/b', family);
        await pass(asked);
        let cameBefore: boolean | undefined;
        const token = await pass(answerTo(asked), (arrived) => {
          shown.onMessage = () => (cameBefore ??= arrived());
        });
        await waitFor('the message', () => shown.messages.length > 0);
        assert.deepEqual(shown.messages, [token]);
        if (way === 'hold') assert.equal(cameBefore, false, 'it has waited');
      });

      test(
        `for others, from others, and what nobody asked for: not shown; IPv${family}`,
        { skip: lacking },
        async () => {
          using shown = listen(way);
          for (const [from, to] of [
            ['shop/c', 'shop/b'],
            ['shop/a', 'shop/c'],
          ] as const) {
            const asked = question(from, to, family);
            await pass(asked);
            await pass(answerTo(asked));
          }
          await pass(answerTo(question('shop/a', 'shop/b', family)));
          const asked = question('shop/a', 'shop/b', family);
          await pass(asked);
          const last = await pass(answerTo(asked));
          await waitFor('the last', () => shown.messages.length > 0);
          assert.deepEqual(shown.messages, [last]);
        },
      );
    }

    test('nobody looks: answers pass', { skip: lacking }, async () => {
      for (const family of [4, 6] as const) {
        const asked = question('shop/a', 'shop/b', family);
        await pass(asked);
        await pass(answerTo(asked));
      }
    });

    test('the table goes with that of policies', { skip: lacking }, async () => {
      assert.match(await wire.node.must(['nft', 'list', 'tables']), /tartan-policy-answers/);
      await wire.node.must(['nft', 'list', 'ruleset']);
      table.removePolicy();
      assert.doesNotMatch(await wire.node.must(['nft', 'list', 'tables']), /tartan/);
    });
  });
}
