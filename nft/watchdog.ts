/**
 * Takes the rules away when we can no longer: a shell that reads our pipe, and at its end, however we ended, runs
 * what was written for that. Only where the kernel does not tie the rules to us, and only if they are to go with us.
 *
 * @module
 */
import { SUCCESSOR_CODE } from "./backend.ts";
import type { Exec, ExecSession, Reply } from "./exec.ts";
import { RuleApplyError } from "./rule_apply_error.ts";

/** A watchdog that died is started again at once, but not in a loop that does nothing else. */
const RESTART_MS = 200;
/** A second apart. */
const REMOVE_ATTEMPTS = 60;

/**
 * Signals that a service manager or an operator sends to all of a process's children are not our end.
 *
 * The removal may fail for a while: another program may hold the lock of iptables.
 *
 * Arguments: the removal, and what is to be run after it.
 */
const WATCH = [
  "sh",
  "-c",
  [
    'trap "" HUP INT QUIT TERM USR1 USR2 PIPE ALRM',
    'while read -r line; do [ "$line" != "done" ] || exit 0; echo "$line"; done',
    "exec >/dev/null 2>&1; attempt=1",
    'until (eval "$1"); do',
    `[ "$?" != ${SUCCESSOR_CODE} ] && [ "$attempt" -lt ${REMOVE_ATTEMPTS} ] || exit 1`,
    "attempt=$((attempt + 1)); sleep 1",
    "done",
    'eval "$2"',
  ].join("\n"),
  "sh",
];

/** A shell that outlives us just long enough. */
export class Watchdog {
  readonly #exec: Exec;
  readonly #scripts: readonly [removal: string, afterwards: string];
  #session: ExecSession;
  #isOver = false;

  private constructor(exec: Exec, removal: string, afterwards: string) {
    this.#exec = exec;
    this.#scripts = [removal, afterwards];
    this.#session = this.#start();
  }

  /**
   * @param removal a backend's `removeScript`: run when this process has ended without {@linkcode close}, until it
   *   succeeds.
   * @param afterwards run then, but not where the rules are a successor's, whose are the routes as well.
   */
  static async open(exec: Exec, removal: string, afterwards: string): Promise<Watchdog> {
    const watchdog = new Watchdog(exec, removal, afterwards);
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
    const session = this.#exec.open([...WATCH, ...this.#scripts]);
    // It waits for our end.
    session.unref?.();
    session.ended.then(() => this.#restart());
    return session;
  }

  async #restart(): Promise<void> {
    for (;;) {
      await new Promise((resolve) => setTimeout(resolve, RESTART_MS));
      if (this.#isOver) return;
      try {
        this.#session = this.#start();
        return;
      } catch {
        // No process can be started for the moment: there may be no file descriptors left.
      }
    }
  }
}
