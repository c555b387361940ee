/** The facts that come with Tartan: of providers as YAML, of AWS instances as a table. */
import { globSync, readFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { type Facts } from '#advisor/facts/facts.ts';
import { parseFacts } from '#advisor/facts/parse.ts';
import { type InstanceTable, parseInstances } from '#advisor/capacity/instances.ts';

/** Put in by scripts/build.ts; absent when run from source. */
declare const TARTAN_FACTS: Readonly<Record<string, string>> | undefined;

const INSTANCES = 'aws-instances.txt';

function readTexts(): Readonly<Record<string, string>> {
  if (typeof TARTAN_FACTS === 'object') return TARTAN_FACTS;
  const directory = join(import.meta.dirname, '../../facts');
  return Object.fromEntries(
    globSync('*.{yaml,txt}', { cwd: directory })
      .sort()
      .map((file) => [basename(file), readFileSync(join(directory, file), 'utf8')]),
  );
}

export function readFacts(): Facts {
  const yaml = Object.entries(readTexts()).filter(([name]) => name.endsWith('.yaml'));
  return parseFacts(Object.fromEntries(yaml.map(([name, text]) => [basename(name, '.yaml'), text])));
}

export function readInstances(): InstanceTable {
  return parseInstances(readTexts()[INSTANCES] ?? '');
}
