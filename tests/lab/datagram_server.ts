/**
 * A running datagram server of the lab, from the test's side.
 *
 * @module
 */
import type {
  DatagramServerReport,
  DatagramServerSpec,
  LoadSums,
  ServedDatagram,
} from "./datagram_server_spec.ts";
import type { LabHost } from "./host.ts";
import type { LabProcess } from "./process.ts";

const READY_TIMEOUT_MS = 20_000;
const REPORT_TIMEOUT_MS = 10_000;

/** Ends with the lab, or earlier with `await using`. */
export class DatagramServer implements AsyncDisposable {
  #next = 0;
  #nextSums = 0;

  private constructor(readonly process: LabProcess, readonly port: number) {}

  /**
   * Resolves when the server listens. `command` takes the place of the program: it gets the spec as its last word.
   *
   * @throws {Error} with what it printed when it does not.
   */
  static async start(
    host: LabHost,
    spec: DatagramServerSpec,
    command?: readonly string[],
  ): Promise<DatagramServer> {
    const program = new URL("datagram_server_main.ts", import.meta.url).href;
    const text = JSON.stringify(spec);
    const process = command === undefined ? host.deno(program, [text]) : host.spawn([...command, text]);
    try {
      const port = await process.stdout.waitFor((line) => {
        const report = JSON.parse(line) as DatagramServerReport;
        return report.event === "ready" ? report.port : undefined;
      }, READY_TIMEOUT_MS);
      return new DatagramServer(process, port);
    } catch (error) {
      await process.stop();
      throw new Error(`${spec.kind} server: did not start:\n${process.stderr.tail()}`, { cause: error });
    }
  }

  /** The next datagram it was sent. */
  async received(timeoutMs = REPORT_TIMEOUT_MS): Promise<ServedDatagram> {
    return await this.process.stdout.waitFor(
      (line, index) => {
        const report = JSON.parse(line) as DatagramServerReport;
        if (report.event !== "datagram") return undefined;
        this.#next = index + 1;
        const { event: _, ...datagram } = report;
        return datagram;
      },
      timeoutMs,
      this.#next,
    );
  }

  /** How many datagrams it has been sent. */
  get receivedCount(): number {
    return this.process.stdout.lines.filter((line) => line.startsWith(`{"event":"datagram"`)).length;
  }

  /** What a `load` server has seen so far. */
  async sums(): Promise<LoadSums> {
    await this.process.write("sums\n");
    return await this.process.stdout.waitFor(
      (line, index) => {
        const report = JSON.parse(line) as DatagramServerReport;
        if (report.event !== "sums") return undefined;
        this.#nextSums = index + 1;
        const { event: _, ...sums } = report;
        return sums;
      },
      REPORT_TIMEOUT_MS,
      this.#nextSums,
    );
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process.stop();
  }
}
