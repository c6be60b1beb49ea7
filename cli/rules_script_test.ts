import { defaultRunConfig } from "../config/mod.ts";
import { planFor } from "../control/mod.ts";
import { renderScript } from "./rules_script.ts";
import { assert, assertEquals } from "../tests/assert.ts";

/** Names that the kernel takes for interfaces. */
const NAMES = ["$(id>x)", "a;b", "a'b", "x`y`", "&a", "#lan", "-x", "a|b"];

/** What a shell gives to `ip` when it runs `script`. */
async function argumentsOfIp(script: string): Promise<string[]> {
  // Functions in place of the programs: nothing of the host is touched.
  const head = 'ip() { printf "%s\\n" "$*"; }\nnft() { cat >/dev/null; }\n';
  const shell = new Deno.Command("sh", { args: ["-c", head + script], signal: AbortSignal.timeout(10_000) });
  const { code, stdout, stderr } = await shell.output();
  assertEquals([code, new TextDecoder().decode(stderr)], [0, ""]);
  return new TextDecoder().decode(stdout).trimEnd().split("\n");
}

Deno.test("renderScript: a shell takes every interface name as a name, in what undoes it too", async () => {
  for (const name of NAMES) {
    const plan = planFor({ ...defaultRunConfig(), from: [name] });
    const script = renderScript(plan, "plain");
    const undo = script.slice(script.indexOf("# To undo")).split("\n").slice(1).map((line) => line.slice(1));
    for (const [text, verb] of [[script, "add"], [undo.join("\n"), "del"]] as const) {
      const lines = (await argumentsOfIp(text)).filter((line) => line.includes(`rule ${verb} `));
      assertEquals(lines.length, 2, name);
      for (const line of lines) assert(line.includes(` iif ${name} lookup 7873 `), line);
    }
  }
});

Deno.test("renderScript: a command that fails ends it", async () => {
  const script = renderScript(planFor({ ...defaultRunConfig(), from: ["eth1"] }), "plain");
  const head = "ip() { false; }\nnft() { echo loaded; }\n";
  const shell = new Deno.Command("sh", { args: ["-c", head + script], signal: AbortSignal.timeout(10_000) });
  const { code, stdout } = await shell.output();
  assertEquals([code, new TextDecoder().decode(stdout)], [1, ""]);
});
