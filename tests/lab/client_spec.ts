/**
 * What a lab client does and reports: the contract between client_run.ts (the test's side) and client_main.ts (the
 * process in the namespace).
 *
 * @module
 */
import type { ConnectionAccount } from "./accounted_connection.ts";

/** One step of a client's script. Reading goes on beside the steps, so both directions carry at once. */
export type ClientStep =
  /** Sends bytes made from `seed` (default 1); each write has a size of its own, from 1 byte to 64 KiB. */
  | { readonly do: "send"; readonly bytes: number; readonly seed?: number }
  | { readonly do: "half-close" }
  /** Starts to read, in a client that has `reading: "on-step"`. */
  | { readonly do: "read" }
  /** Until so much has been received in all, or the server has ended. */
  | { readonly do: "await-bytes"; readonly bytes: number }
  /** Until the server has ended the connection: FIN or RST. */
  | { readonly do: "await-end" }
  | { readonly do: "sleep"; readonly ms: number }
  /** Ends the script with RST. */
  | { readonly do: "reset" };

/** One connection and its script. After the last step the client closes. */
export interface ClientSpec {
  /** IP address to dial. */
  readonly address: string;
  readonly port: number;
  readonly steps: readonly ClientStep[];
  /** Default `always`. With `on-step`, nothing is read before the step `read`. */
  readonly reading?: "always" | "on-step";
  /** Default 10 s. */
  readonly connectTimeoutMs?: number;
  /** For connecting and all steps; default 30 s. */
  readonly timeoutMs?: number;
}

/** How connecting went. `timeout` is ours or the kernel's. */
export type ConnectOutcome = "connected" | "refused" | "reset" | "unreachable" | "timeout";

/** What a client saw. When it did not connect the account is absent. */
export interface ClientResult extends Partial<ConnectionAccount> {
  readonly outcome: ConnectOutcome;
  readonly connectMs: number;
  /** Until the last step was done, or time was up. */
  readonly durationMs: number;
  /** How many steps were done; fewer than given when the server ended first during a `send`, or when time was up. */
  readonly stepsDone: number;
  readonly timedOut: boolean;
}

/** One line of a client's output. `client` is the index in the list of specs. */
export type ClientReport =
  | { readonly event: "connected"; readonly client: number; readonly local: string; readonly peer: string }
  | { readonly event: "progress"; readonly client: number; readonly sent: number; readonly received: number }
  | { readonly event: "result"; readonly client: number; readonly result: ClientResult };
