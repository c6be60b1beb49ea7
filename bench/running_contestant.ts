/**
 * A contestant at work: its lab, its relay, the servers behind it, and the load that goes through.
 *
 * @module
 */
import { Lab, type LabProcess } from "../tests/lab/mod.ts";
import type { Contestant } from "./contestant.ts";
import { type CpuPlacement, parseCpuList } from "./cpu_placement.ts";
import { intercept } from "./interception.ts";
import type { NativePrograms } from "./native.ts";
import { type ProcessUsage, readCpuSeconds, readUsage } from "./process_usage.ts";
import { SERVER_ADDRESS, startTcpLab } from "./tcp_lab.ts";

/** What all contestants are started with. */
export interface Stage {
  readonly native: NativePrograms;
  /** Undefined: the scheduler decides. */
  readonly cpus: CpuPlacement | undefined;
  /** Connections a relay must be able to carry at once, and the descriptors it may have. */
  readonly connections: number;
  readonly descriptors: number;
}

/** A line of JSON that the load generator printed. */
export type LoadResult = Readonly<Record<string, number | string>>;

const LOAD_MARGIN_MS = 20_000;

/** Got from {@linkcode RunningContestant.start}; `await using` ends all of it. */
export class RunningContestant implements AsyncDisposable {
  private constructor(
    readonly contestant: Contestant,
    readonly stage: Stage,
    /** From the relay's start until it was ready, the few milliseconds of entering the lab included. */
    readonly startMs: number | undefined,
    private readonly lab: Lab,
    private readonly relay: LabProcess | undefined,
    private readonly directory: string,
  ) {}

  /** @throws {Error} when the relay does not get ready. */
  static async start(contestant: Contestant, stage: Stage): Promise<RunningContestant> {
    const directory = await Deno.makeTempDir({ prefix: "pellucid-bench-" });
    const gatewayCpus = gatewayCpusOf(contestant, stage.cpus);
    const lab = await startTcpLab({
      forwards: contestant.relay === undefined,
      placement: stage.cpus,
      gatewayCpus: gatewayCpus ?? "",
    });
    try {
      const servers = lab.host("internet").spawn([...pin(stage.cpus?.load), stage.native.load, "serve"]);
      await servers.stdout.waitFor((line) => line === "ready" || undefined, 5_000);
      const { relay: spec } = contestant;
      if (spec === undefined) {
        return new RunningContestant(contestant, stage, undefined, lab, undefined, directory);
      }

      const gateway = lab.host("gateway");
      if (!spec.bringsRules) await intercept(gateway, "tproxy");
      const argv = await spec.command({ ...stage, gateway, directory });
      const begin = performance.now();
      const relay = gateway.spawn([...pin(gatewayCpus), ...argv]);
      await spec.ready(relay);
      const startMs = performance.now() - begin;
      return new RunningContestant(contestant, stage, startMs, lab, relay, directory);
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

  /** Starts the load generator's client; it runs beside the servers. */
  spawnLoad(mode: string, options: readonly string[]): LabProcess {
    const { native, cpus } = this.stage;
    const client = this.lab.host("client");
    return client.spawn([...pin(cpus?.load), native.load, mode, "--to", SERVER_ADDRESS, ...options]);
  }

  /** Runs the client to its end. @throws {Error} when it fails, or met an error on the way. */
  async load(mode: string, options: readonly string[], expectedSeconds: number): Promise<LoadResult> {
    const client = this.spawnLoad(mode, options);
    const { code } = await client.wait(expectedSeconds * 1000 + LOAD_MARGIN_MS);
    const result: LoadResult = JSON.parse(client.stdout.lines[0] ?? "{}");
    if (code !== 0 || (result["errors"] ?? 0) !== 0) {
      throw new Error(`load ${mode}: exit ${code}: ${client.stdout.text()}${client.stderr.text()}`);
    }
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
