/** The machine against simulated paths: what fits comes back at once, or not at all. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { BASE, PathMtu, PATH_MTU_TIMES } from './path-mtu.ts';

type Path = { mtu: number; up: boolean; lose?: () => boolean };

/** Runs the machine for so long, a tick every 100 ms; the sizes of the probes. */
function run(machine: PathMtu, path: Path, [from, to]: readonly [number, number]): number[] {
  const sizes: number[] = [];
  for (let now = from; now < to; now += 100) {
    const probe = machine.tick(now);
    if (probe === undefined) continue;
    sizes.push(probe.size);
    if (path.up && probe.size <= path.mtu && path.lose?.() !== true) machine.acknowledge(probe.id, now + 5);
  }
  return sizes;
}

test('where the largest fits one probe is enough, and then only confirmations go', () => {
  const machine = new PathMtu(4, 1500);
  const path = { mtu: 1500, up: true };
  assert.deepEqual(run(machine, path, [0, 20_000]), [1500]);
  assert.equal(machine.phase, 'complete');
  assert.deepEqual(run(machine, path, [20_000, 85_000]), [1500, 1500]);
});

test('property: any path from the smallest up is found to the byte, in both families', () => {
  fc.assert(
    fc.property(
      fc.constantFrom(4, 6),
      fc.integer({ min: 600, max: 9000 }),
      fc.integer({ min: 600, max: 9000 }),
      (family, max, mtu) => {
        fc.pre(family === 4 ? mtu >= 600 : mtu >= 1280 && max >= 1280);
        const machine = new PathMtu(family, max);
        run(machine, { mtu, up: true }, [0, 90_000]);
        assert.equal(machine.phase, 'complete');
        assert.equal(machine.mtu, Math.min(max, mtu));
      },
    ),
    { numRuns: 100 },
  );
});

test('property: it never uses less than the path carries because of moderate loss, nor more for long', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1200, max: 1500 }), fc.infiniteStream(fc.nat(99)), (mtu, dice) => {
      const machine = new PathMtu(4, 1500);
      const lose = (): boolean => (dice.next().value ?? 0) < 5;
      run(machine, { mtu, up: true, lose }, [0, 90_000]);
      assert.ok(machine.mtu <= mtu, `${machine.mtu} on a path of ${mtu}`);
    }),
    { numRuns: 60 },
  );
});

test('a path that becomes narrower is noticed by confirmation, or at once by a router’s word; wider by raising', () => {
  const machine = new PathMtu(4, 1500);
  const path = { mtu: 1500, up: true };
  run(machine, path, [0, 10_000]);
  path.mtu = 1400;
  machine.hint(1400, 10_000);
  const probed = run(machine, path, [10_000, 15_000]);
  assert.equal(machine.mtu, 1400);
  assert.deepEqual([...new Set(probed)], [1500, 1400, 1401], 'a true word leaves nothing to search');
  path.mtu = 1300;
  run(machine, path, [15_000, 120_000]);
  assert.equal(machine.mtu, 1300);
  path.mtu = 1500;
  run(machine, path, [120_000, 120_000 + PATH_MTU_TIMES.raiseMs + 10_000]);
  assert.equal(machine.mtu, 1500);
  const lazy = new PathMtu(4, 1500, { times: { ...PATH_MTU_TIMES, confirmMs: 1e9, raiseMs: 5000 } });
  path.mtu = 1400;
  run(lazy, path, [0, 60_000]);
  assert.equal(lazy.mtu, 1400);
  path.mtu = 1500;
  run(lazy, path, [60_000, 70_000]);
  assert.equal(lazy.mtu, 1500, 'raising does not wait for a confirmation');
});

test('a router that lies costs a probe and changes nothing', () => {
  const machine = new PathMtu(4, 1500);
  const path = { mtu: 1500, up: true };
  run(machine, path, [0, 1000]);
  machine.hint(700, 1000);
  assert.deepEqual(run(machine, path, [1000, 3000]), [1500]);
  assert.equal(machine.mtu, 1500);
});

test('a peer that is away keeps its MTU, and is found again; probes meanwhile are rare', () => {
  const machine = new PathMtu(4, 1500);
  const path = { mtu: 1500, up: true };
  run(machine, path, [0, 1000]);
  path.up = false;
  const away = run(machine, path, [1000, 301_000]);
  assert.equal(machine.phase, 'unreachable');
  assert.equal(machine.mtu, 1500);
  assert.ok(away.length < 80, `${away.length} probes in five minutes`);
  path.up = true;
  run(machine, path, [301_000, 320_000]);
  assert.equal(machine.phase, 'complete');
});

test('what this machine’s kernel refuses to send is not waited for', () => {
  const machine = new PathMtu(4, 1500);
  const first = machine.tick(0);
  assert.equal(first?.size, 1500);
  machine.refused(1500, 10);
  assert.equal(machine.tick(20)?.size, BASE[4]);
});
