import { defaultRunConfig } from "../config/mod.ts";
import { planFor } from "../control/mod.ts";
import { type BackendName, BACKENDS, openBackend } from "../nft/mod.ts";
import { FakeExec } from "../nft/fake_exec.ts";
import { renderScript } from "./rules_script.ts";
import { assert, assertEquals } from "../tests/assert.ts";

/** Names that the kernel takes for interfaces. */
const NAMES = ["$(id>x)", "a;b", "a'b", "x`y`", "&a", "#lan", "-x", "a|b"];

/** What a shell gives to `ip` when it runs `script`. */
async function argumentsOfIp(script: string, argument: string): Promise<string[]> {
  // Functions in place of the programs: nothing of the host is touched.
  const head = 'ip() { printf "%s\\n" "$*"; }\nnft() { [ "$1" = -t ] || cat >/dev/null; }\n';
  const shell = new Deno.Command("sh", {
    args: ["-c", head + script, "sh", argument],
    // Without sbin, where the tools are that read what is in place.
    env: { PATH: "/usr/bin:/bin" },
    signal: AbortSignal.timeout(10_000),
  });
  const { code, stdout, stderr } = await shell.output();
  assertEquals([code, new TextDecoder().decode(stderr)], [0, ""]);
  return new TextDecoder().decode(stdout).trimEnd().split("\n");
}

/** The script for one interface. */
async function scriptFor(name: string, backend: BackendName): Promise<string> {
  const plan = await planFor({ ...defaultRunConfig(), from: [name], tcp: "redirect" });
  // Nothing is run to write a script.
  const life = { exec: new FakeExec(), hold: "plain", by: null, sysctls: [], afterwards: "" } as const;
  const { tableName } = plan.intent;
  return renderScript(plan, openBackend(backend, { ...life, tableName, ipv6: true }));
}

Deno.test("renderScript: a shell takes every interface name as a name, in what undoes it too", async () => {
  for (const name of NAMES) {
    const script = await scriptFor(name, "nft");
    for (const [argument, verb] of [["apply", "add"], ["undo", "del"]] as const) {
      const lines = (await argumentsOfIp(script, argument)).filter((line) => line.includes(`rule ${verb} `));
      assertEquals(lines.length, 2, name);
      for (const line of lines) assert(line.includes(` iif ${name} lookup 7873 `), line);
    }
  }
});

Deno.test("renderScript: a command that fails ends it", async () => {
  const script = await scriptFor("eth1", "nft");
  const head = "ip() { false; }\nnft() { echo loaded; }\n";
  const shell = new Deno.Command("sh", {
    args: ["-c", head + script],
    env: { PATH: "/usr/bin:/bin" },
    signal: AbortSignal.timeout(10_000),
  });
  const { code, stdout } = await shell.output();
  assertEquals([code, new TextDecoder().decode(stdout)], [1, ""]);
});

Deno.test("renderScript: a shell understands it on every backend; another argument is refused", async () => {
  for (const backend of BACKENDS) {
    const script = await scriptFor("eth1", backend);
    const syntax = new Deno.Command("sh", {
      args: ["-n", "-c", script],
      signal: AbortSignal.timeout(10_000),
    });
    assertEquals((await syntax.output()).code, 0, backend);
    const refused = new Deno.Command("sh", {
      args: ["-c", script, "sh", "other"],
      signal: AbortSignal.timeout(10_000),
    });
    assertEquals((await refused.output()).code, 2, backend);
  }
});
