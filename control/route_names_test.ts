import { assertEquals } from "../tests/assert.ts";
import { RouteNames } from "./route_names.ts";

Deno.test("RouteNames: a flow is named by the routing that it began under", () => {
  const names = new RouteNames();
  const before = names.generationOf(["direct", "block", "far"]);
  const after = names.generationOf(["direct", "near", "block"]);
  assertEquals(names.nameOf({ generation: before, id: 2 }), "far");
  assertEquals(names.nameOf({ generation: after, id: 2 }), "block");
  assertEquals(names.nameOf({ generation: after, id: 3 }), undefined);
  assertEquals(names.nameOf({ generation: 7, id: 0 }), undefined);
});

Deno.test("RouteNames: what is read again unchanged takes no new number, and old numbers are given out again at last", () => {
  const names = new RouteNames();
  assertEquals(Array.from({ length: 100 }, () => names.generationOf(["direct"])), Array(100).fill(0));
  for (let i = 1; i < 65_536; i++) assertEquals(names.generationOf([`upstream ${i}`]), i);
  assertEquals(names.generationOf(["one more"]), 0);
  assertEquals([names.nameOf({ generation: 0, id: 0 }), names.generationOf(["direct"])], ["one more", 1]);
});
