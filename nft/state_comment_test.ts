import { assert, assertEquals } from "../tests/assert.ts";
import { formatState, parseState, type RulesState, splitState } from "./state_comment.ts";

const STATES: readonly [string, RulesState][] = [
  ["intercept 1f0c77a25e9b3d40", {
    phase: "intercept",
    hash: "1f0c77a25e9b3d40",
    onProxyDown: "open",
    by: null,
    sysctls: [],
  }],
  ["drain 00 by 4711/8123456", {
    phase: "drain",
    hash: "00",
    onProxyDown: "open",
    by: "4711/8123456",
    sysctls: [],
  }],
  ["intercept 00 closed by 4711/8123456", {
    phase: "intercept",
    hash: "00",
    onProxyDown: "closed",
    by: "4711/8123456",
    sysctls: [],
  }],
  ["claimed - by 1/2", { phase: "claimed", hash: undefined, onProxyDown: "open", by: "1/2", sysctls: [] }],
  ["intercept 00 closed sysctl net/ipv4/a=0 net/ipv4/conf/eth0/b=", {
    phase: "intercept",
    hash: "00",
    onProxyDown: "closed",
    by: null,
    sysctls: [{ key: "net/ipv4/a", value: "0" }, { key: "net/ipv4/conf/eth0/b", value: "" }],
  }],
];

Deno.test("state: is read back as it was written, with the prefix too", () => {
  for (const [text, state] of STATES) {
    assertEquals(formatState(state), text);
    assertEquals(parseState(text), state);
    assertEquals(parseState(`pellucid: ${text}`), state);
  }
});

Deno.test("state: the comments of older tables are understood", () => {
  assertEquals(parseState("pellucid: claimed 5d1ff9f6-c9d1-4a1e-a4a2-0d9a4a2a1b1f")?.phase, "claimed");
  assertEquals(parseState("pellucid: drain 0123456789abcdef")?.hash, "0123456789abcdef");
  assertEquals(parseState("pellucid: intercept 00 by 1/2")?.onProxyDown, "open");
});

Deno.test("state: what others write is none", () => {
  for (
    const text of [
      "",
      "intercept",
      "pellucid: state",
      "intercept 00 by",
      "intercept 00 by x",
      "drop 00 by 1/2",
    ]
  ) {
    assertEquals(parseState(text), undefined, text);
  }
});

Deno.test("state: a long one is split at spaces, and joined again", () => {
  const line = formatState({
    phase: "intercept",
    hash: "1f0c77a25e9b3d40",
    onProxyDown: "closed",
    by: "4711/8123456",
    sysctls: Array.from({ length: 20 }, (_, i) => ({ key: `net/ipv4/conf/eth${i}/rp_filter`, value: "1" })),
  });
  const pieces = splitState(line, 127);
  assert(pieces.length > 4 && pieces.every((piece) => piece.length <= 127));
  assertEquals(pieces.join(" "), line);
  assertEquals(splitState("drain 00", 127), ["drain 00"]);
});
