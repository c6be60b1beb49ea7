/**
 * One host of a lab: runs commands, Deno programs, servers and clients in its network namespace.
 *
 * @module
 */
import { type ClientResult, type ClientSpec } from "./client_spec.ts";
import { ClientRun } from "./client_run.ts";
import { DatagramServer } from "./datagram_server.ts";
import type { DatagramServerSpec } from "./datagram_server_spec.ts";
import { LabProcess, type SpawnOptions } from "./process.ts";
import { labPath } from "./requirements.ts";
import { LabServer } from "./server.ts";
import type { ServerSpec } from "./server_spec.ts";

const RUN_TIMEOUT_MS = 30_000;

/** How a command that is waited for is run. */
export interface RunOptions extends SpawnOptions {
  /** Default 30 s; the command is killed and the call rejects when it takes longer. */
  readonly timeoutMs?: number;
  /** Given to standard input, which is then ended. Default: nothing. */
  readonly stdin?: string | Uint8Array;
}

/** What a finished command left. A failure is a value here: tests assert on it. */
export interface RunResult {
  readonly code: number;
  readonly signal: Deno.Signal | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Got from `lab.host(name)`. Commands run as root of the lab, with the test's environment and directory. */
export class LabHost {
  readonly #processes = new Set<LabProcess>();

  /** `holder` is the id of the process that holds the lab's namespaces. */
  constructor(readonly name: string, readonly holder: number) {}

  /** Starts a command and leaves it running. Its standard input stays open until `closeStdin`. */
  spawn(argv: readonly string[], options: SpawnOptions = {}): LabProcess {
    const namespaces = `/proc/${this.holder}/ns`;
    const nsenter = new Deno.Command("nsenter", {
      args: [
        `--user=${namespaces}/user`,
        `--mount=${namespaces}/mnt`,
        // unshare itself stays in the outer pid namespace; only its children are in the lab's.
        `--pid=${namespaces}/pid_for_children`,
        "--preserve-credentials",
        ...["ip", "netns", "exec", this.name],
        // Entering a mount namespace leaves the working directory at its root. The variables are set here and not for
        // nsenter, so that a test may take PATH away from the command alone.
        ...["env", `--chdir=${options.cwd ?? Deno.cwd()}`],
        // Deno's look for a new version would be datagrams in the lab that no test knows of.
        "DENO_NO_UPDATE_CHECK=1",
        ...Object.entries(options.env ?? {}).map(([name, value]) => `${name}=${value}`),
        ...argv,
      ],
      env: { PATH: labPath() },
      stdin: "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    const process = new LabProcess(argv, nsenter);
    this.#processes.add(process);
    process.drained.then(() => this.#processes.delete(process));
    return process;
  }

  /** Runs a command to its end. @throws {Error} when it takes longer than `timeoutMs`. */
  async run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    const process = this.spawn(argv, options);
    if (options.stdin !== undefined) await process.write(options.stdin);
    await process.closeStdin();
    const { code, signal } = await process.wait(options.timeoutMs ?? RUN_TIMEOUT_MS);
    return { code, signal, stdout: process.stdout.text(), stderr: process.stderr.text() };
  }

  /** What a command prints. @throws {Error} with what it complained about when it fails. */
  async output(argv: readonly string[], options: RunOptions = {}): Promise<string> {
    const { code, stdout, stderr } = await this.run(argv, options);
    if (code !== 0) throw new Error(`${this.name}: ${argv.join(" ")}: exit ${code}: ${stderr}`);
    return stdout;
  }

  /** Starts a Deno program with all permissions. It never downloads: the lab has no way out. */
  deno(script: string, args: readonly string[] = [], options: SpawnOptions = {}): LabProcess {
    return this.spawn([Deno.execPath(), "run", "-A", "--cached-only", script, ...args], options);
  }

  /** Starts a server; it listens when this resolves. */
  serve(spec: ServerSpec): Promise<LabServer> {
    return LabServer.start(this.deno(programUrl("server_main.ts"), [JSON.stringify(spec)]), spec);
  }

  /** Starts a datagram server; it listens when this resolves. */
  serveDatagrams(spec: DatagramServerSpec): Promise<DatagramServer> {
    return DatagramServer.start(this, spec);
  }

  /** Opens one connection, follows the script in `spec` and tells what happened. */
  async connect(spec: ClientSpec): Promise<ClientResult> {
    await using run = this.startClients([spec]);
    return (await run.results())[0]!;
  }

  /** Opens connections at the same time, from one process, and lets the caller watch them. */
  startClients(specs: readonly ClientSpec[]): ClientRun {
    return new ClientRun(this.deno(programUrl("client_main.ts"), []), specs);
  }

  /** From now on this host answers packets for `prefix` with ICMP unreachable. */
  async unreachable(prefix: string): Promise<void> {
    await this.output(["ip", "route", "add", "unreachable", prefix]);
  }

  /** From now on this host drops packets for `prefix` without a word. */
  async blackhole(prefix: string): Promise<void> {
    await this.output(["ip", "route", "add", "blackhole", prefix]);
  }

  /** Resolves when no process of this host is left; called when the lab has ended. */
  async settle(): Promise<void> {
    await Promise.all([...this.#processes].map((process) => process.wait(15_000)));
  }
}

function programUrl(file: string): string {
  return new URL(file, import.meta.url).href;
}
