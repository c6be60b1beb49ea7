/**
 * A lab: one process that holds a user, network, mount and pid namespace, with a network namespace in it for each
 * host. Needs no privilege, shares nothing with the machine or with other labs, and dies with the process that
 * started it: the holder reads a pipe whose other end is ours, and the pid namespace goes when the holder does.
 *
 * @module
 */
import { within } from "./deadline.ts";
import { LabHost } from "./host.ts";
import { LineLog } from "./line_log.ts";
import { labPath, labUnavailable, UNSHARE_ARGS } from "./requirements.ts";
import { READY_LINE, renderSetupScript } from "./setup_script.ts";
import { type GatewayLabOptions, gatewayTopology, type Topology } from "./topology.ts";

const START_TIMEOUT_MS = 20_000;
const STOP_TIMEOUT_MS = 5_000;

/** Starts the lab that {@linkcode gatewayTopology} describes. */
export function gatewayLab(options: GatewayLabOptions = {}): Promise<Lab> {
  return Lab.start(gatewayTopology(options));
}

/** A running lab. `await using` stops it, also when a test throws. */
export class Lab implements AsyncDisposable {
  readonly #holder: Deno.ChildProcess;
  readonly #outputs: readonly LineLog[];
  readonly #hosts: ReadonlyMap<string, LabHost>;
  #stopped: Promise<void> | undefined;

  private constructor(holder: Deno.ChildProcess, outputs: readonly LineLog[], topology: Topology) {
    this.#holder = holder;
    this.#outputs = outputs;
    this.#hosts = new Map(Object.keys(topology.hosts).map((name) => [name, new LabHost(name, holder.pid)]));
  }

  /** @throws {LabUnavailableError} when the machine does not allow it, or when the topology is not possible. */
  static async start(topology: Topology): Promise<Lab> {
    const script = renderSetupScript(topology);
    let holder: Deno.ChildProcess;
    try {
      holder = new Deno.Command("unshare", {
        args: [...UNSHARE_ARGS, "sh", "-c", script],
        env: { PATH: labPath() },
        stdin: "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) throw labUnavailable(error.message);
      throw error;
    }
    const stdout = new LineLog(holder.stdout);
    const stderr = new LineLog(holder.stderr);
    const lab = new Lab(holder, [stdout, stderr], topology);
    try {
      await stdout.waitFor((line) => line === READY_LINE ? true : undefined, START_TIMEOUT_MS);
    } catch {
      await lab.stop();
      throw labUnavailable(stderr.tail());
    }
    return lab;
  }

  /** @throws {RangeError} when the topology has no such host. */
  host(name: string): LabHost {
    const host = this.#hosts.get(name);
    if (host === undefined) {
      throw new RangeError(`lab host: "${name}" is none of ${[...this.#hosts.keys()].join(", ")}`);
    }
    return host;
  }

  /** The id, outside, of the process the lab lives and dies with. */
  get holderPid(): number {
    return this.#holder.pid;
  }

  /** Ends the lab and everything that runs in it; again is harmless. */
  stop(): Promise<void> {
    return this.#stopped ??= this.#stop();
  }

  async #stop(): Promise<void> {
    // The pipe is broken already when the holder failed.
    await this.#holder.stdin.close().catch(() => {});
    try {
      await within(this.#holder.status, STOP_TIMEOUT_MS, "end of the lab");
    } catch {
      // --kill-child takes process 1 along, and process 1 everything else.
      this.#holder.kill("SIGKILL");
      await this.#holder.status;
    }
    await Promise.all(this.#outputs.map((output) => output.ended));
    await Promise.all([...this.#hosts.values()].map((host) => host.settle()));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}
