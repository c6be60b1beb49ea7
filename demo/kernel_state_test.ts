import { assertEquals } from "../tests/assert.ts";
import { addedLines, judgeCleanup, type KernelState } from "./kernel_state.ts";

const BEFORE: KernelState = {
  "nft tables": [],
  "ip rules": ["0: from all lookup local", "32766: from all lookup main"],
  "ip routes": ["default via 198.18.0.2 dev wan0"],
};
const DURING: KernelState = {
  "nft tables": ["table inet pellucid"],
  "ip rules": [...BEFORE["ip rules"], "90: from all fwmark 0x1000000/0x3000000 lookup 7873"],
  "ip routes": [...BEFORE["ip routes"], "local default dev lo table 7873"],
};

Deno.test("addedLines: what is new, by kind", () => {
  assertEquals(addedLines(BEFORE, DURING, "nft tables"), ["table inet pellucid"]);
  assertEquals(addedLines(BEFORE, DURING, "ip rules").length, 1);
  assertEquals(addedLines(DURING, BEFORE, "ip rules"), []);
});

Deno.test("judgeCleanup: as before, and something was there in between", () => {
  assertEquals(judgeCleanup(BEFORE, DURING, BEFORE), []);
});

Deno.test("judgeCleanup: names what is left, what is lost, and a proof of nothing", () => {
  assertEquals(judgeCleanup(BEFORE, DURING, { ...BEFORE, "ip routes": DURING["ip routes"] }), [
    "ip routes: left behind: local default dev lo table 7873",
  ]);
  assertEquals(judgeCleanup(BEFORE, DURING, { ...BEFORE, "nft tables": DURING["nft tables"] }), [
    "nft tables: left behind: table inet pellucid",
  ]);
  assertEquals(judgeCleanup(BEFORE, DURING, { ...BEFORE, "ip routes": [] }), [
    "ip routes: lost: default via 198.18.0.2 dev wan0",
  ]);
  assertEquals(judgeCleanup(BEFORE, BEFORE, BEFORE), [
    "nft tables: none found while the proxy ran, one wanted",
  ]);
});
