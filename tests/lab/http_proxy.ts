/**
 * A running HTTP proxy of the lab, from the test's side.
 *
 * @module
 */
import type { LabHost } from "./host.ts";
import type { LabProcess } from "./process.ts";

const MAIN = new URL("./http_proxy_main.ts", import.meta.url).href;
const READY_TIMEOUT_MS = 15_000;

/** Where it listens, on every address of its host, and whom it serves. */
export interface HttpProxySpec {
  readonly port: number;
  readonly login: { readonly username: string; readonly password: string };
}

/** One line of its output. */
export type HttpProxyReport =
  | { readonly event: "ready" }
  /** A CONNECT, and whether it came with the password. */
  | { readonly event: "request"; readonly target: string; readonly isKnown: boolean };

/** Ends with the lab, or earlier with `await using`. */
export class HttpProxy implements AsyncDisposable {
  private constructor(readonly process: LabProcess) {}

  /** Resolves when it listens. @throws {Error} when it does not. */
  static async start(host: LabHost, spec: HttpProxySpec): Promise<HttpProxy> {
    const process = host.deno(MAIN, [JSON.stringify(spec)]);
    await process.stdout.waitFor((line) => line === '{"event":"ready"}' || undefined, READY_TIMEOUT_MS);
    return new HttpProxy(process);
  }

  /** What it was asked for so far by who knew the password. */
  get targets(): string[] {
    return this.process.stdout.lines.map((line) => JSON.parse(line) as HttpProxyReport)
      .flatMap((report) => report.event === "request" && report.isKnown ? [report.target] : []);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process.stop();
  }
}
