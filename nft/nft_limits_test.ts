import { assertEquals } from "../tests/assert.ts";
import { type IntentChanges, intentWith } from "../tests/fixtures/intents.ts";
import { buildPlan } from "./build_plan.ts";
import { nftLimits } from "./nft_limits.ts";

Deno.test("nftLimits: an owner's nft drops what is not ASCII, so each such name is refused with its option", () => {
  const issues = (changes: IntentChanges, hold: "owner" | "plain" = "owner") =>
    nftLimits(buildPlan(intentWith(changes)), hold).map(({ option }) => option);
  const outgoing = { include: ["wañ1"], exclude: ["wañ2"] };
  assertEquals(issues({ from: ["lan0", "wañ0"], otherInterfaces: ["wañ3"] }), ["--from", "otherInterfaces"]);
  assertEquals(issues({ local: true, select: { outgoing } }), ["--to", "--exclude-to"]);
  const sidecar = { excludeInterfaces: ["tünnel"], virtualInterfaces: ["växel"] };
  assertEquals(issues({ sidecar }), ["--exclude-interface", "--virtual-interface"]);
  assertEquals(issues({ from: ["lan0"] }), []);
  assertEquals(issues({ from: ["wañ0"] }, "plain"), []);
});
