/**
 * A process inside a lab host, driven from outside.
 *
 * The child that Deno knows is nsenter, which stays outside and waits; the command itself is nsenter's only child.
 * Signals go to the command, by the id it has outside, and what nsenter reports is how the command ended.
 *
 * @module
 */
import { within } from "./deadline.ts";
import { LineLog } from "./line_log.ts";

/** How a process is started. */
export interface SpawnOptions {
  /** Added to the environment the test has. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default: the directory the test runs in. */
  readonly cwd?: string;
}

/** A running command. Ends with the lab at the latest. */
export class LabProcess implements AsyncDisposable {
  readonly stdout: LineLog;
  readonly stderr: LineLog;
  /** How the command ended; `signal` is the one that killed the command itself. */
  readonly status: Promise<Deno.CommandStatus>;
  /** Settles when the command has ended and nothing that it started holds its output any more. */
  readonly drained: Promise<void>;
  readonly #nsenter: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  #hasEnded = false;

  constructor(readonly argv: readonly string[], nsenter: Deno.ChildProcess) {
    this.#nsenter = nsenter;
    this.stdout = new LineLog(nsenter.stdout);
    this.stderr = new LineLog(nsenter.stderr);
    this.#stdin = nsenter.stdin.getWriter();
    this.status = this.#reap();
    this.drained = Promise.all([this.status, this.stdout.ended, this.stderr.ended]).then(() => {});
  }

  async #reap(): Promise<Deno.CommandStatus> {
    const status = await this.#nsenter.status;
    this.#hasEnded = true;
    await this.closeStdin();
    return status;
  }

  /** Whether the command still runs, as far as has been noticed. */
  get running(): boolean {
    return !this.#hasEnded;
  }

  /** The command's process id on this machine, outside the lab. @throws {Error} when it has ended. */
  async outsidePid(): Promise<number> {
    const nsenter = this.#nsenter.pid;
    // nsenter forks within a few milliseconds of its start.
    for (let attempt = 0; attempt < 500 && !this.#hasEnded; attempt++) {
      const children = await readOrEmpty(`/proc/${nsenter}/task/${nsenter}/children`);
      if (children !== "") return Number(children.trim().split(" ")[0]);
      await new Promise((resolve) => setTimeout(resolve, 2));
    }
    throw new Error(`${this.argv[0]}: has no process any more`);
  }

  /** The command's process id as it sees it itself. @throws {Error} when it has ended. */
  async insidePid(): Promise<number> {
    const status = await readOrEmpty(`/proc/${await this.outsidePid()}/status`);
    const pid = /^NSpid:.*\s(\d+)$/m.exec(status)?.[1];
    if (pid === undefined) throw new Error(`${this.argv[0]}: has no process any more`);
    return Number(pid);
  }

  /**
   * Sends a signal to the command. When this resolves SIGSTOP has stopped it, and SIGCONT has it going.
   *
   * nsenter stops itself when its child is stopped, would not notice the child's end then, and continues the child when it
   * is continued: so it has to have done each before the next signal comes.
   *
   * @throws {Error} when it has ended.
   */
  async kill(signal: Deno.Signal): Promise<void> {
    const pid = await this.outsidePid(), nsenter = this.#nsenter.pid;
    Deno.kill(pid, signal);
    if (signal === "SIGSTOP") {
      await untilThreads(pid, (state) => state === "T");
      await untilThreads(nsenter, (state) => state === "T");
    }
    if (signal === "SIGCONT" || signal === "SIGKILL") Deno.kill(nsenter, "SIGCONT");
    if (signal === "SIGCONT") await untilThreads(nsenter, (state) => state === "S");
  }

  /** Writes to the command's standard input. */
  async write(data: string | Uint8Array): Promise<void> {
    await this.#stdin.write(typeof data === "string" ? new TextEncoder().encode(data) : data);
  }

  /** Ends the command's standard input; again is harmless. */
  async closeStdin(): Promise<void> {
    // A command that ended without reading leaves a broken pipe, which is no news by then.
    await this.#stdin.close().catch(() => {});
  }

  /** Waits for the end and all output. @throws {Error} with what was printed, after killing the command. */
  async wait(timeoutMs: number): Promise<Deno.CommandStatus> {
    try {
      await within(this.drained, timeoutMs, this.argv.join(" "));
      return await this.status;
    } catch (error) {
      await this.stop();
      throw error instanceof Error
        ? new Error(`${error.message}\n${this.stderr.tail()}`, { cause: error })
        : error;
    }
  }

  /** Kills the command with all its children if it still runs, and waits for its end. */
  async stop(): Promise<void> {
    if (!this.#hasEnded) {
      const children = await descendants(this.#nsenter.pid);
      await this.kill("SIGKILL").catch(() => {});
      for (const pid of children) killIfThere(pid);
    }
    await within(this.status, 15_000, `end of ${this.argv.join(" ")}`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }
}

/** Waits until all threads of a process are in such a state: one takes a signal, the others run on until told. */
async function untilThreads(pid: number, isDone: (state: string) => boolean): Promise<void> {
  let states: string[] = [];
  for (let attempt = 0; attempt < 2_500; attempt++) {
    const tasks = await Array.fromAsync(Deno.readDir(`/proc/${pid}/task`));
    const stats = await Promise.all(tasks.map(({ name }) => readOrEmpty(`/proc/${pid}/task/${name}/stat`)));
    // The state is behind the name, which is in parentheses. A thread that has ended has none.
    states = stats.filter((stat) => stat !== "").map((stat) => stat[stat.lastIndexOf(")") + 2]!);
    if (states.every(isDone)) return;
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  throw new Error(`process ${pid}: its threads stay in the states ${states.join("")}`);
}

/** Ids of all processes below `pid`, parents first. */
async function descendants(pid: number): Promise<number[]> {
  const text = await readOrEmpty(`/proc/${pid}/task/${pid}/children`);
  const children = text.split(" ").filter((word) => word !== "").map(Number);
  return [...children, ...(await Promise.all(children.map(descendants))).flat()];
}

function killIfThere(pid: number): void {
  try {
    Deno.kill(pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

async function readOrEmpty(path: string): Promise<string> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    // A process that ends between open and read gives ESRCH instead of a missing file.
    if (error instanceof Deno.errors.NotFound || (error as { code?: unknown }).code === "ESRCH") return "";
    throw error;
  }
}
