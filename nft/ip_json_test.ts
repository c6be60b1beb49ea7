import { assert, assertEquals, assertThrows } from "../tests/assert.ts";
import { parseIpJson } from "./ip_json.ts";
import { RuleApplyError } from "./rule_apply_error.ts";

Deno.test("parseIpJson: objects, and nothing of what is none", () => {
  assertEquals(parseIpJson("ip", '[{"ifname":"lo"},{}, null, 3]', "verify"), [{ ifname: "lo" }, {}]);
  assertEquals(parseIpJson("ip", "\n", "verify"), []);
});

Deno.test("parseIpJson: an interface that spoils the output is told of, with the command", () => {
  const text = '[{"ifname":"a\u0001b"}]';
  const error = assertThrows(() => parseIpJson("ip -j addr show", text, "check"), RuleApplyError);
  assert(error instanceof RuleApplyError);
  assertEquals(error.stage, "check");
  assert(/ip -j addr show.*control character/.test(error.message), error.message);
});
