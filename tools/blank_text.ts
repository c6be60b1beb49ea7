/**
 * Replaces what is not code in a TypeScript source, comments and the insides of strings, by spaces, so that a
 * search finds identifiers only. Lines keep their numbers. Code within `${…}` of a template stays.
 *
 * @module
 */

/** Before a `/`, these mean that a regular expression begins and not a division. */
const BEFORE_REGEX =
  /(?:^|[=(,[{};:!&|?+\-*%<>~^]|\b(?:return|typeof|case|in|of|yield|await|void|delete|throw|else|do))$/;

/** Longest first; each alternative is one token that is not code, or a bracket that ends a template's hole. */
const TOKEN = new RegExp(
  [
    String.raw`\/\/[^\n]*`,
    String.raw`\/\*[\s\S]*?\*\/`,
    String.raw`"(?:\\[\s\S]|[^"\\\n])*"`,
    String.raw`'(?:\\[\s\S]|[^'\\\n])*'`,
    String.raw`\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/`,
    "[`{}]",
  ].join("|"),
  "g",
);

/** The rest of a template's text: up to its end or to the next hole. */
const TEMPLATE_TEXT = /(?:\\[\s\S]|\$(?!\{)|[^\\`$])*(`|\$\{|$)/y;

export function blankText(source: string): string {
  let code = "";
  let at = 0;
  /** Depth of braces for each template that is open, the innermost last. */
  const holes: number[] = [];
  const token = new RegExp(TOKEN);
  const take = (to: number, isCode: boolean) => {
    const part = source.slice(at, to);
    code += isCode ? part : part.replace(/[^\n]/g, " ");
    at = to;
  };
  const takeTemplateText = () => {
    const text = new RegExp(TEMPLATE_TEXT);
    text.lastIndex = at;
    const end = text.exec(source)![1]!;
    take(text.lastIndex, false);
    if (end === "${") holes.push(0);
  };
  while (at < source.length) {
    token.lastIndex = at;
    const match = token.exec(source);
    take(match?.index ?? source.length, true);
    if (match === null) break;
    const [text] = match;
    if (text === "`") {
      take(at + 1, false);
      takeTemplateText();
    } else if (text === "{") {
      take(at + 1, true);
      if (holes.length > 0) holes[holes.length - 1]!++;
    } else if (text === "}") {
      const depth = holes.at(-1);
      take(at + 1, depth !== 0);
      if (depth === 0) {
        holes.pop();
        takeTemplateText();
      } else if (depth !== undefined) holes[holes.length - 1] = depth - 1;
    } else if (/^\/[^/*]/.test(text) && !BEFORE_REGEX.test(code.trimEnd())) {
      take(at + 1, true);
    } else take(at + text.length, false);
  }
  return code;
}
