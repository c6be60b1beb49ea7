/**
 * Reads what `deno test` prints: its count and the names of the tests it left out.
 *
 * The JUnit report is not used because it leaves out a test file that fails to load, and counts each step of
 * a test as one more test.
 *
 * @module
 */

/** Tests, a test with its steps being one. */
export interface TestCount {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

/** `ok | 3 passed (1 step) | 0 failed | 1 ignored (2s)`; a part that is nought may be left out. */
const SUMMARY = /^(?:ok|FAILED) \| (\d+) passed\b[^|]*\| (\d+) failed\b[^|]*(?:\| (\d+) ignored\b)?/;

/**
 * The count of a test run that succeeded or not, by its exit code: that of the last summary line, since a test may
 * print one of its own. A run that failed has at least one failure, also when it broke off without a summary, or
 * when an error that no test waited for ended it behind a summary without failures. So has a run in which there
 * was no test: a mistyped filter must not look like a success.
 */
export function countTests(output: string, succeeded: boolean): TestCount {
  const summary = output.split("\n").reverse().map((line) => SUMMARY.exec(line)).find((match) =>
    match !== null
  );
  if (!summary) return { passed: 0, failed: 1, skipped: 0 };
  const [passed, failed, skipped] = [Number(summary[1]), Number(summary[2]), Number(summary[3] ?? 0)];
  const isWhole = succeeded && passed + failed + skipped > 0;
  return { passed, failed: isWhole ? failed : Math.max(failed, 1), skipped };
}

/** Names of ignored tests; steps are indented and stay out. */
export function skippedTests(output: string): string[] {
  return [...output.matchAll(/^(\S.*) \.\.\. ignored \(.*\)$/gm)].map((match) => match[1]!);
}
