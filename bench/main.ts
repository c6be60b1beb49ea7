/**
 * Benchmarks: `./dev bench tcp`, `./dev bench udp`, `./dev bench socks`, `./dev bench rules`, `./dev bench policy`, or
 * `deno run -A bench/main.ts tcp --help`.
 *
 * Runs in throw-away network namespaces, without root. A Markdown table goes to standard output, progress to standard
 * error, every single sample to bench/results/. What each figure means is said in tcp_measures.ts, udp_measures.ts
 * and socks_measures.ts, who takes part in the files named _contestants.
 *
 * @module
 */
import { parseArgs } from "node:util";
import type { Probe } from "./contestant.ts";
import { type CpuPlacement, describePlacement, parseCpuPlacement } from "./cpu_placement.ts";
import { describeMachine, type Machine, sampleBusyness } from "./machine.ts";
import type { Measure, Sample } from "./measure.ts";
import { buildNative, NativeBuildError } from "./native.ts";
import { renderBusy, renderReport } from "./report.ts";
import { type RoundResult, runRounds, type Schedule } from "./rounds.ts";
import { type Suite, takesPart } from "./suite.ts";
import { SUITES } from "./suites.ts";

const RESULTS = new URL("results/", import.meta.url);

/** Idle connections or sessions wanted; fewer where descriptors are short. */
const IDLE = 9_000;
/** Descriptors a relay needs beside theirs. */
const DESCRIPTORS_KEPT = 1_000;
/** More than this part of the CPUs in use before we begin makes figures that nobody should trust. */
const QUIET = 0.1;

/** The command line cannot be understood. */
class UsageError extends Error {}

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parse(args);
  if (positionals[0] === "rules" && positionals.length === 1 && values.help !== true) {
    const { benchRules, FULL, QUICK } = await import("./rules.ts");
    console.log(await benchRules(values.quick === true ? QUICK : FULL));
    return 0;
  }
  if (positionals[0] === "policy" && positionals.length === 1 && values.help !== true) {
    const { benchPolicy, FULL, QUICK } = await import("./policy.ts");
    console.log(benchPolicy(values.quick === true ? QUICK : FULL));
    return 0;
  }
  const suite = SUITES.find(({ name }) => name === positionals[0]);
  if (suite === undefined || positionals.length !== 1 || values.help === true) {
    (values.help ? console.log : console.error)(renderUsage(suite));
    return values.help ? 0 : 2;
  }
  const { rounds: usualRounds, durations } = values.quick ? suite.quick : suite.full;
  const rounds = Number(values.rounds ?? usualRounds);
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new UsageError(`--rounds: "${values.rounds}" is no count`);
  }
  const chosenMeasures = choose("--only", suite.measures, values.only);
  const chosenContestants = choose("--contestants", suite.contestants, values.contestants)
    .filter(({ onlyByName }) => values.contestants !== undefined || onlyByName !== true);
  const cpus = parseCpus(values.cpus, values["no-steering"] !== true);

  const native = await buildNative();
  const machine = await describeMachine();
  const versions: Record<string, string> = {};
  const contestants = await probeAll(chosenContestants, ({ title }) => title, versions);
  const measures = await probeAll(chosenMeasures, ({ name }) => name, versions);
  const busy = await sampleBusyness();
  if (busy > QUIET) {
    console.error(
      `bench: ${Math.round(100 * busy)} % of the CPUs is in use by others: the figures will be noise`,
    );
  }
  const descriptors = machine.descriptors;
  const idle = Math.min(IDLE, Math.floor((descriptors - DESCRIPTORS_KEPT) / 2));
  const servers = new Set([...suite.site.servers, ...measures.flatMap(({ servers }) => servers ?? [])]);
  const site = { ...suite.site, servers: [...servers] };
  const date = new Date();

  const results: RoundResult[] = [];
  const schedule: Schedule = {
    ...{ contestants, measures, rounds, durations, site, verify: suite.verify },
    takesPart: (contestant, measure) => takesPart(suite, contestant, measure),
  };
  for await (const result of runRounds(schedule, { native, cpus, idle, descriptors })) {
    results.push(result);
    console.error(renderProgress(result, rounds, measures));
  }
  const busyness = `${Math.round(100 * busy)} % of the CPUs in use by others just before`;
  const circumstances = [
    `${date.toISOString().slice(0, 10)}, ${describe(machine)}; ${busyness}.`,
    `${Object.entries(versions).map(([name, version]) => `${name}: ${version}`).join("; ")}.`,
    describePlacement(cpus),
    `${rounds} rounds; ${
      suite.idle === undefined ? "" : `${idle} idle ${suite.idle}; `
    }bulk ${durations.bulkSeconds} s, requests ` +
    `${durations.requestSeconds} s, each after ${durations.warmupMs} ms of warming up.`,
  ];
  console.log(renderReport({ circumstances, contestants, measures, results, suite }));

  await Deno.mkdir(RESULTS, { recursive: true });
  const file = new URL(`${suite.name}-${date.toISOString().replaceAll(":", "")}.json`, RESULTS);
  const settings = { rounds, durations, cpus: cpus ?? null, idle, busy };
  await Deno.writeTextFile(
    file,
    JSON.stringify({ date, machine, versions, settings, results }, null, 2) + "\n",
  );
  console.error(`bench: every sample: ${file.pathname}`);
  return results.some(({ error }) => error !== undefined) ? 1 : 0;
}

/** @param suite undefined: of all of them */
function renderUsage(suite: Suite | undefined): string {
  const suites = suite === undefined ? SUITES : [suite];
  const listed = (names: (suite: Suite) => readonly string[]) =>
    suites.map((one) => `    ${one.name}: ${names(one).join(", ")}`).join("\n");
  return `usage: bench ${suites.map(({ name }) => name).join("|")} [options]
       bench rules|policy [--quick]

  --only MEASURE,…         of
${listed(({ measures }) => measures.map(({ name }) => name))}
  --contestants NAME,…     of
${listed(({ contestants }) => contestants.map(({ name }) => name))}
  --rounds N               default: ${suites.map(({ name, full }) => `${name} ${full.rounds}`).join(", ")}
  --quick                  few short rounds: to see that it works, not to publish
  --cpus RELAY:LOAD        CPUs of the relay, and of the clients with their servers (default 0:1), or "none"
  --no-steering            let what arrives at the gateway be handled by the CPU that sent it

A whole run takes about a quarter of an hour, of socks six minutes. Leave the machine alone meanwhile.
`;
}

function parse(args: string[]) {
  try {
    return parseArgs({
      args,
      allowPositionals: true,
      options: {
        only: { type: "string" },
        contestants: { type: "string" },
        rounds: { type: "string" },
        quick: { type: "boolean" },
        cpus: { type: "string" },
        "no-steering": { type: "boolean" },
        help: { type: "boolean", short: "h" },
      },
    });
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : `${error}`);
  }
}

function choose<T extends { readonly name: string }>(
  flag: string,
  all: readonly T[],
  wanted: string | undefined,
): readonly T[] {
  if (wanted === undefined) return all;
  const names = wanted.split(",");
  const unknown = names.find((name) => !all.some((one) => one.name === name));
  if (unknown !== undefined) {
    throw new UsageError(`${flag}: "${unknown}" is none of ${all.map(({ name }) => name).join(", ")}`);
  }
  return all.filter(({ name }) => names.includes(name));
}

function parseCpus(text: string | undefined, steers: boolean): CpuPlacement | undefined {
  if (text === "none" || (text === undefined && navigator.hardwareConcurrency < 2)) return undefined;
  try {
    return parseCpuPlacement(text, steers);
  } catch (error) {
    if (error instanceof RangeError) throw new UsageError(`--cpus: ${error.message}`);
    throw error;
  }
}

function describe({ cpu, cpus, kernel, memoryGiB }: Machine): string {
  return `${cpus} CPUs (${cpu}), ${memoryGiB.toFixed(0)} GiB, Linux ${kernel}`;
}

/** Those that can be had; fills in the versions they told. */
async function probeAll<T extends { probe?(): Promise<Probe> }>(
  all: readonly T[],
  titleOf: (one: T) => string,
  versions: Record<string, string>,
): Promise<T[]> {
  const available: T[] = [];
  for (const one of all) {
    const probe = await one.probe?.();
    if (probe !== undefined && "missing" in probe) {
      console.error(`bench: without ${titleOf(one)}: ${probe.missing}`);
      continue;
    }
    available.push(one);
    if (probe !== undefined) versions[titleOf(one)] = probe.version;
  }
  return available;
}

function renderProgress(
  { round, measure, contestant, sample, error }: RoundResult,
  rounds: number,
  measures: readonly Measure[],
): string {
  const where = `round ${round}/${rounds}  ${measure.padEnd(12)}  ${contestant.padEnd(11)}`;
  const metrics = measures.find(({ name }) => name === measure)?.metrics ?? [];
  return `${where}  ${sample === undefined ? `FAILED: ${error}` : renderSample(metrics, sample)}`;
}

function renderSample(metrics: Measure["metrics"], sample: Sample): string {
  const figures = metrics
    .filter(({ key }) => sample[key] !== undefined)
    .map(({ key, digits }) => `${key} ${sample[key]!.toFixed(digits)}`);
  const busy = renderBusy(sample);
  return [...figures, ...(busy === undefined ? [] : [`CPUs ${busy}`])].join("  ");
}

if (import.meta.main) {
  try {
    Deno.exitCode = await main(Deno.args);
  } catch (error) {
    if (!(error instanceof NativeBuildError || error instanceof UsageError)) throw error;
    console.error(`bench: ${error.message}`);
    Deno.exitCode = 2;
  }
}
