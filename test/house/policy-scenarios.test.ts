/** docs/policy-scenarios.md is what the scenarios come to, and each of them can fail. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { readManifests } from '#model/manifest.ts';
import { ALL, OUTSIDE } from '../host/scenarios/cluster.ts';
import { DOCUMENTATION, ON_BRIDGE } from '../host/scenarios/documentation.ts';
import { stagesOf, titleOf, words } from '../host/scenarios/scenario.ts';
import { renderScenarios } from '../host/scenarios/table.ts';

const scenarios = DOCUMENTATION.flatMap((each) => each.scenarios);

test('docs/policy-scenarios.md lists every scenario', () => {
  const text = renderScenarios(DOCUMENTATION, ON_BRIDGE);
  const hint = 'run: npm exec -- node scripts/docs.ts';
  assert.equal(readFileSync('docs/policy-scenarios.md', 'utf8'), text, hint);
  assert.ok(scenarios.length > 60, `only ${scenarios.length}`);
});

test('no two scenarios of a documentation have one name', () => {
  for (const { scenarios } of DOCUMENTATION) {
    const titles = scenarios.map(titleOf);
    assert.deepEqual(
      titles.filter((title, index) => titles.indexOf(title) !== index),
      [],
    );
  }
});

test('what is shown elsewhere is there', () => {
  for (const { file, title } of DOCUMENTATION.flatMap(({ elsewhere }) => elsewhere)) {
    assert.ok(existsSync(`test/host/${file}`), file);
    assert.ok(readFileSync(`test/host/${file}`, 'utf8').includes(title), `${file}: ${title}`);
    assert.ok(title.length > 20, title);
  }
});

test('each scenario has readable manifests, places that there are, and traffic that can be sent', () => {
  for (const scenario of scenarios) {
    const title = titleOf(scenario);
    const added = stagesOf(scenario).flatMap(({ pods = [] }) => pods.map(({ name }) => name));
    const places = new Set([...words(ALL), ...Object.keys(OUTSIDE), 'node1', 'node2', ...added]);
    for (const { manifests, expect } of stagesOf(scenario)) {
      assert.deepEqual(readManifests(title, manifests).problems, []);
      assert.ok(expect.length > 0, title);
      for (const [from, to, traffic] of expect) {
        for (const place of words(`${from} ${to}`)) assert.ok(places.has(place), `${title}: ${place}`);
        for (const kind of words(traffic))
          assert.match(kind, /^(?:(?:tcp|udp|sctp)\/\d+|icmp|\d+)(?:#[a-z]+<?)?$/, title);
      }
    }
  }
});
