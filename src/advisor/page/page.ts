/**
 * One HTML file that needs nothing else: style, script and data stand in it, and a policy in its head lets nothing be
 * fetched. What the script does is in the room web.
 */
import { escapeText } from '../choose/document.ts';

export type Page = {
  readonly title: string;
  /** HTML that is there without the script. */
  readonly body: string;
  readonly style: string;
  readonly script: string;
  /** What the script finds in `#data`, as JSON. */
  readonly data: unknown;
};

const POLICY = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:";

export function renderPage({ title, body, style, script, data }: Page): string {
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="${POLICY}">
<title>${escapeText(title)}</title>
<style>${closed(style, 'style')}</style>
</head>
<body>
${body}
<script type="application/json" id="data">${jsonInHtml(data)}</script>
<script type="module">${closed(script, 'script')}</script>
</body>
</html>
`;
}

/** No text in it can end the element, or begin a comment. */
function jsonInHtml(data: unknown): string {
  return JSON.stringify(data).replaceAll('<', '\\u003c');
}

function closed(text: string, tag: string): string {
  return text.replaceAll(`</${tag}`, `<\\/${tag}`);
}
