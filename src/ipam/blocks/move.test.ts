import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import type { Block, BlockPool } from '#model/block.ts';
import { plainPool } from './pool-book.ts';
import { address } from '#net/address.ts';
import { contains, overlaps, type Prefix, prefix } from '#net/prefix.ts';
import { adopt, freeOf, heldBy, newBlock, take } from './block.ts';
import { BlockIndex } from './block-index.ts';
import { type Move, moveFor, nextMove, type Question } from './move.ts';

const poolOf = (text: string, blockLength: number, name = 'p'): BlockPool =>
  plainPool(name, prefix(text), blockLength);

function scene(more: Partial<Question> = {}): Question {
  return {
    index: new BlockIndex(),
    node: 'a',
    pools: [poolOf('10.0.0.0/27', 29)],
    rules: { strictAffinity: false, maxBlocksPerNode: 20 },
    reserved: [],
    foreign: [],
    ...more,
  };
}

/** What the store would hold then. */
function play(question: Question, move: Move): Move['type'] {
  const me = { node: question.node, term: 1 };
  if (move.type === 'claim')
    question.index.set(move.prefix, take(newBlock(move.prefix, me), me, move.numbers));
  if (move.type === 'take') {
    const block = move.adopts ? adopt(move.block, me) : move.block;
    question.index.set(block.prefix, take(block, me, move.numbers));
  }
  return move.type;
}

test('own blocks first, then new ones, then borrowing one at a time, then the reason why not', () => {
  const question = scene({ pools: [poolOf('10.0.0.0/28', 29)] });
  const other = { ...question, node: 'b' };
  play(other, nextMove(other));
  const moves = Array.from({ length: 10 }, () => {
    const move = nextMove(question);
    return `${play(question, move)} ${move.type === 'none' ? '' : move.numbers.length}`;
  });
  assert.deepEqual(moves, [
    'claim 2',
    'take 2',
    'take 2',
    'take 1',
    ...Array<string>(5).fill('take 1'),
    'none ',
  ]);
  const { why } = nextMove(question) as Extract<Move, { type: 'none' }>;
  assert.match(why[0]?.message ?? '', /this node has 1 blocks, which are full; there is no free one/);
});

test('strict affinity: nobody borrows; a cap on blocks: it borrows sooner', () => {
  const question = scene({ rules: { strictAffinity: true, maxBlocksPerNode: 1 } });
  const other = { ...question, node: 'b' };
  play(other, nextMove(other));
  assert.deepEqual([play(question, nextMove(question)), nextMove(question).type], ['claim', 'none']);
  const loose = { ...question, rules: { ...question.rules, strictAffinity: false } };
  play({ ...loose, node: 'c' }, nextMove({ ...loose, node: 'c', rules: { ...loose.rules } }));
  const move = nextMove(loose);
  assert.ok(move.type === 'take' && move.block.node === 'c' && move.numbers.length === 1);
});

test('the cap on blocks is for each family', () => {
  const question = scene({ rules: { strictAffinity: false, maxBlocksPerNode: 1 } });
  assert.equal(play(question, nextMove(question)), 'claim');
  const six = { ...question, pools: [poolOf('fd00::/120', 125)] };
  assert.deepEqual([play(six, nextMove(six)), play(six, nextMove(six))], ['claim', 'take']);
});

test('a block of nobody is adopted before a new one is made', () => {
  const question = scene();
  const block: Block = {
    prefix: prefix('10.0.0.8/29'),
    free: '2-7',
    holders: { b: { numbers: '1', term: 1 } },
  };
  question.index.set(block.prefix, block);
  const move = nextMove(question);
  assert.ok(move.type === 'take' && move.adopts);
  play(question, move);
  assert.deepEqual(question.index.prefixesOf('a'), ['10.0.0.8/29']);
  assert.deepEqual(question.index.prefixesOf('b'), ['10.0.0.9/32']);
});

test('reserved addresses and others’ subnets are left alone, but a reserved one may be asked for', () => {
  const question = scene({
    reserved: [prefix('10.0.0.0/28'), prefix('10.0.0.17/32')],
    foreign: [prefix('10.0.0.24/29')],
  });
  const move = nextMove(question);
  assert.deepEqual([move.type, move.type === 'claim' && move.prefix], ['claim', '10.0.0.16/29']);
  assert.deepEqual(move.type === 'claim' && move.numbers, [2, 3]);
  assert.deepEqual(moveFor(question, address('10.0.0.3')), {
    type: 'claim',
    prefix: '10.0.0.0/29',
    numbers: [3],
  });
  const why = (text: string): string => {
    const found = moveFor(question, address(text));
    return found.type === 'none' ? (found.why[0]?.message ?? '') : found.type;
  };
  assert.match(why('10.0.0.25'), /in use as something else/);
  assert.match(why('10.0.0.8'), /the node’s own/);
  assert.match(why('10.9.0.8'), /in no pool/);
});

test('a pool as wide as IPv6 allows, almost wholly reserved, is searched at once', () => {
  const question = scene({
    pools: [poolOf('fd00::/48', 122)],
    reserved: [prefix('fd00::/49'), prefix('fd00:0:0:8000::/50')],
  });
  const move = nextMove(question);
  assert.ok(move.type === 'claim' && contains(prefix('fd00:0:0:c000::/50'), move.prefix));
});

test('whatever nodes do, blocks do not overlap and nothing is held twice', () => {
  const pools = [poolOf('10.0.0.0/27', 29, 'p'), poolOf('10.0.1.0/28', 30, 'q')];
  const step = fc.record({
    node: fc.constantFrom('a', 'b', 'c'),
    pools: fc.subarray(pools, { minLength: 1 }),
    strictAffinity: fc.boolean(),
    maxBlocksPerNode: fc.integer({ min: 1, max: 4 }),
    wanted: fc.option(fc.nat(40).map((n) => address(`10.0.${n < 32 ? 0 : 1}.${n % 32}`))),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40, size: 'max' }), (steps) => {
      const index = new BlockIndex();
      for (const { node, pools, wanted, ...rules } of steps) {
        const question = scene({ index, node, pools, rules: { ...rules } });
        const before = index.ofNode(node).flatMap((block) => heldBy(block, node)).length;
        const move = wanted === null ? nextMove(question) : moveFor(question, wanted);
        play(question, move);
        const after = index.ofNode(node).flatMap((block) => heldBy(block, node)).length;
        assert.equal(after > before, move.type !== 'none', 'a move is more addresses');
        const blocks = [...index.values()];
        for (const block of blocks) {
          assert.ok(!blocks.some((other) => other !== block && overlaps(other.prefix, block.prefix)));
          const all = [...freeOf(block), ...['a', 'b', 'c'].flatMap((who) => heldBy(block, who))];
          assert.equal(new Set(all).size, all.length);
        }
        const routed = ['a', 'b', 'c'].flatMap((who) => index.prefixesOf(who));
        assert.equal(new Set<Prefix>(routed).size, routed.length);
      }
    }),
    { numRuns: 300 },
  );
});
