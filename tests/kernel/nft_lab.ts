/**
 * What the kernel tests of nft/ share: the real {@linkcode HostExec} pointed at a lab host, plans for the lab's
 * gateway, and a small relay to receive what the rules intercept.
 *
 * @module
 */
import { buildPlan, HostExec, type Plan } from "../../nft/mod.ts";
import { type IntentChanges, intentWith } from "../fixtures/intents.ts";
import type { LabHost, LabProcess } from "../lab/mod.ts";
import type { RelayOptions } from "./nft_relay_main.ts";

/** Our listener's port in these tests. */
export const RELAY_PORT = 7870;

/** Runs the tools in the lab host's namespaces. */
export function labExec(host: LabHost): HostExec {
  const namespaces = `/proc/${host.holder}/ns`;
  return new HostExec([
    "nsenter",
    `--user=${namespaces}/user`,
    `--mount=${namespaces}/mnt`,
    `--pid=${namespaces}/pid_for_children`,
    // `ip netns exec` would mount a /sys for each command, which costs more than most commands.
    `--net=/proc/${host.holder}/root/run/netns/${host.name}`,
    "--preserve-credentials",
  ]);
}

/** A plan for the gateway of `gatewayLab`: traffic from lan0 over TPROXY, unless `changes` says otherwise. */
export function gatewayPlan(changes: IntentChanges = {}): Plan {
  return buildPlan(intentWith({
    from: ["lan0"],
    port: RELAY_PORT,
    otherInterfaces: changes.source === "keep" ? ["wan0"] : [],
    ...changes,
  }));
}

/** A connection that the relay accepted. */
export interface Accepted {
  /** As getsockname(2) says: the original destination with TPROXY. */
  readonly local: string;
  readonly peer: string;
}

/** The relay, running in a lab host. */
export class Relay implements AsyncDisposable {
  #seen = 0;

  private constructor(readonly process: LabProcess) {}

  /** Resolves when it listens. */
  static async start(host: LabHost, options: Omit<RelayOptions, "port">): Promise<Relay> {
    const main = new URL("nft_relay_main.ts", import.meta.url).pathname;
    const process = host.deno(main, [JSON.stringify({ port: RELAY_PORT, ...options })]);
    const relay = new Relay(process);
    await relay.#line("listening");
    return relay;
  }

  /** The next connection it accepted. */
  async nextAccepted(): Promise<Accepted> {
    return JSON.parse(await this.#line("{"));
  }

  /** How many connections it has accepted. */
  get acceptedCount(): number {
    return this.process.stdout.lines.filter((line) => line.startsWith("{")).length;
  }

  async #line(start: string): Promise<string> {
    return await this.process.stdout.waitFor(
      (line, index) => {
        if (!line.startsWith(start)) return undefined;
        this.#seen = index + 1;
        return line;
      },
      15_000,
      this.#seen,
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.process.stop();
  }
}
