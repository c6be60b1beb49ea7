/**
 * The one seam between this folder and other programs: run a command, or keep one open and talk to it.
 *
 * Everything that reads or changes the host goes through an {@linkcode Exec}, so a test can take its place
 * (fake_exec.ts). A command that fails is a result here, never an exception: who asked knows what it means.
 *
 * @module
 */

/** What a command left behind. */
export interface ExecResult {
  /** Exit code; {@linkcode COMMAND_MISSING} when there is no such program, {@linkcode COMMAND_KILLED} when time was up. */
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** As a shell reports it. */
export const COMMAND_MISSING = 127;
/** As a shell reports SIGKILL. */
export const COMMAND_KILLED = 137;

/** Runs programs on the host whose rules are to be changed. */
export interface Exec {
  /** Runs a command to its end, at most `timeoutMs` (default 10 s). */
  run(argv: readonly string[], options?: { stdin?: string; timeoutMs?: number }): Promise<ExecResult>;
  /** Starts a command that reads lines until its input ends. */
  open(argv: readonly string[]): ExecSession;
  /** Whether that process runs, or ran a moment ago, because of this; absent: that is not known. */
  hasStarted?(pid: number): boolean;
  /** Starts a command that tells what happens, and hands on each line of it until it ends, which it does with us. */
  watch(argv: readonly string[], onLine: (line: string) => void): ExecWatch;
}

/** A command that is being listened to. */
export interface ExecWatch {
  /** Resolves with how the command ended. */
  readonly ended: Promise<string>;
  /** Ends it. */
  close(): Promise<void>;
}

/** What a session has said since the last line was sent. */
export interface Reply {
  readonly stdout: string;
  readonly stderr: string;
}

/** A command that is running. */
export interface ExecSession {
  /** Sends a line and gathers the reply until `isComplete`, the end of the command, or `timeoutMs` (default 10 s). */
  exchange(line: string, isComplete: (reply: Reply) => boolean, timeoutMs?: number): Promise<Reply>;
  /** Resolves with how the command ended. */
  readonly ended: Promise<string>;
  /** From now on it does not keep this process from ending. */
  unref?(): void;
  /** Ends its input and waits; kills it when that does not help. */
  close(): Promise<void>;
}

/** Of so many children that have ended the number is still known: what they did is told a moment later. */
const ENDED_KNOWN = 64;

const RUN_TIMEOUT_MS = 10_000;
const CLOSE_TIMEOUT_MS = 2_000;
/** How long after a kill, or its end, we go on listening to a command whose output another process still holds. */
const OUTPUT_GRACE_MS = 500;

/**
 * Runs its arguments until they end, or until its own input does: so a command that reads nothing does not outlive
 * us when we are killed. A signal that a service manager sends to all of a process's children is not its end.
 */
const UNTIL_INPUT_ENDS = [
  "sh",
  "-c",
  'trap "" HUP INT QUIT TERM USR1 USR2 PIPE ALRM; exec 3<&0; "$@" 3<&- & child=$!; ' +
  '{ cat <&3; kill -KILL "$child"; } >/dev/null 2>&1 & killer=$!; exec 3<&-; ' +
  // By then the number may be another process's.
  'wait "$child"; code=$?; kill -KILL "$killer"; exit "$code"',
  "sh",
];

/** The real thing: `Deno.Command`. */
export class HostExec implements Exec {
  readonly #env: Record<string, string>;
  readonly #prefix: readonly string[];
  readonly #children = new Set<number>();
  readonly #ended: number[] = [];

  /** `prefix` is put before every command: `["ip", "netns", "exec", NAME]` acts on another network namespace. */
  constructor(prefix: readonly string[] = []) {
    this.#prefix = prefix;
    // Debian keeps nft and ip where an ordinary user's PATH does not look. Messages are read by programs: no translation.
    this.#env = { PATH: `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/sbin:/usr/bin:/bin`, LC_ALL: "C" };
  }

  async run(
    argv: readonly string[],
    options: { stdin?: string; timeoutMs?: number } = {},
  ): Promise<ExecResult> {
    const missing = {
      code: COMMAND_MISSING,
      stdout: "",
      stderr: `${[...this.#prefix, ...argv][0]}: not found`,
    };
    let child: Deno.ChildProcess;
    try {
      child = this.#spawn(argv, options.stdin === undefined ? "null" : "piped");
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      return missing;
    }
    const said = { stdout: "", stderr: "" };
    const output = [
      new Output(child.stdout, (text) => said.stdout += text),
      new Output(child.stderr, (text) => said.stderr += text),
    ];
    const work = Promise.all([child.status, feed(child, options.stdin), ...output.map(({ ended }) => ended)]);
    const inTime = await within(options.timeoutMs ?? RUN_TIMEOUT_MS, work);
    if (inTime !== undefined) {
      // Its own words are about what it could not start: 126 where PATH names a file that nobody may run.
      return said.stderr.startsWith("setsid: ") ? missing : { code: inTime[0].code, ...said };
    }
    killIfRunning(child);
    await within(OUTPUT_GRACE_MS, work);
    for (const each of output) each.giveUp();
    return { code: COMMAND_KILLED, stdout: said.stdout, stderr: `${argv.join(" ")}: no end, killed` };
  }

  open(argv: readonly string[]): ExecSession {
    return new HostSession(this.#spawn(argv, "piped"));
  }

  watch(argv: readonly string[], onLine: (line: string) => void): ExecWatch {
    return new HostWatch(this.#spawn([...UNTIL_INPUT_ENDS, ...argv], "piped"), onLine);
  }

  /** Its number is the machine's: in a process namespace of our own nothing is recognised. */
  hasStarted(pid: number): boolean {
    if (this.#children.has(pid)) return true;
    try {
      // What a child starts belongs to its process group: the third field after the name.
      const stat = Deno.readTextFileSync(`/proc/${pid}/stat`);
      return this.#children.has(Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[2]));
    } catch {
      // It has ended, perhaps while it was looked at.
      return false;
    }
  }

  /** It leads a session and a process group, which is killed as a whole: what it started would go on in its place. */
  #spawn(argv: readonly string[], stdin: "null" | "piped"): Deno.ChildProcess {
    const command = [...this.#prefix, ...argv];
    let child: Deno.ChildProcess;
    try {
      // Deno itself would fork for it: milliseconds for the page tables of a large process, whose every page then
      // faults once more. Otherwise it does not fork but shares memory with the child.
      child = this.#start(["setsid", ...command], stdin, false);
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      child = this.#start(command, stdin, true);
    }
    this.#children.add(child.pid);
    child.status.then(() => {
      this.#ended.push(child.pid);
      if (this.#ended.length > ENDED_KNOWN) this.#children.delete(this.#ended.shift()!);
    });
    return child;
  }

  #start(
    [program = "", ...args]: readonly string[],
    stdin: "null" | "piped",
    detached: boolean,
  ): Deno.ChildProcess {
    const options = { stdin, stdout: "piped", stderr: "piped", env: this.#env, detached } as const;
    return new Deno.Command(program, { args, ...options }).spawn();
  }
}

/** What `work` resolves to, or undefined when that takes longer. */
async function within<T>(ms: number, work: Promise<T>): Promise<T | undefined> {
  const deadline = Promise.withResolvers<undefined>();
  const timer = setTimeout(() => deadline.resolve(undefined), ms);
  try {
    return await Promise.race([work, deadline.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** One of a command's outputs, which ends when the last process that has it closes it, or we give up. */
class Output {
  /** Resolves when there is no more to come. */
  readonly ended: Promise<void>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;

  constructor(stream: ReadableStream<Uint8Array>, onText: (text: string) => void) {
    this.#reader = stream.getReader();
    this.ended = this.#read(onText);
  }

  giveUp(): void {
    // Nothing is left to be told by a stream that has failed.
    this.#reader.cancel().catch(() => {});
  }

  async #read(onText: (text: string) => void): Promise<void> {
    const decoder = new TextDecoder();
    for (;;) {
      const { value, done } = await this.#reader.read();
      const text = decoder.decode(value, { stream: !done });
      if (text !== "") onText(text);
      if (done) return;
    }
  }
}

async function feed(child: Deno.ChildProcess, text: string | undefined): Promise<void> {
  if (text === undefined) return;
  const writer = child.stdin.getWriter();
  try {
    await writer.write(new TextEncoder().encode(text));
    await writer.close();
  } catch (error) {
    // It ended before it had read everything; its exit code tells why.
    if (!(error instanceof Deno.errors.BrokenPipe)) throw error;
  }
}

/** Kills it and what it started. */
function killIfRunning(child: Deno.ChildProcess): void {
  try {
    // Fails when it has ended: then its number may be another group's.
    child.kill("SIGKILL");
    Deno.kill(-child.pid, "SIGKILL");
  } catch (error) {
    if (!(error instanceof TypeError || error instanceof Deno.errors.NotFound)) throw error;
  }
}

function howItEnded(status: Deno.CommandStatus): string {
  return status.signal === null ? `exit code ${status.code}` : status.signal;
}

class HostWatch implements ExecWatch {
  readonly ended: Promise<string>;
  readonly #child: Deno.ChildProcess;

  constructor(child: Deno.ChildProcess, onLine: (line: string) => void) {
    this.#child = child;
    let said = "";
    const output = [
      new Output(child.stdout, byLine(onLine)),
      new Output(child.stderr, byLine((line) => said = line)),
    ];
    this.ended = child.status.then(async (status) => {
      await within(OUTPUT_GRACE_MS, Promise.all(output.map(({ ended }) => ended)));
      for (const each of output) each.giveUp();
      await this.#endInput();
      return `${howItEnded(status)}${said === "" ? "" : `: ${said}`}`;
    });
  }

  async close(): Promise<void> {
    await this.#endInput();
    if (await within(CLOSE_TIMEOUT_MS, this.ended) === undefined) killIfRunning(this.#child);
    await this.ended;
  }

  async #endInput(): Promise<void> {
    // Fails when the command ended first, which is what is wanted.
    await this.#child.stdin.close().catch(() => {});
  }
}

/** Makes lines of text that comes in pieces; one that nothing ends is none. */
function byLine(onLine: (line: string) => void): (text: string) => void {
  let rest = "";
  return (text) => {
    const lines = (rest + text).split("\n");
    rest = lines.pop()!;
    for (const line of lines) onLine(line);
  };
}

class HostSession implements ExecSession {
  readonly ended: Promise<string>;
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #output: readonly Output[];
  #stdout = "";
  #stderr = "";
  #hasEnded = false;
  #changed = Promise.withResolvers<void>();

  constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#stdin = child.stdin.getWriter();
    this.#output = [
      new Output(child.stdout, (text) => {
        this.#stdout += text;
        this.#announce();
      }),
      new Output(child.stderr, (text) => {
        this.#stderr += text;
        this.#announce();
      }),
    ];
    this.ended = child.status.then((status) => {
      this.#hasEnded = true;
      this.#announce();
      return howItEnded(status);
    });
  }

  async exchange(
    line: string,
    isComplete: (reply: Reply) => boolean,
    timeoutMs = RUN_TIMEOUT_MS,
  ): Promise<Reply> {
    this.#stdout = this.#stderr = "";
    const reply = (): Reply => ({ stdout: this.#stdout, stderr: this.#stderr });
    let isOver = false;
    const answered = async () => {
      try {
        await this.#stdin.write(new TextEncoder().encode(`${line}\n`));
      } catch {
        // The other end is gone: `ended` says how.
        return;
      }
      while (!isOver && !this.#hasEnded && !isComplete(reply())) await this.#changed.promise;
    };
    await within(timeoutMs, answered());
    isOver = true;
    return reply();
  }

  unref(): void {
    this.#child.unref();
  }

  async close(): Promise<void> {
    this.#child.ref();
    // Fails when the command ended first, which is what is wanted; waits for a line that the command does not read.
    this.#stdin.close().catch(() => {});
    if (await within(CLOSE_TIMEOUT_MS, this.ended) === undefined) killIfRunning(this.#child);
    await this.ended;
    await within(OUTPUT_GRACE_MS, Promise.all(this.#output.map(({ ended }) => ended)));
    for (const each of this.#output) each.giveUp();
  }

  #announce(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
