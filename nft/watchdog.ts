/**
 * Takes the rules away when we can no longer: a shell that reads our pipe, and at its end, however we ended, runs
 * what was written for that. Only where the kernel does not tie the rules to us, and only if they are to go with us.
 *
 * @module
 */
import type { Exec, ExecSession, Reply } from "./exec.ts";
import { RuleApplyError } from "./rule_apply_error.ts";

/** A watchdog that died is started again at once, but not in a loop that does nothing else. */
const RESTART_MS = 200;

/**
 * Signals that a terminal or service manager sends to all of a process's children are not our end.
 * The first argument is the script.
 */
const WATCH = [
  "sh",
  "-c",
  'trap "" HUP INT TERM; while read -r line; do [ "$line" != "done" ] || exit 0; echo "$line"; done; ' +
  'eval "$1" >/dev/null 2>&1',
  "sh",
];

/** A shell that outlives us just long enough. */
export class Watchdog {
  readonly #exec: Exec;
  readonly #script: string;
  #session: ExecSession;
  #isOver = false;

  private constructor(exec: Exec, script: string) {
    this.#exec = exec;
    this.#script = script;
    this.#session = this.#start();
  }

  /** @param script what is to be run when this process has ended without {@linkcode close}. */
  static async open(exec: Exec, script: string): Promise<Watchdog> {
    const watchdog = new Watchdog(exec, script);
    // Rules that nobody would take away must not be there before it listens.
    const isReady = ({ stdout }: Reply) => stdout.includes("ready");
    const reply = await watchdog.#session.exchange("ready", isReady);
    if (isReady(reply)) return watchdog;
    await watchdog.close();
    throw new RuleApplyError(
      "apply",
      "the process that is to take the rules away after us did not start",
      reply.stderr,
    );
  }

  /** Ends it without running the script. */
  async close(): Promise<void> {
    this.#isOver = true;
    await this.#session.exchange("done", () => true);
    await this.#session.close();
  }

  #start(): ExecSession {
    const session = this.#exec.open([...WATCH, this.#script]);
    session.ended.then(async () => {
      await new Promise((resolve) => setTimeout(resolve, RESTART_MS));
      if (!this.#isOver) this.#session = this.#start();
    });
    return session;
  }
}
