/**
 * Running lab clients, from the test's side.
 *
 * @module
 */
import type { ClientReport, ClientResult, ClientSpec } from "./client_spec.ts";
import type { LabProcess } from "./process.ts";

const EVENT_TIMEOUT_MS = 15_000;
/** Deno's own start, on a machine that is busy. */
const START_ALLOWANCE_MS = 15_000;

/** Got from `host.startClients(…)`. Ends with the lab, or earlier with `await using`. */
export class ClientRun implements AsyncDisposable {
  readonly #specs: readonly ClientSpec[];

  constructor(readonly process: LabProcess, specs: readonly ClientSpec[]) {
    this.#specs = specs;
    this.#handOver();
  }

  async #handOver(): Promise<void> {
    try {
      await this.process.write(JSON.stringify(this.#specs));
      await this.process.closeStdin();
    } catch {
      // The process did not start; whoever waits for its output is told what it printed.
    }
  }

  /** Resolves when the client has connected. */
  async connected(client = 0, timeoutMs = EVENT_TIMEOUT_MS): Promise<{ local: string; peer: string }> {
    return await this.#first((report) => {
      return report.event === "connected" && report.client === client ? report : undefined;
    }, timeoutMs);
  }

  /** Resolves when `reached` holds for a client's counts. */
  async progress(
    reached: (counts: { readonly sent: number; readonly received: number }) => boolean,
    client = 0,
    timeoutMs = EVENT_TIMEOUT_MS,
  ): Promise<{ sent: number; received: number }> {
    return await this.#first((report) => {
      return report.event === "progress" && report.client === client && reached(report) ? report : undefined;
    }, timeoutMs);
  }

  /** The counts last printed. */
  counts(client = 0): { readonly sent: number; readonly received: number } {
    for (const line of this.process.stdout.lines.toReversed()) {
      const report = JSON.parse(line) as ClientReport;
      if (report.event === "progress" && report.client === client) return report;
    }
    return { sent: 0, received: 0 };
  }

  /** All results, in the order of the specs. */
  async results(): Promise<ClientResult[]> {
    const slowestMs = Math.max(...this.#specs.map((spec) => spec.timeoutMs ?? 30_000));
    const status = await this.process.wait(slowestMs + START_ALLOWANCE_MS);
    const results: ClientResult[] = [];
    for (const line of this.process.stdout.lines) {
      const report = JSON.parse(line) as ClientReport;
      if (report.event === "result") results[report.client] = report.result;
    }
    if (!status.success || results.length !== this.#specs.length) {
      throw new Error(`lab client: exit ${status.code}:\n${this.process.stderr.tail()}`);
    }
    return results;
  }

  async #first<T>(pick: (report: ClientReport) => T | undefined, timeoutMs: number): Promise<T> {
    return await this.process.stdout.waitFor((line) => pick(JSON.parse(line) as ClientReport), timeoutMs);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process.stop();
  }
}
