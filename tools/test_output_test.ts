import { assertEquals } from "../tests/assert.ts";
import { countTests, skippedTests } from "./test_output.ts";

/** Runs `deno test` with `flags` on one file and returns what it printed and whether it succeeded. */
async function runTests(source: string, ...flags: string[]): Promise<[output: string, succeeded: boolean]> {
  const folder = await Deno.makeTempDir({ prefix: "pellucid-test-output-" });
  try {
    await Deno.writeTextFile(`${folder}/some_test.ts`, source);
    const { success, stdout, stderr } = await new Deno.Command(Deno.execPath(), {
      args: ["test", "--no-config", "--no-check", ...flags, "some_test.ts"],
      cwd: folder,
      env: { NO_COLOR: "1" },
      signal: AbortSignal.timeout(30_000),
    }).output();
    return [new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr), success];
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("countTests: one for each test, whatever its steps do", async () => {
  const [output, succeeded] = await runTests(`
    Deno.test("passes", () => {});
    Deno.test("has steps", async (t) => {
      await t.step("one", () => {});
      await t.step("two", () => { throw new Error("no"); });
      await t.step({ name: "three", ignore: true, fn() {} });
    });
    Deno.test({ name: "left out: no reason", ignore: true, fn() {} });
    Deno.test("fails", () => { throw new Error("no"); });
  `);
  assertEquals(countTests(output, succeeded), { passed: 1, failed: 2, skipped: 1 });
  assertEquals(skippedTests(output), ["left out: no reason"]);
});

Deno.test("countTests: all passed", async () => {
  const [output, succeeded] = await runTests(`Deno.test("one", () => {}); Deno.test("two", () => {});`);
  assertEquals(countTests(output, succeeded), { passed: 2, failed: 0, skipped: 0 });
});

Deno.test("countTests: a run without a test is a failure, one that skips them all is none", async () => {
  const [filtered, succeeded] = await runTests(`Deno.test("one", () => {});`, "--filter=tow");
  assertEquals([succeeded, countTests(filtered, succeeded)], [true, { passed: 0, failed: 1, skipped: 0 }]);
  const [skipped] = await runTests(`Deno.test({ name: "one", ignore: true, fn() {} });`);
  assertEquals(countTests(skipped, true), { passed: 0, failed: 0, skipped: 1 });
});

Deno.test("countTests: a file that does not load is a failure", async () => {
  const [output, succeeded] = await runTests(`throw new Error("at load");`);
  assertEquals(countTests(output, succeeded), { passed: 0, failed: 1, skipped: 0 });
});

Deno.test("countTests: a run killed half-way is a failure", async () => {
  const [output, succeeded] = await runTests(`
    Deno.test("passes", () => {});
    Deno.test("dies", () => { Deno.kill(Deno.pid, "SIGKILL"); });
  `);
  assertEquals(countTests(output, succeeded), { passed: 0, failed: 1, skipped: 0 });
});

Deno.test("countTests: a failed run without a failed test is a failure", () => {
  // On a busy machine Deno prints this for a test that leaves a throwing timer behind.
  const output = "leaves a timer ... ok (22ms)\nok | 1 passed | 0 failed (43ms)\n\nerror: Error: late\n";
  assertEquals(countTests(output, false), { passed: 1, failed: 1, skipped: 0 });
});

Deno.test("countTests: a summary that a test printed does not count", () => {
  const output =
    "ok | 9 passed | 0 failed (1ms)\nmore\nFAILED | 2 passed (3 steps) | 1 failed (2 steps) (5s)\n";
  assertEquals(countTests(output, false), { passed: 2, failed: 1, skipped: 0 });
});
