/**
 * A proxy in a lab that is given one configuration after the other: by SIGHUP, as a service manager does it, or by
 * `pellucid reload`.
 *
 * @module
 */
import type { AppEventName } from "../../control/events.ts";
import { gatewayLab, type Lab, type LabHost, type RunResult } from "../lab/mod.ts";
import { type LoggedEvent, MAIN, ProxyRun } from "./proxy_run.ts";

/** Whoever started the tests may have SIGHUP ignored; a proxy would leave it at that. */
const HEARS_HANGUP = ["env", "--default-signal=HUP"];
const RELOAD_TIMEOUT_MS = 15_000;

/** A lab with the proxy in its gateway, and the file that it was started with. */
export class ReloadSite implements AsyncDisposable {
  readonly lab: Lab;
  readonly proxy: ProxyRun;
  readonly file: string;

  private constructor(lab: Lab, proxy: ProxyRun, file: string) {
    this.lab = lab;
    this.proxy = proxy;
    this.file = file;
  }

  /** Resolves when the proxy is ready. @param config text of the file. */
  static async start(config: string): Promise<ReloadSite> {
    const lab = await gatewayLab();
    const file = await Deno.makeTempFile({ prefix: "pellucid-config-", suffix: ".toml" });
    try {
      await Deno.writeTextFile(file, config);
      const flags = ["--config", file];
      const proxy = await ProxyRun.start(lab.host("gateway"), flags, { prefix: HEARS_HANGUP });
      return new ReloadSite(lab, proxy, file);
    } catch (error) {
      await lab.stop();
      await Deno.remove(file);
      throw error;
    }
  }

  get gateway(): LabHost {
    return this.lab.host("gateway");
  }

  /** Has the proxy read another text, by a signal. @returns the event that tells the outcome. */
  async reloadBySignal(config: string): Promise<LoggedEvent<"reloaded" | "reload-failed">> {
    await Deno.writeTextFile(this.file, config);
    const before = this.#outcomes().length;
    await this.proxy.process.kill("SIGHUP");
    return await this.proxy.process.stderr.waitFor(() => this.#outcomes()[before], RELOAD_TIMEOUT_MS);
  }

  /** The same by the command. */
  async reload(config: string, ...flags: string[]): Promise<RunResult> {
    await Deno.writeTextFile(this.file, config);
    return await this.gateway.run([
      ...[Deno.execPath(), "run", "-A", "--cached-only", MAIN, "reload"],
      ...flags,
    ]);
  }

  /** Descriptors of the proxy's process, and its resident memory. */
  async usage(): Promise<{ readonly descriptors: number; readonly residentBytes: number }> {
    const pid = await this.proxy.process.outsidePid();
    const status = await Deno.readTextFile(`/proc/${pid}/status`);
    return {
      descriptors: [...Deno.readDirSync(`/proc/${pid}/fd`)].length,
      residentBytes: 1024 * Number(/^VmRSS:\s*(\d+) kB/m.exec(status)![1]),
    };
  }

  #outcomes(): LoggedEvent<"reloaded" | "reload-failed">[] {
    const names: readonly AppEventName[] = ["reloaded", "reload-failed"];
    return this.proxy.process.stderr.lines.filter((line) => line.startsWith("{")).map((line) =>
      JSON.parse(line)
    )
      .filter(({ event }) => names.includes(event));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.lab.stop();
    await Deno.remove(this.file);
  }
}
