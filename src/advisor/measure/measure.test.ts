import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type Measurements, METRIC_NAMES } from '#model/measurement.ts';
import { renderText } from '../choose/document.ts';
import { measurementsDocument } from './document.ts';
import { figureOf, measurementsSchema, median, ratioOf } from './summary.ts';

const values = fc.array(fc.double({ min: 0.1, max: 1e6, noNaN: true }), { minLength: 1, maxLength: 9 });
const samples = (all: readonly number[]) => all.map((value) => ({ value, cpuMs: value * 2 }));

test('the ratio turned round is one by the ratio, and lies within its interval', () => {
  fc.assert(
    fc.property(values, values, (a, b) => {
      const length = Math.min(a.length, b.length);
      const [road, bare] = [samples(a.slice(0, length)), samples(b.slice(0, length))];
      const there = ratioOf({ road, bare });
      const back = ratioOf({ road: bare, bare: road });
      assert.ok(Math.abs(there.mean * back.mean - 1) < 1e-9);
      assert.ok(
        there.low > 0 && there.low <= there.mean * (1 + 1e-9) && there.mean <= there.high * (1 + 1e-9),
      );
    }),
  );
});

test('equal pairs have the ratio 1 for sure; twice as fast is 2', () => {
  const road = samples([3, 5, 8]);
  assert.deepEqual(ratioOf({ road, bare: road }), { mean: 1, low: 1, high: 1 });
  const { mean } = ratioOf({ road: samples([6, 10, 16]), bare: road });
  assert.ok(Math.abs(mean - 2) < 1e-12);
});

test('medians are of the middle, and CPU time is told only where every run has it', () => {
  assert.deepEqual([median([3, 1, 2]), median([4, 1, 2, 3])], [2, 2.5]);
  const [road, bare] = [samples([1, 2, 9]), samples([4, 5, 6])];
  const figure = figureOf({ metric: 'tcp', road, bare });
  assert.deepEqual([figure.road, figure.bare, figure.cpuMs], [2, 5, { road: 4, bare: 10 }]);
  assert.equal(
    figureOf({ metric: 'tcp', road, bare: [{ value: 1 }, { value: 1 }, { value: 1 }] }).cpuMs,
    undefined,
  );
});

test('every figure has its table, and what is missing is told', () => {
  const measured: Measurements = {
    format: 1,
    at: '2026-01-01T00:00:00Z',
    host: { kernel: '6.12', cpu: 'C', cpus: 2, memoryMiB: 1000 },
    rounds: 1,
    runMs: 100,
    roads: [
      {
        road: 'vxlan',
        title: 'VXLAN',
        encrypted: false,
        settings: { type: 'vxlan' },
        policies: 1000,
        memoryMiB: 91,
        mtu: 1450,
        series: METRIC_NAMES.map((metric) => ({ metric, road: samples([80]), bare: samples([100]) })),
      },
    ],
    missing: [{ title: 'GRE', reason: 'Unknown device type' }],
  };
  assert.deepEqual(measurementsSchema.parse(JSON.parse(JSON.stringify(measured))), measured);
  const text = renderText(measurementsDocument(measured));
  assert.equal(
    text.match(/VXLAN, 1,000 policies +80\.0 +100 +0\.80 +0\.80–0\.80/g)?.length,
    METRIC_NAMES.length,
  );
  assert.match(text, /VXLAN, 1,000 policies +91 +1450/);
  assert.match(text, /GRE: Unknown device type/);
});
