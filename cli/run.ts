/**
 * `run`: the proxy in the foreground, until a signal ends it.
 *
 * @module
 */
import { namesTraffic } from "../config/mod.ts";
import {
  App,
  ControlSocket,
  type Log,
  onStopSignals,
  openLog,
  refuseReload,
  type ReloadOutcome,
  writeStderrLine,
} from "../control/mod.ts";
import { EXIT, type ExitCode, type Reread } from "./command.ts";
import { scriptFor } from "./rules.ts";
import { type RUN_FLAGS, runConfig, type RunFlagValues } from "./run_flags.ts";

/** Runs the proxy. */
export async function run(
  values: RunFlagValues,
  _operands: readonly string[],
  reread: Reread<typeof RUN_FLAGS>,
): Promise<ExitCode> {
  const config = runConfig(values);
  if (config.rules === "none" && namesTraffic(config)) {
    console.log(`# Rules and routes are yours to manage:\n${await scriptFor(values)}`);
  } else if (values["dry-run"]) console.log(await scriptFor(values));
  if (values["dry-run"]) return EXIT.ok;

  using log = openLog({ format: config.log, level: config.logLevel, write: writeStderrLine });
  const app = new App(config, (event) => log.emit(event));
  const requests = new ReloadRequests(app, log, reread);
  using _signals = onStopSignals(
    (nth) => nth === 1 ? app.stop() : app.force(),
    () => requests.reload(),
  );
  const socket = await ControlSocket.open(config.port, () => requests.reload()).catch((error: Error) =>
    error
  );
  try {
    await app.start();
    if (socket instanceof Error) {
      log.emit({
        event: "warning",
        code: "no-control-socket",
        message: `pellucid reload cannot reach this process: ${socket.message}`,
        hint: "SIGHUP does the same, and the outcome is logged",
      });
    }
    return await app.stopped ? EXIT.ok : EXIT.failure;
  } finally {
    if (!(socket instanceof Error)) socket[Symbol.dispose]();
  }
}

/** Requests to read everything again, from signals and from the socket. */
class ReloadRequests {
  readonly #app: App;
  readonly #log: Log;
  readonly #reread: Reread<typeof RUN_FLAGS>;
  #turn: Promise<unknown> = Promise.resolve();
  #waiting: Promise<ReloadOutcome> | undefined;

  constructor(app: App, log: Log, reread: Reread<typeof RUN_FLAGS>) {
    this.#app = app;
    this.#log = log;
    this.#reread = reread;
  }

  /** One after the other; those that wait are one, since that will read what is there by then. */
  reload(): Promise<ReloadOutcome> {
    if (this.#waiting !== undefined) return this.#waiting;
    const outcome = this.#turn.then(() => {
      this.#waiting = undefined;
      return this.#reload();
    });
    this.#turn = this.#waiting = outcome;
    return outcome;
  }

  async #reload(): Promise<ReloadOutcome> {
    try {
      const { values, inItsWords } = await this.#reread();
      const config = runConfig(values);
      const outcome = await this.#app.reload(config, inItsWords);
      if (outcome.kind === "reloaded") this.#log.change({ format: config.log, level: config.logLevel });
      return outcome;
    } catch (error) {
      return refuseReload(error, (event) => this.#log.emit(event), (issues) => issues);
    }
  }
}
