import { assert, assertEquals } from "../tests/assert.ts";
import { farPort } from "./dial.ts";

Deno.test("farPort: each port has one of its own, which has it in turn", () => {
  const seen = new Set<number>();
  for (let port = 1024; port < 65_536; port++) {
    const far = farPort(port);
    assert(far >= 1024 && far < 65_536, `${port}: ${far}`);
    assertEquals(farPort(far), port);
    seen.add(far);
  }
  assertEquals(seen.size, 65_536 - 1024);
});

Deno.test("farPort: never one that the same client draws for itself", () => {
  for (const [first, last] of [[32_768, 60_999], [49_152, 65_535]] as const) {
    for (let port = first; port <= last; port++) {
      const far = farPort(port);
      assert(far < first || far > last, `${port}: ${far}`);
    }
  }
});

Deno.test("farPort: a privileged port has one that is not", () => {
  for (const port of [0, 1, 22, 1023]) assert(farPort(port) >= 1024);
});
