/** docs/settings.md and docs/errors.md as text, from the schema and the table of faults: the files cannot tell otherwise. */
import { z } from 'zod';
import { FAULTS } from '#model/fault.ts';
import { API_VERSION, settingsSchema } from './schema.ts';
import { metaOf, unwrap } from './shape.ts';

const HEAD = `# Settings

Printed from the schema (\`src/config/schema.ts\`); do not edit. A settings file is YAML:

\`\`\`yaml
apiVersion: ${API_VERSION}
kind: Settings
profile: flannel   # its settings are defaults for this file: profiles/*.yaml
network:
  ipv4:
    range: 10.244.0.0/16
\`\`\`

Later files win over earlier ones, flags over files, files over the profile, the profile over the defaults below.
Groups merge key by key; lists replace. Unknown keys are errors.
`;

export function renderSettingsDocs(): string {
  return `${HEAD}\n${renderGroup('', settingsSchema)}`;
}

/** A group's own settings as a table, then its groups. */
function renderGroup(path: string, schema: z.ZodObject): string {
  const entries = Object.entries(schema.shape as z.ZodRawShape).map(([name, member]) => {
    return { path: path === '' ? name : `${path}.${name}`, member, inner: unwrap(member) };
  });
  const rows = entries
    .filter(({ inner }) => !(inner.schema instanceof z.ZodObject))
    .map((entry) => renderRow(entry.path, entry.member));
  const table = ['| setting | value | default | meaning |', '|---|---|---|---|', ...rows].join('\n');
  const groups = entries.map(({ path, member, inner }) =>
    inner.schema instanceof z.ZodObject
      ? `\n## ${path}\n\n${metaOf(member).description}\n${renderGroup(path, inner.schema)}`
      : '',
  );
  return `${rows.length === 0 ? '' : `\n${table}\n`}${groups.join('')}`;
}

function renderRow(path: string, schema: z.core.$ZodType): string {
  const { type, description } = metaOf(schema);
  const { value } = unwrap(schema);
  return `| \`${path}\` | ${type} | ${value === undefined ? '–' : `\`${JSON.stringify(value)}\``} | ${description} |`;
}

export function renderErrorDocs(): string {
  const rows = Object.entries(FAULTS).map(([code, fault]) => {
    const { cni, hint }: { cni?: number; hint: string } = fault;
    return `| \`${code}\` | ${cni ?? '–'} | ${hint} |`;
  });
  return `# Errors

Printed from the table of faults (\`src/model/fault.ts\`); do not edit. The CNI number is what a container runtime sees.

| code | CNI number | what to do |
|---|---|---|
${rows.join('\n')}
`;
}
