/**
 * The gate: every check and every test, in one run, with one count at the end.
 *
 *     deno task ok                               everything
 *     deno task test [--filter TEXT] [PATH…]   tests only, all of them or those named
 *
 * Each step is a `deno` command of its own. Its output is kept and shown only if it fails, after all steps have
 * run, so that one run names everything that is wrong. The last line is `N passed, N failed`, with
 * `, N skipped` where tests were left out: tests are counted as `deno test` counts them (a test with its steps
 * is one), and a failed check, or a test run that broke off without a count or had no test at all, counts as one
 * failure.
 *
 * @module
 */
import { parseArgs } from "@std/cli/parse-args";
import { countTests, skippedTests, type TestCount } from "./test_output.ts";

interface Step {
  readonly name: string;
  /** Arguments to `deno`. */
  readonly args: readonly string[];
  readonly countsTests: boolean;
  /** Test files side by side; undefined: as many as there are processors. */
  readonly jobs?: number;
}

interface Outcome {
  readonly step: Step;
  readonly ok: boolean;
  readonly count: TestCount;
  readonly output: string;
}

/**
 * The whole run; the step that is running then is stopped, and what has not started fails. Half as long again as a
 * run should take: machines are slow at times, and that is no fault of the tests.
 */
const RUN_LIMIT_MS = 900_000;
/** After SIGTERM, before SIGKILL. */
const STOP_GRACE_MS = 3_000;

const CHECKS: readonly Step[] = [
  check("format", "fmt", "--check"),
  check("lint", "lint"),
  check("types", "check", "."),
  check("import rules", "run", "-A", "tools/check_imports.ts"),
  check("documentation", "doc", "--lint", "mod.ts"),
];

/** Files side by side where most of the time is spent waiting, for timeouts and for other programs. */
const UNIT_JOBS = 4, E2E_JOBS = 3;

const KERNEL_TIERS: readonly { readonly folder: string; readonly jobs?: number }[] = [
  { folder: "tests/parity" },
  { folder: "tests/kernel" },
  { folder: "tests/e2e", jobs: E2E_JOBS },
  { folder: "tests/fuzz" },
];

/** Of what a step prints that succeeds, the lines that everybody is to see. */
const SHOWN = /^parity: .*$/gm;

/** Cheapest first: a broken unit is named before the kernel is asked. What is in no tier is a unit test. */
const TESTS: readonly Step[] = [
  { ...tests("unit tests", [`--ignore=${KERNEL_TIERS.map(({ folder }) => folder)}`]), jobs: UNIT_JOBS },
  ...KERNEL_TIERS.map(({ folder, ...jobs }) => ({ ...tests(folder, [folder]), ...jobs })),
];

function check(name: string, ...args: string[]): Step {
  return { name, args, countsTests: false };
}

/** Types are a step of their own, so the test runs don't check them again. */
function tests(name: string, args: readonly string[]): Step {
  return { name, args: ["test", "-A", "--no-check", "--parallel", ...args], countsTests: true };
}

async function main(args: string[]): Promise<number> {
  const steps = chooseSteps(args);
  const deadline = performance.now() + RUN_LIMIT_MS;
  const nameWidth = Math.max(...steps.map((step) => step.name.length));
  const outcomes: Outcome[] = [];
  for (const step of steps) {
    write(`${step.name.padEnd(nameWidth)}  `);
    const startedAt = performance.now();
    const outcome = await runStep(step, deadline - startedAt);
    const seconds = ((performance.now() - startedAt) / 1000).toFixed(1).padStart(6);
    write(`${seconds} s  ${describe(outcome)}\n`);
    if (outcome.ok) { for (const [line] of outcome.output.matchAll(SHOWN)) write(`  ${line}\n`); }
    outcomes.push(outcome);
  }
  return report(outcomes);
}

function chooseSteps(args: string[]): readonly Step[] {
  if (args.length === 0) return [...CHECKS, ...TESTS];
  const { _: [mode, ...paths], filter, ...rest } = parseArgs(args, { string: ["filter", "_"] });
  const unknown = Object.keys(rest)[0];
  if (mode !== "test" || unknown !== undefined) {
    console.error(
      `gate: unknown argument: ${unknown ?? mode}; wanted nothing, or test [--filter TEXT] [PATH...]`,
    );
    Deno.exit(2);
  }
  if (paths.length === 0 && filter === undefined) return TESTS;
  const selection = [...(filter === undefined ? [] : [`--filter=${filter}`]), ...paths.map(String)];
  return [tests(["tests", ...selection].join(" "), selection)];
}

async function runStep(step: Step, limitMs: number): Promise<Outcome> {
  if (limitMs <= 0) return { step, ok: false, count: ONE_FAILURE, output: "not started: no time left\n" };
  const child = new Deno.Command(Deno.execPath(), {
    args: [...step.args],
    env: { NO_COLOR: "1", ...(step.jobs === undefined ? {} : { DENO_JOBS: String(step.jobs) }) },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let stopped = false;
  const stop = setTimeout(() => {
    stopped = true;
    child.kill("SIGTERM");
  }, limitMs);
  const kill = setTimeout(() => child.kill("SIGKILL"), limitMs + STOP_GRACE_MS);
  const abandon = () => {
    child.kill("SIGTERM");
    Deno.exit(143);
  };
  Deno.addSignalListener("SIGTERM", abandon);
  const output: string[] = [];
  const collected = Promise.all([collect(child.stdout, output), collect(child.stderr, output)]);
  const status = await child.status;
  clearTimeout(stop);
  clearTimeout(kill);
  Deno.removeSignalListener("SIGTERM", abandon);
  // A process that a test left behind may hold the pipes open: what it would say is not waited for.
  await Promise.race([collected, new Promise((resolve) => setTimeout(resolve, STOP_GRACE_MS))]);
  if (stopped) output.push(`\nstopped: the run is limited to ${RUN_LIMIT_MS / 1000} s\n`);
  return judge(step, status.success, output.join(""));
}

/** Both streams go into one list, in the order in which they arrive. */
async function collect(stream: ReadableStream<Uint8Array>, into: string[]): Promise<void> {
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) into.push(chunk);
}

const NOTHING: TestCount = { passed: 0, failed: 0, skipped: 0 };
const ONE_FAILURE: TestCount = { passed: 0, failed: 1, skipped: 0 };

function judge(step: Step, succeeded: boolean, output: string): Outcome {
  const count = step.countsTests ? countTests(output, succeeded) : succeeded ? NOTHING : ONE_FAILURE;
  return { step, ok: count.failed === 0, count, output };
}

function describe({ step, ok, count }: Outcome): string {
  if (!step.countsTests) return ok ? "ok" : "FAILED";
  return `${ok ? "ok" : "FAILED"}  ${formatCount(count)}`;
}

function formatCount({ passed, failed, skipped }: TestCount): string {
  return `${passed} passed, ${failed} failed${skipped > 0 ? `, ${skipped} skipped` : ""}`;
}

function report(outcomes: readonly Outcome[]): number {
  for (const { step, output } of outcomes.filter((outcome) => !outcome.ok)) {
    write(`\n--- ${step.name}: deno ${step.args.join(" ")}\n${output.trimEnd()}\n`);
  }
  const skipped = outcomes.filter(({ step }) => step.countsTests).flatMap(({ output }) =>
    skippedTests(output)
  );
  if (skipped.length > 0) write(`\nskipped:\n${skipped.map((name) => `  ${name}\n`).join("")}`);
  const total = outcomes.reduce((sum, { count }) => ({
    passed: sum.passed + count.passed,
    failed: sum.failed + count.failed,
    skipped: sum.skipped + count.skipped,
  }), NOTHING);
  write(`\n${formatCount(total)}\n`);
  return total.failed === 0 ? 0 : 1;
}

function write(text: string): void {
  const bytes = new TextEncoder().encode(text);
  for (let written = 0; written < bytes.length;) written += Deno.stdout.writeSync(bytes.subarray(written));
}

if (import.meta.main) {
  Deno.chdir(new URL("..", import.meta.url));
  Deno.exit(await main(Deno.args));
}
