/**
 * The product under test: `pellucid run` as a real process in a lab host, driven by its command line and signals and
 * judged by its events, its exit code and the kernel's state.
 *
 * @module
 */
import type { AppEvent, AppEventName, AppEvents } from "../../control/events.ts";
import type { LabHost, LabProcess, SpawnOptions } from "../lab/mod.ts";

/** The program's entry. */
export const MAIN: string = new URL("../../mod.ts", import.meta.url).href;

const EVENT_TIMEOUT_MS = 15_000;

/** A line of the log. */
export type LoggedEvent<Name extends AppEventName = AppEventName> =
  & Extract<AppEvent, { event: Name }>
  & { readonly time: string; readonly level: string };

/** How the proxy is started. */
export interface ProxyRunOptions extends SpawnOptions {
  /** Another program with the same arguments. */
  readonly main?: string;
  /** Put before the command: `["setpriv", …]`. */
  readonly prefix?: readonly string[];
}

/** A running (or ended) proxy. */
export class ProxyRun implements AsyncDisposable {
  readonly process: LabProcess;

  private constructor(process: LabProcess) {
    this.process = process;
  }

  /** Starts `run` with a JSON log; does not wait. */
  static launch(host: LabHost, args: readonly string[], options: ProxyRunOptions = {}): ProxyRun {
    const { prefix = [], main = MAIN } = options;
    const deno = [Deno.execPath(), "run", "-A", "--cached-only", main];
    return new ProxyRun(host.spawn([...prefix, ...deno, "run", "--log", "json", ...args], options));
  }

  /** Starts `run` and waits until it is ready. */
  static async start(
    host: LabHost,
    args: readonly string[],
    options?: ProxyRunOptions,
  ): Promise<ProxyRun> {
    const proxy = ProxyRun.launch(host, args, options);
    await proxy.event("ready");
    return proxy;
  }

  /** The first event of that name that `accepts` does not turn down, logged already or still to come. */
  async event<Name extends AppEventName>(
    name: Name,
    accepts: (event: AppEvents[Name]) => boolean = () => true,
    timeoutMs: number = EVENT_TIMEOUT_MS,
  ): Promise<LoggedEvent<Name>> {
    return await this.process.stderr.waitFor((line) => {
      const event = parseEvent(line);
      if (event?.event !== name) return undefined;
      const found = event as unknown as LoggedEvent<Name>;
      return accepts(found as unknown as AppEvents[Name]) ? found : undefined;
    }, timeoutMs);
  }

  /** Everything logged so far of that name. */
  logged<Name extends AppEventName>(name: Name): LoggedEvent<Name>[] {
    return this.process.stderr.lines.map(parseEvent)
      .filter((event) => event?.event === name) as unknown as LoggedEvent<Name>[];
  }

  /** Its exit code, once it has ended by itself. */
  async exitCode(timeoutMs = EVENT_TIMEOUT_MS): Promise<number> {
    return (await this.process.wait(timeoutMs)).code;
  }

  /** SIGTERM, and its totals when it has stopped with exit code 0. */
  async stop(): Promise<AppEvents["stopped"]["totals"]> {
    await this.process.kill("SIGTERM");
    return await this.#totals();
  }

  /** The same without waiting for open connections. */
  async stopByForce(): Promise<AppEvents["stopped"]["totals"]> {
    await this.process.kill("SIGTERM");
    // A second signal of the kind is merged with the first one until that has been delivered.
    await this.event("draining");
    await this.process.kill("SIGTERM");
    return await this.#totals();
  }

  async #totals(): Promise<AppEvents["stopped"]["totals"]> {
    const code = await this.exitCode();
    if (code !== 0) throw new Error(`proxy: exit code ${code}:\n${this.process.stderr.tail()}`);
    return (await this.event("stopped")).totals;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process.stop();
  }
}

function parseEvent(line: string): LoggedEvent | undefined {
  // Deno's own words, about a panic for instance, are no JSON; they show in the tail of a failed wait.
  return line.startsWith("{") ? JSON.parse(line) : undefined;
}

/** Everything of the host that `run` or `rules` could change, as text to compare. */
export async function kernelState(host: LabHost): Promise<string> {
  // In one process: on a busy machine each costs more than what it does.
  const script = "nft -s list ruleset; ip rule; ip -6 rule; " +
    "ip route show table all; ip -6 route show table all";
  return await host.output(["sh", "-c", script]);
}

/** Waits until the rules of a draining proxy take no new connections; the event `draining` comes before that. */
export async function rulesLetPass(host: LabHost): Promise<void> {
  await eventually("no rule takes first packets", async () => {
    return !(await host.output(["nft", "list", "ruleset"])).includes(`comment "take:`);
  }, 15_000);
}

/** Waits until `holds`; for conditions of the kernel that nobody announces. */
export async function eventually(
  what: string,
  holds: () => Promise<boolean>,
  timeoutMs: number,
): Promise<void> {
  const deadline = performance.now() + timeoutMs;
  while (!await holds()) {
    if (performance.now() > deadline) throw new Error(`not within ${timeoutMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
