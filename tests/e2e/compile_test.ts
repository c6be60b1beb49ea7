/**
 * The compiled binary: that it starts, and that its workers, which are named by URL and not imported, are in it.
 *
 * `deno compile` needs Deno's bare runtime, which it downloads from elsewhere than npm. So this runs where that
 * runtime is at hand: in Deno's cache after a first `deno task compile`, or where DENORT_BIN says.
 */
import { assertEquals, assertMatch } from "../assert.ts";

const ROOT = new URL("../..", import.meta.url).pathname;

function hasRuntime(): boolean {
  const named = Deno.env.get("DENORT_BIN");
  if (named !== undefined) return true;
  const cache = Deno.env.get("DENO_DIR") ??
    `${Deno.env.get("XDG_CACHE_HOME") ?? `${Deno.env.get("HOME")}/.cache`}/deno`;
  try {
    return Deno.statSync(`${cache}/dl/release/v${Deno.version.deno}/denort-${Deno.build.target}.zip`).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function output(
  program: string,
  args: string[],
  limitMs: number,
): Promise<{ code: number; text: string }> {
  const { code, stdout, stderr } = await new Deno.Command(program, {
    args,
    cwd: ROOT,
    env: { NO_COLOR: "1" },
    signal: AbortSignal.timeout(limitMs),
  }).output();
  return { code, text: new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr) };
}

Deno.test({
  name:
    "deno compile: the binary starts and carries connections (needs Deno's runtime in its cache, or DENORT_BIN)",
  ignore: !hasRuntime(),
  async fn() {
    const folder = await Deno.makeTempDir({ prefix: "pellucid-compile-" });
    try {
      const binary = `${folder}/pellucid`;
      const compiled = await output(
        Deno.execPath(),
        ["compile", "-A", "--output", binary, "mod.ts"],
        120_000,
      );
      assertEquals(compiled.code, 0, compiled.text);
      const version = await output(binary, ["version"], 20_000);
      assertEquals(version.code, 0, version.text);
      assertMatch(version.text, /^pellucid \d+\.\d+\.\d+/);
      const demo = await output(binary, ["demo"], 60_000);
      assertEquals(demo.code, 0, demo.text);
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
});
