/**
 * The proxy on show: the real `run`, in a process of its own in the gateway, known only by what it prints.
 *
 * @module
 */
import type { AppEvent } from "../control/mod.ts";
import { type LabHost, type LabProcess, within } from "../tests/lab/mod.ts";
import type { Flow } from "./judge.ts";
import { ourselves } from "./ourselves.ts";

const READY_TIMEOUT_MS = 8_000;
const FLOW_TIMEOUT_MS = 2_000;
const STOP_TIMEOUT_MS = 5_000;

type Ready = Extract<AppEvent, { event: "ready" }>;

/** A proxy that did not start; the message is what it printed. */
export class ProxyFailedError extends Error {
  override readonly name = "ProxyFailedError";
}

/** A running proxy. */
export class ShownProxy implements AsyncDisposable {
  readonly #process: LabProcess;
  readonly ready: Ready;

  private constructor(process: LabProcess, ready: Ready) {
    this.#process = process;
    this.ready = ready;
  }

  /** Runs `pellucid run` with these flags, and those that make it tell. @throws {ProxyFailedError} */
  static async start(gateway: LabHost, flags: readonly string[]): Promise<ShownProxy> {
    const process = gateway.spawn(ourselves("run", ...flags, "--log", "json", "--flows"));
    try {
      const ready = await process.stderr.waitFor((line) => {
        const event = parseEvent(line);
        return event?.event === "ready" ? event : undefined;
      }, READY_TIMEOUT_MS);
      return new ShownProxy(process, ready);
    } catch (cause) {
      await process.stop();
      throw new ProxyFailedError(complaintsIn(process.stderr.lines).join("; ") || process.stderr.tail(), {
        cause,
      });
    }
  }

  /** Marks the present end of the output, for {@linkcode flowAfter}. */
  mark(): number {
    return this.#process.stderr.lines.length;
  }

  /** The first flow of TCP that is reported after `mark`; undefined when there is none in time. */
  async flowAfter(mark: number): Promise<Flow | undefined> {
    try {
      return await this.#process.stderr.waitFor(
        (line) => {
          const event = parseEvent(line);
          return event?.event === "flow" && event.proto === "tcp" ? event : undefined;
        },
        FLOW_TIMEOUT_MS,
        mark,
      );
    } catch {
      return undefined;
    }
  }

  /** The flow of UDP that came from this endpoint; known when the proxy has stopped. */
  datagramFlowOf(client: string | undefined): Flow | undefined {
    for (const line of this.#process.stderr.lines) {
      const event = parseEvent(line);
      if (event?.event === "flow" && event.proto === "udp" && event.client === client) return event;
    }
    return undefined;
  }

  /** Asks it to stop, as `kill` does, and returns what is wrong with the way it did. */
  async stop(): Promise<string[]> {
    if (!this.#process.running) return ["proxy: had ended by itself"];
    await this.#process.kill("SIGTERM");
    try {
      await within(this.#process.drained, STOP_TIMEOUT_MS, "stop");
    } catch {
      await this.#process.stop();
      return [`proxy: running ${STOP_TIMEOUT_MS / 1000} s after SIGTERM found, exit code 0 wanted`];
    }
    const { code, signal } = await this.#process.status;
    return code === 0 ? [] : [`proxy: ${signal ?? `exit code ${code}`} found, exit code 0 wanted`];
  }

  /** What it warned of or failed at, for the reader of a row that went wrong. */
  complaints(): string[] {
    return complaintsIn(this.#process.stderr.lines);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process.stop();
  }
}

/** A line of the log, or undefined for what the runtime itself printed. */
function parseEvent(line: string): AppEvent | undefined {
  try {
    return JSON.parse(line) as AppEvent;
  } catch {
    return undefined;
  }
}

/** Messages of the events that are no good news, and lines that are no events. */
function complaintsIn(lines: readonly string[]): string[] {
  return lines.flatMap((line) => {
    const event = parseEvent(line);
    if (event === undefined) return line === "" ? [] : [line];
    if (!("message" in event)) return [];
    return ["hint" in event ? `${event.message}; ${event.hint}` : event.message];
  });
}
