/**
 * Settings files as plain values that remember where each came from, and their merging: later layers win, groups merge
 * key by key, lists and null replace. Nothing is interpreted here.
 */
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument } from 'yaml';
import type { Problem } from '#model/fault.ts';

/** Plain values by name, and for each path (joined with dots) the place it was written at, `origin:line`. */
export type Layer = {
  readonly values: Readonly<Record<string, unknown>>;
  readonly places: ReadonlyMap<string, string>;
};

export type Path = readonly (string | number)[];

export function isGroup(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** One YAML document, of which several in a file are an error. Problems are appended; the layer is what was understood. */
export function readDocument(origin: string, text: string, problems: Problem[]): Layer {
  const lines = new LineCounter();
  const places = new Map<string, string>();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false, uniqueKeys: true });
  for (const error of document.errors) {
    problems.push({ path: `${origin}:${lines.linePos(error.pos[0]).line}`, message: error.message });
  }
  if (document.errors.length > 0) return { values: {}, places };
  const values: unknown = document.toJS({ maxAliasCount: 100 });
  notePlaces(document.contents, '', (path, offset) => {
    places.set(path, `${origin}:${lines.linePos(offset).line}`);
  });
  if (values === null) return { values: {}, places };
  if (!isGroup(values)) {
    problems.push({ path: `${origin}:1`, message: 'must be a map of settings' });
    return { values: {}, places };
  }
  return { values, places };
}

type Note = (path: string, offset: number) => void;

function notePlaces(node: unknown, base: string, note: Note): void {
  const child = (key: string | number): string => (base === '' ? `${key}` : `${base}.${key}`);
  if (isMap(node)) {
    for (const pair of node.items) {
      if (!isScalar(pair.key)) continue;
      const path = child(String(pair.key.value));
      note(path, pair.key.range?.[0] ?? 0);
      notePlaces(pair.value, path, note);
    }
  } else if (isSeq(node)) {
    for (const [index, item] of node.items.entries()) {
      note(child(index), (item as Node).range?.[0] ?? 0);
      notePlaces(item, child(index), note);
    }
  }
}

/** `path → value` pairs, paths written with dots, as a layer. `origin` names where they were given. */
export function layerOfPaths(origin: string, overrides: Readonly<Record<string, unknown>>): Layer {
  const places = new Map<string, string>();
  let values: Readonly<Record<string, unknown>> = {};
  for (const [path, value] of Object.entries(overrides)) {
    places.set(path, origin);
    const nested = path.split('.').reduceRight<unknown>((inner, key) => ({ [key]: inner }), value);
    values = mergeValues(values, nested as Record<string, unknown>);
  }
  return { values, places };
}

export function mergeLayers(layers: readonly Layer[]): Layer {
  const nothing: Layer = { values: {}, places: new Map() };
  return layers.reduce(
    (below, above) => ({
      values: mergeValues(below.values, above.values),
      places: new Map([...below.places, ...above.places]),
    }),
    nothing,
  );
}

/** Groups that null switches off. */
const NULLABLE: ReadonlySet<string> = new Set(['ipv4', 'ipv6']);

function mergeValues(
  below: Readonly<Record<string, unknown>>,
  above: Readonly<Record<string, unknown>>,
): Record<string, unknown> {
  const merged = new Map(Object.entries(below));
  for (const [key, value] of Object.entries(above)) {
    const old = merged.get(key);
    // A key without content (`underlay:`) says nothing, except where null switches a family off.
    if (value === null && !NULLABLE.has(key)) continue;
    merged.set(key, isGroup(value) ? mergeValues(isGroup(old) ? old : {}, value) : value);
  }
  return Object.fromEntries(merged);
}

/** `origin:line path` of the nearest thing that was written down, or the bare path where nothing was. */
export function locate(layer: Layer, path: Path): string {
  const text = path.join('.');
  for (let length = path.length; length > 0; length -= 1) {
    const place = layer.places.get(path.slice(0, length).join('.'));
    if (place !== undefined) return `${place} ${text}`;
  }
  return text;
}
