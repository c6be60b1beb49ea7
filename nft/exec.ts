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
  /** Ends its input and waits; kills it when that does not help. */
  close(): Promise<void>;
}

const RUN_TIMEOUT_MS = 10_000;
const CLOSE_TIMEOUT_MS = 2_000;

/**
 * Runs its arguments until they end, or until its own input does: so a command that reads nothing does not outlive
 * us when we are killed. A signal that a terminal sends to all of a process's children is not its end.
 */
const UNTIL_INPUT_ENDS = [
  "sh",
  "-c",
  'trap "" HUP INT TERM; exec 3<&0; "$@" 3<&- & child=$!; ' +
  '{ cat <&3; kill -KILL "$child"; } >/dev/null 2>&1 & killer=$!; exec 3<&-; ' +
  // By then the number may be another process's.
  'wait "$child"; code=$?; kill -KILL "$killer"; exit "$code"',
  "sh",
];

/** The real thing: `Deno.Command`. */
export class HostExec implements Exec {
  readonly #env: Record<string, string>;
  readonly #prefix: readonly string[];

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
    const [program = "", ...args] = [...this.#prefix, ...argv];
    const timeout = AbortSignal.timeout(options.timeoutMs ?? RUN_TIMEOUT_MS);
    let child: Deno.ChildProcess;
    try {
      child = new Deno.Command(program, {
        args,
        env: this.#env,
        stdin: options.stdin === undefined ? "null" : "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
      return { code: COMMAND_MISSING, stdout: "", stderr: `${program}: not found` };
    }
    const kill = () => killIfRunning(child);
    timeout.addEventListener("abort", kill);
    try {
      const [output] = await Promise.all([child.output(), feed(child, options.stdin)]);
      const decoder = new TextDecoder();
      return {
        code: timeout.aborted ? COMMAND_KILLED : output.code,
        stdout: decoder.decode(output.stdout),
        stderr: timeout.aborted ? `${argv.join(" ")}: no end, killed` : decoder.decode(output.stderr),
      };
    } finally {
      timeout.removeEventListener("abort", kill);
    }
  }

  open(argv: readonly string[]): ExecSession {
    return new HostSession(this.#spawn(argv));
  }

  watch(argv: readonly string[], onLine: (line: string) => void): ExecWatch {
    return new HostWatch(this.#spawn([...UNTIL_INPUT_ENDS, ...argv]), onLine);
  }

  #spawn(argv: readonly string[]): Deno.ChildProcess {
    const [program = "", ...args] = [...this.#prefix, ...argv];
    return new Deno.Command(program, {
      args,
      env: this.#env,
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
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

function killIfRunning(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    // It has ended already.
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
    const output = Promise.all([
      eachLine(child.stdout, onLine),
      eachLine(child.stderr, (line) => said = line),
      child.status,
    ]);
    this.ended = output.then(async ([, , status]) => {
      await this.#endInput();
      return `${howItEnded(status)}${said === "" ? "" : `: ${said}`}`;
    });
  }

  async close(): Promise<void> {
    await this.#endInput();
    const timer = setTimeout(() => killIfRunning(this.#child), CLOSE_TIMEOUT_MS);
    try {
      await this.ended;
    } finally {
      clearTimeout(timer);
    }
  }

  async #endInput(): Promise<void> {
    // Fails when the command ended first, which is what is wanted.
    await this.#child.stdin.close().catch(() => {});
  }
}

async function eachLine(
  stream: ReadableStream<Uint8Array>,
  onLine: (line: string) => void,
): Promise<void> {
  let rest = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + chunk).split("\n");
    rest = lines.pop()!;
    for (const line of lines) onLine(line);
  }
  if (rest !== "") onLine(rest);
}

class HostSession implements ExecSession {
  readonly ended: Promise<string>;
  readonly #child: Deno.ChildProcess;
  readonly #stdin: WritableStreamDefaultWriter<Uint8Array>;
  readonly #readers: Promise<void>[];
  #stdout = "";
  #stderr = "";
  #hasEnded = false;
  #changed = Promise.withResolvers<void>();

  constructor(child: Deno.ChildProcess) {
    this.#child = child;
    this.#stdin = child.stdin.getWriter();
    this.#readers = [
      this.#read(child.stdout, (text) => this.#stdout += text),
      this.#read(child.stderr, (text) => this.#stderr += text),
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
    try {
      await this.#stdin.write(new TextEncoder().encode(`${line}\n`));
    } catch {
      // The other end is gone: `ended` says how.
      return reply();
    }
    const deadline = Promise.withResolvers<void>();
    let timeIsUp = false;
    const timer = setTimeout(() => {
      timeIsUp = true;
      deadline.resolve();
    }, timeoutMs);
    try {
      while (!timeIsUp && !this.#hasEnded && !isComplete(reply())) {
        await Promise.race([this.#changed.promise, deadline.promise]);
      }
    } finally {
      clearTimeout(timer);
    }
    return reply();
  }

  async close(): Promise<void> {
    // Fails when the command ended first, which is what is wanted.
    await this.#stdin.close().catch(() => {});
    const timer = setTimeout(() => killIfRunning(this.#child), CLOSE_TIMEOUT_MS);
    try {
      await this.ended;
    } finally {
      clearTimeout(timer);
    }
    await Promise.all(this.#readers);
  }

  async #read(stream: ReadableStream<Uint8Array>, append: (text: string) => void): Promise<void> {
    for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
      append(chunk);
      this.#announce();
    }
  }

  #announce(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers<void>();
  }
}
