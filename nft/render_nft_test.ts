import { assert, assertEquals, assertNotEquals, assertStringIncludes } from "../tests/assert.ts";
import { type IntentChanges, intentWith } from "../tests/fixtures/intents.ts";
import { buildPlan } from "./build_plan.ts";
import { COMMENT_BYTES } from "./check_plan.ts";
import { compareElements, compareTable } from "./nft_differences.ts";
import { nftChains } from "./nft_rules.ts";
import { renderElements, renderNewTable, renderSwitch } from "./nft_transactions.ts";
import { singleLine } from "./owner_session.ts";
import type { Plan } from "./plan.ts";
import { planHash, renderNft } from "./render_nft.ts";
import { isOurs, parseTables, tableState } from "./table_listing.ts";

const CHANGES: IntentChanges = {
  udp: "tproxy",
  udpWorkers: 2,
  from: ["lan0", "lan1"],
  local: true,
  source: "keep",
  otherInterfaces: ["wan0"],
};
const PLAN = buildPlan(intentWith(CHANGES));
const NOBODY = { by: null, isOwned: false };

Deno.test("planHash: changes with the rules and the phase alone", () => {
  const hash = (changes: IntentChanges) =>
    planHash(buildPlan(intentWith({ ...CHANGES, ...changes })), "intercept");
  assertEquals(hash({}), hash({}));
  assertEquals(hash({ tableName: "other" }), hash({}));
  assertNotEquals(hash({ port: 7871 }), hash({}));
  assertNotEquals(hash({ from: ["lan0"] }), hash({}));
  assertNotEquals(planHash(PLAN, "drain"), hash({}));
});

/** As nft lists what is loaded: hooks' priorities as numbers. */
function asListed(text: string): string {
  return text.replaceAll("priority raw", "priority -300").replaceAll("priority mangle", "priority -150")
    .replaceAll("priority filter", "priority 0");
}

Deno.test("renderNft: reads back as the table it is", () => {
  for (const phase of ["intercept", "drain"] as const) {
    for (const hold of ["owner", "plain"] as const) {
      const [table] = parseTables(asListed(renderNft(PLAN, phase, hold)));
      assert(table !== undefined && isOurs(table));
      assertEquals([table.name, table.isOwned], ["pellucid", hold === "owner"]);
      assertEquals(tableState(table), {
        phase,
        hash: planHash(PLAN, phase),
        onProxyDown: "open",
        by: null,
        sysctls: [],
      });
      assertEquals(compareTable(PLAN, phase, NOBODY, table), []);
    }
  }
});

Deno.test("renderNft: no chains, no text", () => {
  assertEquals(renderNft(buildPlan(intentWith({ tcp: "off" })), "intercept", "owner"), "");
});

Deno.test("renderNft: sets stand before the chains that ask for them, with their elements", () => {
  const text = renderNft(withSet("first_4"), "intercept", "plain");
  assertStringIncludes(text, "set first_4 {\n\t\ttype ipv4_addr; flags interval;\n\t\telements = {");
  assert(text.indexOf("set first_4") < text.indexOf("@first_4"));
});

Deno.test("nftChains: many interfaces do not overflow the kernel's comment", () => {
  const from = Array.from({ length: 40 }, (_, i) => `interface-nr-${i}`);
  for (const chain of nftChains(buildPlan(intentWith({ ...CHANGES, from })), "intercept")) {
    for (const { comment } of chain.rules) assert(comment.length <= COMMENT_BYTES, comment);
  }
});

Deno.test("nftChains: each rule of the plan has one counter", () => {
  const counted = nftChains(PLAN, "intercept").flatMap((chain) => chain.rules)
    .flatMap(({ text, counts }) => {
      assertEquals(/ ?\bcounter\b/.test(text), counts !== undefined, text);
      return counts === undefined ? [] : [`${counts.chain}/${counts.rule}`];
    });
  const rules = PLAN.chains.flatMap((chain) => chain.rules.map((rule) => `${chain.name}/${rule.id}`));
  assertEquals(counted.toSorted(), rules.toSorted());
});

/** Drops what goes to the addresses of a set of that name. */
function withSet(name: string): Plan {
  return {
    ...PLAN,
    chains: [{
      name: "dropping",
      type: "filter",
      hook: "prerouting",
      priority: "raw",
      interfaces: "any",
      why: "Everything.",
      rules: [{
        id: "dropped",
        during: "intercept",
        matches: [{ kind: "addressSet", side: "destination", set: name }],
        verdict: { kind: "drop" },
        why: "to be lost",
      }],
    }],
    sets: [{ name, family: 4, prefixes: ["192.0.2.0/24", "198.51.100.1/32"], why: "Addresses." }],
  };
}

Deno.test("renderSwitch: takes the state that was read, keeps what stays, deletes what nobody asks for", () => {
  const listed = `table inet pellucid { # handle 1
	comment "pellucid: chain state says what is loaded"

	set old_4 { # handle 9
		type ipv4_addr
		flags interval
	}

	set first_4 { # handle 10
		type ipv4_addr
		flags interval
	}

	chain state { # handle 2
		return comment "intercept 00 by 1/2" # handle 7
	}

	chain dropping { # handle 3
		type filter hook prerouting priority -300; policy accept;
		ip daddr @old_4 counter packets 3 bytes 90 drop comment "dropped: to be lost" # handle 8
	}

	chain gone { # handle 4
		type filter hook output priority -150; policy accept;
	}
}`;
  const [found] = parseTables(listed);
  assert(found !== undefined);
  assertEquals([...found.usedSets], ["old_4"]);
  assertEquals(found.chains[1]?.rules, [{
    comment: "dropped: to be lost",
    handle: 8,
    packets: 3,
    bytes: 90,
  }]);
  const state = { phase: "intercept", hash: "11", onProxyDown: "open", by: "1/2", sysctls: [] } as const;
  const table = { tableName: "pellucid", hold: "owner" } as const;
  assertEquals(renderSwitch(table, found, withSet("first_4"), "intercept", state).split("\n"), [
    "delete rule inet pellucid state handle 7",
    "flush table inet pellucid",
    "delete chain inet pellucid gone",
    "table inet pellucid {",
    "\tflags owner",
    "\tchain state {",
    '\t\treturn comment "intercept 11 by 1/2"',
    "\t}",
    "\t# Everything.",
    "\tchain dropping {",
    "\t\ttype filter hook prerouting priority raw; policy accept;",
    '\t\tip daddr @first_4 counter drop comment "dropped: to be lost"',
    "\t}",
    "}",
    "delete set inet pellucid old_4",
  ]);
  // In another phase no rule asks for either set, and the chain is hooked as before.
  assertEquals(renderSwitch(table, found, withSet("first_4"), "drain", state).split("\n").slice(-2), [
    "delete set inet pellucid old_4",
    "delete set inet pellucid first_4",
  ]);
});

Deno.test("renderNewTable: fails where there is something after all, unless it may be replaced", () => {
  const state = { phase: "claimed", hash: undefined, onProxyDown: "open", by: "1/2", sysctls: [] } as const;
  const text = renderNewTable({ tableName: "pellucid", hold: "plain" }, state, "nothing");
  assertEquals(
    text.split("\n")[0],
    'create table inet pellucid { comment "pellucid: chain state says what is loaded"; }',
  );
  const lines = renderNewTable({ tableName: "pellucid", hold: "owner" }, state, "anything").split("\n");
  assertEquals(lines.slice(0, 2), ["add table inet pellucid", "delete table inet pellucid"]);
});

Deno.test("renderElements: adds to the set, or begins it anew", () => {
  const table = { tableName: "pellucid", hold: "plain" } as const;
  const set = withSet("first_4").sets[0]!;
  const added =
    "add set inet pellucid first_4 { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 }; }";
  assertEquals(renderElements(table, set, ["192.0.2.0/24"], false), added);
  assertEquals(renderElements(table, set, ["192.0.2.0/24"], true).split("\n"), [
    "add set inet pellucid first_4 { type ipv4_addr; flags interval; }",
    "flush set inet pellucid first_4",
    added,
  ]);
});

Deno.test("compareElements: as nft prints them", () => {
  const set = withSet("first_4").sets[0]!;
  assert(compareElements(set, ["198.51.100.1", "192.0.2.0/24"]));
  assert(!compareElements(set, ["198.51.100.2", "192.0.2.0/24"]));
  assert(!compareElements(set, ["192.0.2.0/24"]));
  assert(!compareElements(set, ["192.0.2.0-192.0.2.254", "198.51.100.1"]));
  const mapped = { ...set, family: 6, prefixes: ["::102:304/128"] } as const;
  // As inet_ntop(3) writes it.
  assert(compareElements(mapped, ["::1.2.3.4"]));
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
    "\tchain a {",
    "\t}",
    "}",
    "table inet other {",
    "\tflags dormant",
    "\tset s {",
    "\t\ttype ipv4_addr",
    '\t\tcomment "pellucid: x"',
    "\t}",
    "}",
    "table inet mine { # progname nft",
    "\tflags owner",
    '\tcomment "pellucid: drain 1"',
    "\tchain a {",
    '\t\tcomment "theirs"',
    "\t\ttype filter hook output priority -300; policy drop;",
    '\t\tip daddr @s accept comment "not @t" # handle 3',
    "\t\tdrop # handle 4",
    "\t}",
    "}",
  ].join("\n");
  const tables = parseTables(text);
  assertEquals(
    tables.map(({ name, comment, isOwned, isDormant, sets }) => [name, comment, isOwned, isDormant, sets]),
    [
      ["other", "", false, true, ["s"]],
      ["mine", "pellucid: drain 1", true, false, []],
    ],
  );
  const mine = tables[1]!;
  assertEquals([...mine.usedSets], ["s"]);
  assertEquals(tableState(mine), { phase: "drain", hash: "1", onProxyDown: "open", by: null, sysctls: [] });
  assertEquals(mine.chains, [{
    name: "a",
    place: "type filter hook output priority -300",
    policy: "drop",
    rules: [{ comment: "not @t", handle: 3, packets: 0, bytes: 0 }, {
      comment: "",
      handle: 4,
      packets: 0,
      bytes: 0,
    }],
  }]);
});
