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

/** The count of the last summary line (a test may print one of its own); undefined when the run broke off. */
export function readTestCount(output: string): TestCount | undefined {
  for (const line of output.split("\n").reverse()) {
    const match = SUMMARY.exec(line);
    if (match) return { passed: Number(match[1]), failed: Number(match[2]), skipped: Number(match[3] ?? 0) };
  }
  return undefined;
}

/** Names of ignored tests; steps are indented and stay out. */
export function skippedTests(output: string): string[] {
  return [...output.matchAll(/^(\S.*) \.\.\. ignored \(.*\)$/gm)].map((match) => match[1]!);
}
