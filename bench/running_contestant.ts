/**
 * A contestant at work: its lab, its relay, the servers behind it, and the load that goes through.
 *
 * @module
 */
import { Lab, type LabHost, type LabProcess } from "../tests/lab/mod.ts";
import { type Forwarding, startBenchLab } from "./bench_lab.ts";
import type { Contestant } from "./contestant.ts";
import { type CpuPlacement, parseCpuList } from "./cpu_placement.ts";
import { intercept, type InterceptionModes } from "./interception.ts";
import type { NativePrograms } from "./native.ts";
import { type ProcessUsage, readCpuSeconds, readUsage } from "./process_usage.ts";

/** What all contestants are started with. */
export interface Stage {
  readonly native: NativePrograms;
  /** Undefined: the scheduler decides. */
  readonly cpus: CpuPlacement | undefined;
  /** Connections or sessions a relay must be able to hold at rest, and the descriptors it may have. */
  readonly idle: number;
  readonly descriptors: number;
}

/** How the hosts around a relay are set up. */
export interface Site {
  /** What the gateway of a relay passes on by itself. */
  readonly forwards: Forwarding;
  /** What is handed to relays that bring no rules. */
  readonly intercepts: InterceptionModes;
  readonly servers: readonly Server[];
}

/** Starts a server on the internet host; resolves when it serves. */
export type Server = (internet: InternetHost) => Promise<void>;

/** The host that servers run on. */
export interface InternetHost {
  readonly native: NativePrograms;
  /** A directory for their files, gone after the run. */
  readonly directory: string;
  /** Starts a program on the load's CPU. */
  spawn(argv: readonly string[]): LabProcess;
}

/** A line of JSON that the load generator printed. */
export type LoadResult = Readonly<Record<string, number | string>>;

const LOAD_MARGIN_MS = 20_000;

/** Got from {@linkcode RunningContestant.start}; `await using` ends all of it. */
export class RunningContestant implements AsyncDisposable {
  private constructor(
    readonly contestant: Contestant,
    readonly stage: Stage,
    readonly site: Site,
    /** A directory for files, gone after the run. */
    readonly directory: string,
    /** From the relay's start until it was ready, the few milliseconds of entering the lab included. */
    readonly startMs: number | undefined,
    private readonly lab: Lab,
    private readonly relay: LabProcess | undefined,
  ) {}

  /** @throws {Error} when the relay does not get ready. */
  static async start(contestant: Contestant, stage: Stage, site: Site): Promise<RunningContestant> {
    const directory = await Deno.makeTempDir({ prefix: "pellucid-bench-" });
    const gatewayCpus = gatewayCpusOf(contestant, stage.cpus);
    const lab = await startBenchLab({
      forwards: contestant.relay === undefined ? "all" : contestant.forwards ?? site.forwards,
      placement: stage.cpus,
      gatewayCpus: gatewayCpus ?? "",
    });
    try {
      const internet = lab.host("internet");
      const spawn = (argv: readonly string[]) => internet.spawn([...pin(stage.cpus?.load), ...argv]);
      for (const serve of [...site.servers, ...contestant.servers ?? []]) {
        await serve({ native: stage.native, directory, spawn });
      }
      const gateway = lab.host("gateway");
      const { relay: spec, gatewayRules } = contestant;
      if (gatewayRules !== undefined) await gateway.output(["nft", "-f", "-"], { stdin: gatewayRules });
      if (spec === undefined) {
        return new RunningContestant(contestant, stage, site, directory, undefined, lab, undefined);
      }
      if (!spec.bringsRules) await intercept(gateway, spec.intercepts ?? site.intercepts);
      const argv = await spec.command({ ...stage, gateway, directory });
      const begin = performance.now();
      const relay = gateway.spawn([...pin(gatewayCpus), ...argv]);
      await spec.ready(relay);
      const startMs = performance.now() - begin;
      return new RunningContestant(contestant, stage, site, directory, startMs, lab, relay);
    } catch (error) {
      await lab.stop();
      await Deno.remove(directory, { recursive: true });
      throw error;
    }
  }

  /** CPUs the relay is bound to; undefined: any. */
  get gatewayCpus(): readonly number[] | undefined {
    const list = gatewayCpusOf(this.contestant, this.stage.cpus);
    return list === undefined ? undefined : parseCpuList(list);
  }

  /** CPUs the clients and servers are bound to; undefined: any. */
  get loadCpus(): readonly number[] | undefined {
    return this.stage.cpus === undefined ? undefined : parseCpuList(this.stage.cpus.load);
  }

  get client(): LabHost {
    return this.lab.host("client");
  }

  get gateway(): LabHost {
    return this.lab.host("gateway");
  }

  /** Starts a load on the client's host. */
  spawnLoad(argv: readonly string[]): LabProcess {
    return this.client.spawn([...pin(this.stage.cpus?.load), ...argv]);
  }

  /** Runs a load to its end; gives what it printed. @throws {Error} when it fails. */
  async runLoad(argv: readonly string[], expectedSeconds: number): Promise<string> {
    await using client = this.spawnLoad(argv);
    await client.closeStdin();
    const { code } = await client.wait(expectedSeconds * 1000 + LOAD_MARGIN_MS);
    const printed = client.stdout.text();
    if (code !== 0) throw new Error(`${argv.join(" ")}: exit ${code}: ${printed}${client.stderr.text()}`);
    return printed;
  }

  /** The same for one of our load generators. @throws {Error} also when it met an error on the way. */
  async load(argv: readonly string[], expectedSeconds: number): Promise<LoadResult> {
    const printed = await this.runLoad(argv, expectedSeconds);
    const result: LoadResult = JSON.parse(printed);
    if ((result["errors"] ?? 0) !== 0) throw new Error(`${argv.join(" ")}: ${printed}`);
    return result;
  }

  /** CPU time of the relay so far; 0 without one. */
  async cpuSeconds(): Promise<number> {
    return this.relay === undefined ? 0 : await readCpuSeconds(await this.relay.outsidePid());
  }

  /** What the relay uses; undefined without one. */
  async usage(): Promise<ProcessUsage | undefined> {
    return this.relay === undefined ? undefined : await readUsage(await this.relay.outsidePid());
  }

  /** What the relay said last, for a report of failure. */
  complaint(): string {
    return this.relay?.stderr.tail(5) ?? "";
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab.stop();
    await Deno.remove(this.directory, { recursive: true });
  }
}

/** More threads than one would gain nothing on one CPU: they share the load's. */
function gatewayCpusOf({ threads }: Contestant, placement: CpuPlacement | undefined): string | undefined {
  if (placement === undefined) return undefined;
  return threads > 1 ? `${placement.relay},${placement.load}` : placement.relay;
}

function pin(cpus: string | undefined): string[] {
  return cpus === undefined ? [] : ["taskset", "--cpu-list", cpus];
}
