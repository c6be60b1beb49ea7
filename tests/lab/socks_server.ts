/**
 * A running SOCKS5 server of the lab, from the test's side.
 *
 * @module
 */
import type { LabHost } from "./host.ts";
import type { LabProcess } from "./process.ts";
import type { SocksReport, SocksRequest, SocksServerSpec } from "./socks_server_spec.ts";

const MAIN = new URL("./socks_server_main.ts", import.meta.url).href;
const READY_TIMEOUT_MS = 15_000;

/** Ends with the lab, or earlier with `await using`. */
export class SocksServer implements AsyncDisposable {
  private constructor(readonly process: LabProcess, readonly port: number) {}

  /** Resolves when it listens. @throws {Error} with what it printed when it does not. */
  static async start(host: LabHost, spec: SocksServerSpec = {}): Promise<SocksServer> {
    const process = host.deno(MAIN, [JSON.stringify(spec)]);
    try {
      const port = await process.stdout.waitFor((line) => {
        const report = JSON.parse(line) as SocksReport;
        return report.event === "ready" ? report.port : undefined;
      }, READY_TIMEOUT_MS);
      return new SocksServer(process, port);
    } catch (error) {
      await process.stop();
      throw new Error(`SOCKS server: did not start:\n${process.stderr.tail()}`, { cause: error });
    }
  }

  /** Every CONNECT so far. */
  get requests(): SocksRequest[] {
    return this.#reports("request");
  }

  /** Every UDP ASSOCIATE so far. */
  get associations(): SocksRequest[] {
    return this.#reports("association");
  }

  /** Where each datagram went that clients of associations have sent so far. */
  get datagrams(): string[] {
    return this.#reports("datagram").map(({ target }) => target);
  }

  #reports<Event extends SocksReport["event"]>(event: Event): Extract<SocksReport, { event: Event }>[] {
    return this.process.stdout.lines.map((line) => JSON.parse(line) as SocksReport)
      .filter((report): report is Extract<SocksReport, { event: Event }> => report.event === event);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process.stop();
  }
}
