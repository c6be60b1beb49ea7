import { assert, assertEquals } from "../../tests/assert.ts";
import { formatKeyPath, readToml } from "./toml_text.ts";

function faults(text: string): string[] {
  return readToml(text).faults.map(({ at, found }) => `${at.line}:${at.column} ${found}`);
}

function place(text: string, key: string): string | undefined {
  const place = readToml(text).places.get(key);
  return place && `${place.key.line}:${place.key.column} ${place.value.line}:${place.value.column}`;
}

Deno.test("readToml: values as TOML has them, in every way to write a table", () => {
  const { value, faults } = readToml(`
a = 1
b.c = "text"
[x.y]
list = [1, "two",
  { three = 3 }]
[[r]]
on = true
[[r]]
[r.sub]
z = 0x10
`);
  assertEquals(faults, []);
  assertEquals(value, {
    a: 1,
    b: { c: "text" },
    x: { y: { list: [1, "two", { three: 3 }] } },
    r: [{ on: true }, { sub: { z: 16 } }],
  });
});

Deno.test("readToml: a key named __proto__ is a key", () => {
  const { value } = readToml("__proto__ = 1\n[a.__proto__]\nb = 2");
  assertEquals(Object.keys(value), ["__proto__", "a"]);
  assertEquals(Object.hasOwn(value.a as object, "__proto__"), true);
  assertEquals(({} as Record<string, unknown>).b, undefined);
});

Deno.test("readToml: each key and value has its place, counted from 1", () => {
  const text = 'a = 1\n[x.y]\n  b.c = "s"\n[[r]]\nl = [1,\n  "é"]\n[[r]]\nt = { u = [{ v = 1 }] }\n';
  assertEquals(place(text, "a"), "1:1 1:5");
  assertEquals(place(text, "x"), "2:2 2:2");
  assertEquals(place(text, "x.y"), "2:4 2:4");
  assertEquals(place(text, "x.y.b"), "3:3 3:3");
  assertEquals(place(text, "x.y.b.c"), "3:5 3:9");
  assertEquals(place(text, "r[1]"), "4:3 4:3");
  assertEquals(place(text, "r[1].l[2]"), "6:3 6:3");
  assertEquals(place(text, "r[2]"), "7:3 7:3");
  assertEquals(place(text, "r[2].t.u[1].v"), "8:14 8:18");
  assertEquals(place(text, "z"), undefined);
});

Deno.test("readToml: what is wrong in lines of their own is all found, and the rest read", () => {
  const text = 'a =\nb = 1\nc = [1 2]\nd = abc\ne = "x\nf = 2 g = 3\nb = 4\nh = 08\ni = 5\n';
  assertEquals(faults(text), [
    "1:4 no value",
    "3:8 no comma",
    "4:5 a character that cannot stand here",
    "5:7 the end before the closing quote",
    "6:7 more after the value",
    "7:1 a key or table for the second time",
    "8:5 leading zeros are not allowed",
  ]);
  assertEquals(readToml(text).value, { b: 1, i: 5 });
});

Deno.test("readToml: lines with \\r\\n, and an element of a list on its own line", () => {
  assertEquals(faults("a =\r\nb = [\r\n  1,\r\n  x,\r\n]\r\n"), [
    "1:4 no value",
    "4:3 a character that cannot stand here",
  ]);
  assertEquals(readToml("a = [\n1,\n2 3,\n4]").value, { a: [1, 4] });
});

Deno.test("readToml: a fault that reaches over lines is named once, and nothing is made of the rest", () => {
  for (
    const text of ['a = """\nb\nc = 1', "a = [1,\n2\nb = 3\n", "[x\na = 1", "[a]\n[a]\nb=", "a = {\nb = 1 }"]
  ) {
    const read = readToml(text);
    assertEquals([read.faults.length, read.isReadable, read.value], [1, false, {}], text);
  }
});

Deno.test("readToml: what no person writes ends soon", () => {
  assertEquals(readToml("a = 1\n".repeat(50)).faults.length, 20);
  assertEquals(readToml("x".repeat(2 << 20)).faults.length, 1);
  for (const deep of ["[".repeat(50_000), "[".repeat(50_000) + "]".repeat(50_000), "{a=".repeat(50_000)]) {
    assert(readToml(`a = ${deep}`).faults.length > 0);
  }
});

Deno.test("formatKeyPath: as one would say it", () => {
  assertEquals(formatKeyPath(["upstream", "office", "server"]), "upstream.office.server");
  assertEquals(formatKeyPath(["rule", 2, "use"]), "rule[3].use");
  assertEquals(formatKeyPath(["a b", "c.d"]), '"a b"."c.d"');
});
