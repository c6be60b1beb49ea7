/**
 * `run`: the proxy in the foreground, until a signal ends it.
 *
 * @module
 */
import { namesTraffic } from "../config/mod.ts";
import { App, onStopSignals, openLog, writeStderrLine } from "../control/mod.ts";
import { EXIT, type ExitCode } from "./command.ts";
import { scriptFor } from "./rules.ts";
import { runConfig, type RunFlagValues } from "./run_flags.ts";

/** Runs the proxy. */
export async function run(values: RunFlagValues): Promise<ExitCode> {
  const config = runConfig(values);
  if (config.rules === "none" && namesTraffic(config)) {
    console.log(`# Rules and routes are yours to manage:\n${await scriptFor(values)}`);
  } else if (values["dry-run"]) console.log(await scriptFor(values));
  if (values["dry-run"]) return EXIT.ok;

  using log = openLog({ format: config.log, level: config.logLevel, write: writeStderrLine });
  const app = new App(config, (event) => log.emit(event));
  using _signals = onStopSignals((nth) => nth === 1 ? app.stop() : app.force());
  await app.start();
  return await app.stopped ? EXIT.ok : EXIT.failure;
}
