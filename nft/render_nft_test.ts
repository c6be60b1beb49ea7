import { assert, assertEquals, assertNotEquals } from "../tests/assert.ts";
import { buildPlan } from "./build_plan.ts";
import { singleLine } from "./owner_session.ts";
import { DEFAULT_KERNEL_NUMBERS, type InterceptIntent } from "./plan.ts";
import { chainComments, renderNft, tableComment } from "./render_nft.ts";
import { isOurs, parseTables } from "./table_listing.ts";

const INTENT: InterceptIntent = {
  tcp: "tproxy",
  udp: "tproxy",
  udpPorts: [],
  udpWorkers: 2,
  from: ["lan0", "lan1"],
  local: true,
  port: 7870,
  source: "keep",
  otherInterfaces: ["wan0"],
  ...DEFAULT_KERNEL_NUMBERS,
};

Deno.test("renderNft: the hash in the comment changes with the rules and the phase alone", () => {
  const comment = (changes: Partial<InterceptIntent>) =>
    tableComment(buildPlan({ ...INTENT, ...changes }), "intercept");
  assertEquals(comment({}), comment({}));
  assertEquals(comment({ tableName: "other" }), comment({}));
  assertNotEquals(comment({ port: 7871 }), comment({}));
  assertNotEquals(comment({ from: ["lan0"] }), comment({}));
  assertNotEquals(tableComment(buildPlan(INTENT), "drain"), comment({}));
});

Deno.test("renderNft: reads back as the table it is", () => {
  const plan = buildPlan(INTENT);
  for (const phase of ["intercept", "drain"] as const) {
    for (const hold of ["owner", "plain"] as const) {
      const [table] = parseTables(renderNft(plan, phase, hold));
      assert(table !== undefined && isOurs(table));
      assertEquals([table.name, table.comment, table.owned], [
        "pellucid",
        tableComment(plan, phase),
        hold === "owner",
      ]);
      assertEquals(
        table.chains,
        plan.chains.map((chain) => ({ name: chain.name, ruleComments: chainComments(chain, phase) })),
      );
    }
  }
});

Deno.test("renderNft: no chains, no text", () => {
  assertEquals(renderNft(buildPlan({ ...INTENT, tcp: "off", udp: "off" }), "intercept", "owner"), "");
});

Deno.test("chainComments: many interfaces do not overflow the kernel's comment", () => {
  const from = Array.from({ length: 40 }, (_, i) => `interface-nr-${i}`);
  for (const chain of buildPlan({ ...INTENT, from }).chains) {
    for (const comment of chainComments(chain, "intercept")) assert(comment.length <= 127, comment);
  }
});

Deno.test("singleLine: comments go, statements are separated", () => {
  assertEquals(
    singleLine(
      'table inet x {\n\t# why\n\tchain c {\n\t\ttype t; policy accept;\n\t\taccept comment "a # b"\n\t}\n}\n',
    ),
    'table inet x { chain c { type t; policy accept; accept comment "a # b"; }; };',
  );
});

Deno.test("parseTables: other families and tables are not confused with ours", () => {
  const text = [
    "table ip pellucid {",
    '\tcomment "pellucid: intercept 0"',
    "}",
    "table inet other {",
    "\tset s {",
    "\t\ttype ipv4_addr",
    '\t\tcomment "pellucid: x"',
    "\t}",
    "}",
    "table inet mine { # progname nft",
    "\tflags owner",
    '\tcomment "pellucid: drain 1"',
    "\tchain a {",
    "\t\ttype filter hook output priority raw; policy accept;",
    '\t\taccept comment "one" # handle 3',
    "\t\tdrop",
    "\t}",
    "}",
  ].join("\n");
  assertEquals(parseTables(text), [
    { name: "other", comment: "", owned: false, chains: [] },
    {
      name: "mine",
      comment: "pellucid: drain 1",
      owned: true,
      chains: [{ name: "a", ruleComments: ["one", ""] }],
    },
  ]);
});
