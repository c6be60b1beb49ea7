import { assertEquals } from "../tests/assert.ts";
import { blankText } from "./blank_text.ts";

/** Sources in which `await` is code as often as said. */
const SOURCES: readonly (readonly [name: string, source: string, times: number])[] = [
  ["code", "await x;", 1],
  ["line comment", "// await\nawait x;", 1],
  ["block comment", "/* await\n await */ await x;", 1],
  ["strings", `"await" + 'await' + "\\"await"; await x;`, 1],
  ["a quote in the other quotes", `"'" + await x + '"' + await y;`, 2],
  ["template text", "`await`; await x;", 1],
  ["template hole", "`await ${await x} await`;", 1],
  ["braces in a hole", "`await ${f({ a: await x })} await` + await y;", 2],
  ["template in a hole", "`await ${`await ${await x} await`} await`;", 1],
  ["escaped backquote and dollar", "`\\` await \\${ await $ await`; await x;", 1],
  ["function body around a template", "function f() { g(`await ${1}`); } await x;", 1],
  ["comment signs in strings", `"/*"; await x; "*/"; "//"; await y;`, 2],
  ["regular expression with a quote", `const r = /"await/; await x;`, 1],
  ["regular expression with a slash in a class", `f(/[/"']await/g); await x;`, 1],
  ["regular expression after return", `return /'await/; await x;`, 1],
  ["division", `a / await b / c; d) / await e / "f";`, 2],
  ["unfinished template", "`await ${", 0],
];

for (const [name, source, times] of SOURCES) {
  Deno.test(`blankText: ${name}`, () => {
    const code = blankText(source);
    assertEquals(code.match(/await/g)?.length ?? 0, times);
    assertEquals(code.length, source.length);
    assertEquals(code.split("\n").length, source.split("\n").length);
  });
}
