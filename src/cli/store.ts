/** `tartan store export`, `tartan store import`: a cluster's state as a directory, which is a store itself. */
import type { Command } from 'commander';
import type { Outcome } from '#model/store-object.ts';
import { withObjects } from './apply.ts';
import { formatOf, withConfig, withOutput } from './options.ts';
import { EXIT, print } from './output.ts';
import type { Doors, Make } from './program.ts';

export function storeCommand(make: Make, doors: Pick<Doors, 'objects'>): Command {
  const command = make('store', () => EXIT.usage).description('move a cluster’s state between stores');
  const add = (name: string, description: string, act: 'exportTo' | 'importFrom'): void => {
    const sub = make(name, (options, [directory = '']) =>
      withObjects(options, doors, async (store) => {
        print(formatOf(options), await store[act](directory), (outcomes) => summary(outcomes, directory));
        return EXIT.ok;
      }),
    );
    command.addCommand(
      withOutput(withConfig(sub)).description(description).argument('<directory>', 'a directory store'),
    );
  };
  add('export', 'write everything that the store holds into an empty directory', 'exportTo');
  add(
    'import',
    'add to the store what a directory holds; nothing that is there is overwritten',
    'importFrom',
  );
  return command;
}

function summary(outcomes: readonly Outcome[], directory: string): string {
  const counts = Map.groupBy(outcomes, ({ outcome }) => outcome);
  const parts = Array.from(counts, ([outcome, list]) => `${list.length} ${outcome}`);
  return `${directory}: ${parts.length === 0 ? 'no objects' : parts.join(', ')}`;
}
