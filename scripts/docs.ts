/** Writes the generated documents; tests of test/house compare them. */
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { stringify } from 'yaml';
import { renderErrorDocs, renderSettingsDocs } from '#config/docs.ts';
import { ALERTS } from '#deploy/alerts.ts';
import { chartOf } from '#deploy/chart.ts';
import { planInstallation } from '#deploy/options.ts';
import { readProfiles } from '../src/cli/profiles.ts';
import { DOCUMENTATION, ON_BRIDGE } from '../test/host/scenarios/documentation.ts';
import { renderScenarios } from '../test/host/scenarios/table.ts';

writeFileSync('docs/settings.md', renderSettingsDocs());
writeFileSync('docs/errors.md', renderErrorDocs());
writeFileSync('docs/policy-scenarios.md', renderScenarios(DOCUMENTATION, ON_BRIDGE));

const ALERTS_HEAD = `# Alerts for Prometheus, printed from src/deploy/alerts.ts by make docs; do not edit. What to do: docs/guide/alerts.md
`;
writeFileSync(
  'deploy/monitoring/alerts.yaml',
  ALERTS_HEAD + stringify({ groups: ALERTS }, { lineWidth: 0, singleQuote: true }),
);

const CHART = 'deploy/helm/tartan';
const { version } = JSON.parse(readFileSync('package.json', 'utf8')) as { version: string };
rmSync(CHART, { recursive: true, force: true });
for (const [path, text] of chartOf(planInstallation({ profile: 'flannel', version }, readProfiles()))) {
  mkdirSync(dirname(join(CHART, path)), { recursive: true });
  writeFileSync(join(CHART, path), text);
}
