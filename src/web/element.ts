/** Elements of a page from values. Text is always text: nothing is ever parsed as HTML. */

type Attributes = Readonly<Record<string, string | boolean | undefined>>;

export function element<T extends keyof HTMLElementTagNameMap>(
  tag: T,
  attributes: Attributes,
  ...children: readonly (Node | string)[]
): HTMLElementTagNameMap[T] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === 'string') made.setAttribute(name, value);
    else if (value === true) made.setAttribute(name, '');
  }
  made.append(...children);
  return made;
}

/** The data that the page was written with. */
export function readData(): unknown {
  return JSON.parse(document.querySelector('#data')?.textContent ?? 'null');
}

/** Throws when the page is not the one that the script was written for. */
export function place(selector: string): HTMLElement {
  const found = document.querySelector<HTMLElement>(selector);
  if (found === null) throw new Error(`no ${selector} in this page`);
  return found;
}
