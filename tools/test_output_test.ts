import { assertEquals } from "../tests/assert.ts";
import { readTestCount, skippedTests } from "./test_output.ts";

/** Runs `deno test` on one file and returns what it printed. */
async function runTests(source: string): Promise<string> {
  const folder = await Deno.makeTempDir({ prefix: "pellucid-test-output-" });
  try {
    await Deno.writeTextFile(`${folder}/some_test.ts`, source);
    const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "--no-config", "--no-check", "some_test.ts"],
      cwd: folder,
      env: { NO_COLOR: "1" },
      signal: AbortSignal.timeout(30_000),
    }).output();
    return new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("readTestCount: one for each test, whatever its steps do", async () => {
  const output = await runTests(`
    Deno.test("passes", () => {});
    Deno.test("has steps", async (t) => {
      await t.step("one", () => {});
      await t.step("two", () => { throw new Error("no"); });
      await t.step({ name: "three", ignore: true, fn() {} });
    });
    Deno.test({ name: "left out: no reason", ignore: true, fn() {} });
    Deno.test("fails", () => { throw new Error("no"); });
  `);
  assertEquals(readTestCount(output), { passed: 1, failed: 2, skipped: 1 });
  assertEquals(skippedTests(output), ["left out: no reason"]);
});

Deno.test("readTestCount: a file that does not load is a failure", async () => {
  const output = await runTests(`throw new Error("at load");`);
  assertEquals(readTestCount(output), { passed: 0, failed: 1, skipped: 0 });
});

Deno.test("readTestCount: tests cancelled by a late error are failures", async () => {
  const output = await runTests(`
    Deno.test("leaves a timer", () => { setTimeout(() => { throw new Error("late"); }, 1); });
    Deno.test("waits", () => new Promise((resolve) => setTimeout(resolve, 50)));
  `);
  assertEquals(readTestCount(output)?.skipped, 0);
  assertEquals((readTestCount(output)?.failed ?? 0) > 0, true);
});

Deno.test("readTestCount: a run killed half-way has no count", async () => {
  const output = await runTests(`
    Deno.test("passes", () => {});
    Deno.test("dies", () => { Deno.kill(Deno.pid, "SIGKILL"); });
  `);
  assertEquals(readTestCount(output), undefined);
});

Deno.test("readTestCount: a summary that a test printed does not count", () => {
  const output =
    "ok | 9 passed | 0 failed (1ms)\nmore\nFAILED | 2 passed (3 steps) | 1 failed (2 steps) (5s)\n";
  assertEquals(readTestCount(output), { passed: 2, failed: 1, skipped: 0 });
});
