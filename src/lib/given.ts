/** `{ key: value }`, or nothing when there is no value: for objects whose optional fields are absent rather than undefined. */
export function given<K extends string, V>(key: K, value: V | null | undefined): { readonly [P in K]?: V } {
  return (value === undefined || value === null ? {} : { [key]: value }) as { readonly [P in K]?: V };
}
