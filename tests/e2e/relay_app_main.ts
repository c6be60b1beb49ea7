/**
 * The proxy as `run` starts it, with settings that have no flag: `deno run -A relay_app_main.ts SETTINGS`, where
 * SETTINGS is a part of a RunConfig as JSON. Events go to stderr as JSON lines.
 *
 * @module
 */
import { defaultRunConfig, type RunConfig } from "../../config/mod.ts";
import { App, onStopSignals, openLog, writeStderrLine } from "../../control/mod.ts";

if (import.meta.main) {
  const settings = JSON.parse(Deno.args[0]!) as Partial<RunConfig>;
  const config: RunConfig = { ...defaultRunConfig(), from: ["lan0"], udp: "off", flows: true, ...settings };
  using log = openLog({ format: "json", level: "info", write: writeStderrLine });
  const app = new App(config, (event) => log.emit(event));
  using _signals = onStopSignals((nth) => nth === 1 ? app.stop() : app.force());
  await app.start();
  await app.stopped;
}
