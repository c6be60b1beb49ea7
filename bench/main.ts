/**
 * Benchmarks: `./dev bench tcp`, or `deno run -A bench/main.ts tcp --help`.
 *
 * Runs in throw-away network namespaces, without root. A Markdown table goes to standard output, progress to standard
 * error, every single sample to bench/results/. What each figure means is said in measures.ts, who takes part in
 * contestants.ts.
 *
 * @module
 */
import { parseArgs } from "node:util";
import { type Contestant, type Probe } from "./contestant.ts";
import { CONTESTANTS, REFERENCE } from "./contestants.ts";
import { type CpuPlacement, describePlacement, parseCpuPlacement } from "./cpu_placement.ts";
import { describeMachine, type Machine, sampleBusyness } from "./machine.ts";
import { type Durations, type Measure, MEASURES, type Sample } from "./measures.ts";
import { buildNative, NativeBuildError } from "./native.ts";
import { renderBusy, renderReport } from "./report.ts";
import { type RoundResult, runRounds } from "./rounds.ts";

const USAGE = `usage: bench tcp [options]

  --only MEASURE,…         of: ${MEASURES.map(({ name }) => name).join(", ")}
  --contestants NAME,…     of: ${CONTESTANTS.map(({ name }) => name).join(", ")}
  --rounds N               default 5
  --quick                  2 short rounds: to see that it works, not to publish
  --cpus RELAY:LOAD        CPUs of the relay, and of the clients with their servers (default 0:1), or "none"
  --no-steering            let what arrives at the gateway be handled by the CPU that sent it

The whole run takes about a quarter of an hour. Leave the machine alone meanwhile.
`;

const FULL: Durations = { bulkSeconds: 2, requestSeconds: 2, warmupMs: 2000 };
const QUICK: Durations = { bulkSeconds: 1, requestSeconds: 1, warmupMs: 300 };
const RESULTS = new URL("results/", import.meta.url);

/** Idle connections wanted; fewer where descriptors are short. */
const IDLE_CONNECTIONS = 9_000;
/** Descriptors a relay needs beside its connections'. */
const DESCRIPTORS_KEPT = 1_000;
/** More than this part of the CPUs in use before we begin makes figures that nobody should trust. */
const QUIET = 0.1;

/** The command line cannot be understood. */
class UsageError extends Error {}

async function main(args: string[]): Promise<number> {
  const { values, positionals } = parse(args);
  if (values.help || positionals[0] !== "tcp" || positionals.length !== 1) {
    (values.help ? console.log : console.error)(USAGE);
    return values.help ? 0 : 2;
  }
  const rounds = Number(values.rounds ?? (values.quick ? 2 : 5));
  if (!Number.isInteger(rounds) || rounds < 1) {
    throw new UsageError(`--rounds: "${values.rounds}" is no count`);
  }
  const measures = choose("--only", MEASURES, values.only);
  const chosen = choose("--contestants", CONTESTANTS, values.contestants);
  const cpus = parseCpus(values.cpus, values["no-steering"] !== true);

  const native = await buildNative();
  const machine = await describeMachine();
  const { contestants, versions } = await probeAll(chosen);
  const busy = await sampleBusyness();
  if (busy > QUIET) {
    console.error(
      `bench: ${Math.round(100 * busy)} % of the CPUs is in use by others: the figures will be noise`,
    );
  }
  const descriptors = machine.descriptors;
  const connections = Math.min(IDLE_CONNECTIONS, Math.floor((descriptors - DESCRIPTORS_KEPT) / 2));
  const durations = values.quick ? QUICK : FULL;
  const date = new Date();

  const results: RoundResult[] = [];
  const stage = { native, cpus, connections, descriptors };
  for await (const result of runRounds({ contestants, measures, rounds, durations }, stage)) {
    results.push(result);
    console.error(renderProgress(result, rounds));
  }
  const busyness = `${Math.round(100 * busy)} % of the CPUs in use by others just before`;
  const circumstances = [
    `${date.toISOString().slice(0, 10)}, ${describe(machine)}; ${busyness}.`,
    `${Object.entries(versions).map(([name, version]) => `${name}: ${version}`).join("; ")}.`,
    describePlacement(cpus),
    `${rounds} rounds; ${connections} idle connections; bulk ${durations.bulkSeconds} s, requests ` +
    `${durations.requestSeconds} s, each after ${durations.warmupMs} ms of warming up.`,
  ];
  console.log(renderReport({ circumstances, contestants, measures, results, reference: REFERENCE }));

  await Deno.mkdir(RESULTS, { recursive: true });
  const file = new URL(`tcp-${date.toISOString().replaceAll(":", "")}.json`, RESULTS);
  const settings = { rounds, durations, cpus: cpus ?? null, connections, busy };
  await Deno.writeTextFile(
    file,
    JSON.stringify({ date, machine, versions, settings, results }, null, 2) + "\n",
  );
  console.error(`bench: every sample: ${file.pathname}`);
  return results.some(({ error }) => error !== undefined) ? 1 : 0;
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

async function probeAll(
  all: readonly Contestant[],
): Promise<{ contestants: Contestant[]; versions: Record<string, string> }> {
  const contestants: Contestant[] = [];
  const versions: Record<string, string> = {};
  for (const contestant of all) {
    const probe: Probe = await contestant.probe();
    if ("missing" in probe) {
      console.error(`bench: without ${contestant.title}: ${probe.missing}`);
      continue;
    }
    contestants.push(contestant);
    versions[contestant.title] = probe.version;
  }
  return { contestants, versions };
}

function renderProgress({ round, measure, contestant, sample, error }: RoundResult, rounds: number): string {
  const where = `round ${round}/${rounds}  ${measure.padEnd(7)}  ${contestant.padEnd(11)}`;
  return `${where}  ${sample === undefined ? `FAILED: ${error}` : renderSample(measure, sample)}`;
}

function renderSample(name: string, sample: Sample): string {
  const measure: Measure | undefined = MEASURES.find((one) => one.name === name);
  const figures = (measure?.metrics ?? [])
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
