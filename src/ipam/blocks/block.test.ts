import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Block } from '#model/block.ts';
import { address } from '#net/address.ts';
import { prefix } from '#net/prefix.ts';
import {
  adopt,
  addressAt,
  blockProblem,
  dropNode,
  freeOf,
  giveBack,
  heldBy,
  holderOf,
  lastNumber,
  newBlock,
  take,
} from './block.ts';
import { formatNumbers, parseNumbers } from './numbers.ts';

test('lists of numbers keep their order and are written short', () => {
  assert.equal(formatNumbers([17, 18, 19, 3, 5, 6]), '17-19,3,5-6');
  assert.deepEqual(parseNumbers('17-19,3,5-6', 63), [17, 18, 19, 3, 5, 6]);
  assert.deepEqual(parseNumbers('', 63), []);
  for (const wrong of ['0', '64', '5-4', '1,1', '1-3,2', 'a', '1,', '-1', '1 2'])
    assert.equal(parseNumbers(wrong, 63), undefined, wrong);
});

test('any list is read as it was written', () => {
  fc.assert(
    fc.property(fc.uniqueArray(fc.integer({ min: 1, max: 63 })), (numbers) => {
      assert.deepEqual(parseNumbers(formatNumbers(numbers), 63), numbers);
    }),
  );
});

test('a block: what was given back is taken last, the first address is its node’s', () => {
  const whole = prefix('10.0.0.64/29');
  let block = take(newBlock(whole, { node: 'a', term: 1 }), { node: 'a', term: 1 }, [1, 2, 3]);
  block = giveBack(block, 'a', [2]) as Block;
  assert.deepEqual(block, {
    prefix: whole,
    node: 'a',
    free: '4-7,2',
    holders: { a: { numbers: '1,3', term: 1 } },
  });
  assert.equal(holderOf(block, address('10.0.0.64')), 'a');
  assert.equal(holderOf(block, address('10.0.0.66')), undefined);
  block = take(block, { node: 'b', term: 5 }, [4]);
  const orphan = dropNode(block, 'a') as Block;
  assert.deepEqual(orphan, { prefix: whole, free: '5-7,2,1,3', holders: { b: { numbers: '4', term: 5 } } });
  assert.equal(holderOf(orphan, address('10.0.0.64')), undefined);
  assert.equal(giveBack(orphan, 'b', [4]), undefined, 'nobody needs it');
  assert.equal(
    giveBack(newBlock(whole, { node: 'a', term: 1 }), 'a', [])?.node,
    'a',
    'empty, but somebody’s',
  );
  assert.equal(adopt(orphan, { node: 'b', term: 6 }).holders['b']?.term, 6);
});

test('what is wrong with a block as it was read', () => {
  const good = newBlock(prefix('10.0.0.0/29'), { node: 'a', term: 1 });
  const name = '10.0.0.0-29';
  assert.equal(blockProblem(name, good), undefined);
  assert.match(blockProblem('10.0.0.8-29', good) ?? '', /not its name/);
  assert.match(blockProblem(name, { ...good, free: '1-6' }) ?? '', /in no list/);
  assert.match(blockProblem(name, { ...good, free: '1-8' }) ?? '', /not like/);
  assert.match(blockProblem(name, { ...good, holders: { a: { numbers: '3', term: 1 } } }) ?? '', /two lists/);
  assert.match(blockProblem(name, { ...good, holders: undefined }) ?? '', /missing/);
  assert.match(blockProblem('10.0.0.0-31', { ...good, prefix: '10.0.0.0/31' }) ?? '', /\/20 to \/30/);
});

/** The slow model: one word for each address, and the order in which free ones are taken. */
class Plain {
  node: string | undefined;
  readonly held = new Map<number, string>();
  free: number[];
  constructor(node: string, last: number) {
    this.node = node;
    this.free = Array.from({ length: last }, (_, index) => index + 1);
  }
  take(node: string, numbers: readonly number[]): void {
    for (const number of numbers) this.held.set(number, node);
    this.free = this.free.filter((number) => !numbers.includes(number));
  }
  giveBack(node: string, numbers: readonly number[]): void {
    const freed = [...this.held].filter(([number, who]) => who === node && numbers.includes(number));
    for (const [number] of freed) this.held.delete(number);
    this.free.push(...freed.map(([number]) => number).sort((a, b) => a - b));
  }
}

test('a block does what the plain model does', () => {
  const node = fc.constantFrom('a', 'b', 'c');
  const picks = fc.array(fc.nat(14), { maxLength: 6 });
  const step = fc.record({ act: fc.constantFrom('take', 'giveBack', 'adopt', 'drop'), node, picks });
  const shape = fc.constantFrom(prefix('10.0.0.32/28'), prefix('fd00::10/124'));
  fc.assert(
    fc.property(shape, fc.array(step, { maxLength: 40, size: 'max' }), (whole, steps) => {
      let block = newBlock(whole, { node: 'a', term: 1 });
      const plain = new Plain('a', lastNumber(whole));
      for (const { act, node, picks } of steps) {
        const term = 2;
        if (act === 'take') {
          const numbers = [...new Set(picks)].filter((number) => plain.free.includes(number));
          block = take(block, { node, term }, numbers);
          plain.take(node, numbers);
        } else if (act === 'adopt' && plain.node === undefined) {
          block = adopt(block, { node, term });
          plain.node = node;
        } else if (act === 'giveBack' || act === 'drop') {
          const numbers = act === 'drop' ? plain.held.keys().toArray() : picks;
          const next = act === 'drop' ? dropNode(block, node) : giveBack(block, node, picks);
          plain.giveBack(node, numbers);
          if (act === 'drop' && plain.node === node) plain.node = undefined;
          assert.equal(next === undefined, plain.node === undefined && plain.held.size === 0);
          if (next === undefined) return;
          block = next;
        }
        assert.equal(blockProblem(whole.replace('/', '-'), block), undefined);
        assert.equal(block.node, plain.node);
        assert.deepEqual(freeOf(block), plain.free);
        for (const who of ['a', 'b', 'c'])
          assert.deepEqual(
            heldBy(block, who),
            [...plain.held]
              .filter(([, holder]) => holder === who)
              .map(([n]) => n)
              .sort((x, y) => x - y),
          );
        for (let number = 1; number <= lastNumber(whole); number += 1)
          assert.equal(holderOf(block, addressAt(block, number)), plain.held.get(number));
      }
    }),
    { numRuns: 200 },
  );
});
