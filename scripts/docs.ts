/** Writes the generated documents; tests of test/house compare them. */
import { writeFileSync } from 'node:fs';
import { renderErrorDocs, renderSettingsDocs } from '#config/docs.ts';
import { DOCUMENTATION, ON_BRIDGE } from '../test/host/scenarios/documentation.ts';
import { renderScenarios } from '../test/host/scenarios/table.ts';

writeFileSync('docs/settings.md', renderSettingsDocs());
writeFileSync('docs/errors.md', renderErrorDocs());
writeFileSync('docs/policy-scenarios.md', renderScenarios(DOCUMENTATION, ON_BRIDGE));
