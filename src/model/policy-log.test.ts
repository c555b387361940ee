import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DIRECTIONS } from './policy.ts';
import { type DenialMark, formatDenial, parseLogPrefix } from './policy-log.ts';

test('what is written in front of denied packets is read back', () => {
  const marks = (['denied', 'audit', 'staged'] as const).flatMap((kind): DenialMark[] => [
    { kind },
    ...DIRECTIONS.map((direction) => ({ kind, direction })),
  ]);
  for (const mark of marks) assert.deepEqual(parseLogPrefix(formatDenial(mark)), mark);
  assert.equal(new Set(marks.map(formatDenial)).size, 9);
});

test('rules that log are told by their text, and what others write is theirs', () => {
  assert.deepEqual(parseLogPrefix('tartan 7 '), { kind: 'rule', text: 'tartan 7' });
  for (const text of [
    '',
    'tartan',
    'ufw denied egress',
    'tartan denied sideways',
    'tartan 7 8',
    'tartan denied egress x',
  ])
    assert.equal(parseLogPrefix(text), undefined, text);
});
