/**
 * The proxy at work in a lab, for the tests of what it does to real connections: one gateway lab, `pellucid run` in
 * its gateway, and the events that it logs.
 *
 * @module
 */
import type { AppEvent, AppEventName } from "../../control/events.ts";
import { gatewayLab, type GatewayLabOptions, type Lab, type LabHost, type LabProcess } from "../lab/mod.ts";

const MAIN = new URL("../../mod.ts", import.meta.url).href;
const READY_TIMEOUT_MS = 20_000;
const EVENT_TIMEOUT_MS = 10_000;
const STOP_TIMEOUT_MS = 20_000;

/** How connections are taken over. */
export type Mode = "tproxy" | "redirect";
/** Whose address the server sees. */
export type Source = "own" | "keep";

/** Every way to intercept, for tests in which it can matter. */
export const WAYS: readonly (readonly [Mode, Source])[] = [
  ["tproxy", "own"],
  ["tproxy", "keep"],
  ["redirect", "own"],
  ["redirect", "keep"],
];

/** One kind of event. */
export type EventOf<Name extends AppEventName> = Extract<AppEvent, { event: Name }>;

/** What a test may vary. */
export interface RelaySiteOptions {
  readonly mode?: Mode;
  readonly source?: Source;
  /** Whether each finished flow is reported; true unless said otherwise. */
  readonly flows?: boolean;
  /** More flags of `run`. */
  readonly flags?: readonly string[];
  readonly lab?: GatewayLabOptions;
  /** Replaces the command line: a program and its arguments, which logs events as JSON lines on stderr. */
  readonly program?: readonly [script: string, ...args: string[]];
}

/** A lab with the proxy in its gateway. */
export class RelaySite implements AsyncDisposable {
  private constructor(readonly lab: Lab, readonly proxy: RunningProxy) {}

  /** Resolves when connections from the client are intercepted. */
  static async start(options: RelaySiteOptions = {}): Promise<RelaySite> {
    const lab = await gatewayLab(options.lab);
    try {
      const { mode = "tproxy", source = "own", flags = [] } = options;
      const [script, ...args] = options.program ??
        // The lab's own programs may ask for names, and what is counted here is TCP's.
        [
          MAIN,
          "run",
          "--from",
          "lan0",
          "--udp",
          "off",
          "--log",
          "json",
          ...(options.flows ?? true ? ["--flows"] : []),
        ];
      const process = lab.host("gateway").deno(
        script,
        options.program === undefined ? [...args, "--tcp", mode, "--source", source, ...flags] : args,
        // Deno's own look for a new version would be a socket in the process that is not the proxy's.
        { env: { DENO_NO_UPDATE_CHECK: "1" } },
      );
      return new RelaySite(lab, await RunningProxy.ready(process));
    } catch (error) {
      await lab.stop();
      throw error;
    }
  }

  get client(): LabHost {
    return this.lab.host("client");
  }

  get gateway(): LabHost {
    return this.lab.host("gateway");
  }

  get internet(): LabHost {
    return this.lab.host("internet");
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab.stop();
  }
}

/** The proxy's process and what it has logged. */
export class RunningProxy {
  private constructor(readonly process: LabProcess, readonly pid: number) {}

  /** Resolves when the event `ready` is there. */
  static async ready(process: LabProcess): Promise<RunningProxy> {
    await process.stderr.waitFor((line) => parseEvent(line, "ready"), READY_TIMEOUT_MS);
    return new RunningProxy(process, await process.outsidePid());
  }

  /** Every event of a kind so far. */
  events<Name extends AppEventName>(name: Name): EventOf<Name>[] {
    return this.process.stderr.lines.flatMap((line) => parseEvent(line, name) ?? []);
  }

  /**
   * The flow that a client's connection became, when it has ended. Both ends are needed to tell: a client may use
   * one port for several destinations at once. With REDIRECT it is then shown by another port, and not found: tests
   * with several destinations look by {@linkcode flowTo}.
   */
  async flowOf(
    client: { readonly local?: string; readonly peer?: string },
    timeoutMs = EVENT_TIMEOUT_MS,
  ): Promise<EventOf<"flow">> {
    return await this.flowWhere(
      (flow) => flow.client === client.local && flow.destination === client.peer,
      timeoutMs,
    );
  }

  /** The first flow that is the one wanted, when it has ended. */
  async flowWhere(
    isWanted: (flow: EventOf<"flow">) => boolean,
    timeoutMs = EVENT_TIMEOUT_MS,
  ): Promise<EventOf<"flow">> {
    return await this.process.stderr.waitFor((line) => {
      const flow = parseEvent(line, "flow");
      return flow !== undefined && isWanted(flow) ? flow : undefined;
    }, timeoutMs);
  }

  /** The n-th flow to a destination, from 0, when it has ended. */
  async flowTo(destination: string, nth = 0, timeoutMs = EVENT_TIMEOUT_MS): Promise<EventOf<"flow">> {
    // The log is looked at again from its start, but its lines are offered one by one: no line counts twice.
    let count = 0;
    return await this.process.stderr.waitFor((line) => {
      const flow = parseEvent(line, "flow");
      return flow?.destination === destination && count++ === nth ? flow : undefined;
    }, timeoutMs);
  }

  /** Ends the proxy in order. */
  async stop(): Promise<{ draining: EventOf<"draining">; stopped: EventOf<"stopped">; code: number }> {
    await this.process.kill("SIGTERM");
    const { code } = await this.process.wait(STOP_TIMEOUT_MS);
    return { draining: this.events("draining")[0]!, stopped: this.events("stopped")[0]!, code };
  }

  /** Resident memory of the process in bytes. */
  async residentBytes(): Promise<number> {
    const status = await Deno.readTextFile(`/proc/${this.pid}/status`);
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)![1]) * 1024;
  }

  /** How many descriptors the process has, by what they are. */
  descriptors(): { sockets: number; pipeEnds: number; all: number } {
    const directory = `/proc/${this.pid}/fd`;
    let sockets = 0, pipeEnds = 0, all = 0;
    for (const { name } of Deno.readDirSync(directory)) {
      const target = readLinkOrEmpty(`${directory}/${name}`);
      if (target === "") continue;
      all++;
      if (target.startsWith("socket:")) sockets++;
      if (target.startsWith("pipe:")) pipeEnds++;
    }
    return { sockets, pipeEnds, all };
  }

  /** How often each worker's thread has gone to sleep. */
  workerSleeps(): number[] {
    const sleeps: number[] = [];
    for (const { name } of Deno.readDirSync(`/proc/${this.pid}/task`)) {
      const status = Deno.readTextFileSync(`/proc/${this.pid}/task/${name}/status`);
      if (!/^Name:\tworker-/m.test(status)) continue;
      sleeps.push(Number(/^voluntary_ctxt_switches:\t(\d+)$/m.exec(status)![1]));
    }
    return sleeps;
  }
}

/** `ip:port` or `[ip]:port`. */
export function endpoint(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

function parseEvent<Name extends AppEventName>(line: string, name: Name): EventOf<Name> | undefined {
  if (!line.startsWith("{")) return undefined;
  const event = JSON.parse(line) as AppEvent;
  return event.event === name ? event as EventOf<Name> : undefined;
}

function readLinkOrEmpty(path: string): string {
  try {
    return Deno.readLinkSync(path);
  } catch (error) {
    // Closed since the directory was read.
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}
