/**
 * A running lab server, from the test's side.
 *
 * @module
 */
import type { LabProcess } from "./process.ts";
import type { HttpAnswer, ServedConnection, ServerReport, ServerSpec } from "./server_spec.ts";

const READY_TIMEOUT_MS = 15_000;
const REPORT_TIMEOUT_MS = 10_000;

/** Got from `host.serve(…)`. Ends with the lab, or earlier with `await using`. */
export class LabServer implements AsyncDisposable {
  #nextOpen = 0;
  #nextClosed = 0;
  #nextRequest = 0;

  private constructor(readonly process: LabProcess, readonly spec: ServerSpec, readonly port: number) {}

  /** Resolves when the server listens. @throws {Error} with what it printed when it does not. */
  static async start(process: LabProcess, spec: ServerSpec): Promise<LabServer> {
    try {
      const port = await process.stdout.waitFor((line) => {
        const report = JSON.parse(line) as ServerReport;
        return report.event === "ready" ? report.port : undefined;
      }, READY_TIMEOUT_MS);
      return new LabServer(process, spec, port);
    } catch (error) {
      await process.stop();
      throw new Error(`${spec.kind} server: did not start:\n${process.stderr.tail()}`, { cause: error });
    }
  }

  /** The next connection that was accepted: who it came from and what it dialled. */
  async nextOpened(
    timeoutMs = REPORT_TIMEOUT_MS,
  ): Promise<{ connection: number; local: string; peer: string }> {
    const [{ connection, local, peer }, next] = await this.#next("open", this.#nextOpen, timeoutMs);
    this.#nextOpen = next;
    return { connection, local, peer };
  }

  /** The next connection that is over, in the order in which they ended. */
  async nextClosed(timeoutMs = REPORT_TIMEOUT_MS): Promise<ServedConnection> {
    const [report, next] = await this.#next("closed", this.#nextClosed, timeoutMs);
    this.#nextClosed = next;
    return report;
  }

  /** The next request an `http` server got. */
  async nextRequest(timeoutMs = REPORT_TIMEOUT_MS): Promise<HttpAnswer> {
    const [report, next] = await this.#next("request", this.#nextRequest, timeoutMs);
    this.#nextRequest = next;
    return report;
  }

  /** How many connections have been accepted so far. */
  get acceptedCount(): number {
    return this.process.stdout.lines.filter((line) => line.startsWith(`{"event":"open"`)).length;
  }

  /** Lets a `stall` server read. */
  async resume(): Promise<void> {
    await this.process.write("resume\n");
  }

  async #next<E extends ServerReport["event"]>(
    event: E,
    from: number,
    timeoutMs: number,
  ): Promise<[report: Extract<ServerReport, { event: E }>, next: number]> {
    return await this.process.stdout.waitFor<[Extract<ServerReport, { event: E }>, number]>(
      (line, index) => {
        const report = JSON.parse(line) as ServerReport;
        return report.event === event
          ? [report as Extract<ServerReport, { event: E }>, index + 1]
          : undefined;
      },
      timeoutMs,
      from,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process.stop();
  }
}
