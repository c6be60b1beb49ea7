import { assertEquals, assertThrows } from "../tests/assert.ts";
import { cpuMask, parseCpuPlacement, steeringSysctls } from "./cpu_placement.ts";

Deno.test("cpuMask: numbers and ranges", () => {
  assertEquals(cpuMask("0"), "1");
  assertEquals(cpuMask("0,2-3"), "d");
  assertEquals(cpuMask("31"), "80000000");
  for (const list of ["", "a", "3-1", "32", "1,,2", "-1"]) assertThrows(() => cpuMask(list), RangeError);
});

Deno.test("parseCpuPlacement: two lists", () => {
  const { relay, load } = parseCpuPlacement("2-3:0");
  assertEquals([relay, load], ["2-3", "0"]);
  for (const text of ["0", "0:", "0:1:2", "x:y"]) assertThrows(() => parseCpuPlacement(text), RangeError);
});

Deno.test("steeringSysctls: only where packets are steered", () => {
  const key = "net/core/rps_default_mask";
  assertEquals(steeringSysctls({ relay: "0", load: "1", steers: true }, "0,1"), { [key]: "3" });
  assertEquals(steeringSysctls({ relay: "0", load: "1", steers: false }, "0"), {});
  assertEquals(steeringSysctls(undefined, "0"), {});
});
