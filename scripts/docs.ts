/** Writes the generated documents; test/house/docs.test.ts compares them. */
import { writeFileSync } from 'node:fs';
import { renderErrorDocs, renderSettingsDocs } from '#config/docs.ts';

writeFileSync('docs/settings.md', renderSettingsDocs());
writeFileSync('docs/errors.md', renderErrorDocs());
