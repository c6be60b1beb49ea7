/**
 * The lab's client, as a program: reads a list of ClientSpec as JSON from standard input, follows all of them at the
 * same time and reports on standard output.
 *
 * @module
 */
import { AccountedConnection, peerEndOf } from "./accounted_connection.ts";
import type { ClientReport, ClientResult, ClientSpec, ClientStep, ConnectOutcome } from "./client_spec.ts";
import { DeadlineError, within } from "./deadline.ts";
import { RaggedSizes } from "./seeded_bytes.ts";

const PROGRESS_INTERVAL_MS = 50;

function report(line: ClientReport): void {
  console.log(JSON.stringify(line));
}

/** Follows the specs given on standard input, and ends the process. */
export async function runClients(): Promise<void> {
  const specs = await new Response(Deno.stdin.readable).json() as ClientSpec[];
  await Promise.all(
    specs.map(async (spec, client) => report({ event: "result", client, result: await run(spec, client) })),
  );
  // A connect that timed out goes on inside Deno and would keep the process.
  Deno.exit(0);
}

async function run(spec: ClientSpec, client: number): Promise<ClientResult> {
  const startedAt = performance.now();
  const sinceStart = () => Math.round(performance.now() - startedAt);
  const connected = await dial(spec);
  const connectMs = sinceStart();
  if (typeof connected === "string") {
    const timedOut = connected === "timeout";
    return { outcome: connected, connectMs, durationMs: connectMs, stepsDone: 0, timedOut };
  }
  const connection = new AccountedConnection(connected);
  report({ event: "connected", client, local: connection.local, peer: connection.peer });
  const stopProgress = reportProgress(connection, client);
  const script = new ScriptRun(connection, spec);
  let timedOut = false;
  try {
    await within(script.run(), Math.max(1, (spec.timeoutMs ?? 30_000) - connectMs), "script");
  } catch (error) {
    if (!(error instanceof DeadlineError)) throw error;
    timedOut = true;
  }
  const durationMs = sinceStart();
  stopProgress();
  connection.close();
  return {
    outcome: "connected",
    connectMs,
    durationMs,
    stepsDone: script.stepsDone,
    timedOut,
    ...connection.account(),
  };
}

async function dial(spec: ClientSpec): Promise<Deno.TcpConn | Exclude<ConnectOutcome, "connected">> {
  try {
    const dialling = Deno.connect({ hostname: spec.address, port: spec.port });
    return await within(dialling, spec.connectTimeoutMs ?? 10_000, "connect");
  } catch (error) {
    if (error instanceof DeadlineError) return "timeout";
    if (error instanceof Deno.errors.ConnectionRefused) return "refused";
    // Connected, and reset before Deno could ask for the peer's address.
    if (error instanceof Deno.errors.NotConnected) return "reset";
    return peerEndOf(error);
  }
}

/** Prints how far the connection is, whenever that has changed. Returns how to stop it. */
function reportProgress(connection: AccountedConnection, client: number): () => void {
  let last = "";
  const timer = setInterval(() => {
    const { sent, received } = connection;
    if (last === `${sent} ${received}`) return;
    last = `${sent} ${received}`;
    report({ event: "progress", client, sent, received });
  }, PROGRESS_INTERVAL_MS);
  return () => clearInterval(timer);
}

/** Takes one connection through the steps of its script. */
class ScriptRun {
  stepsDone = 0;
  readonly #connection: AccountedConnection;
  readonly #spec: ClientSpec;
  #reading: Promise<void> | undefined;
  #progress = Promise.withResolvers<void>();

  constructor(connection: AccountedConnection, spec: ClientSpec) {
    this.#connection = connection;
    this.#spec = spec;
    if (spec.reading !== "on-step") this.#startReading();
  }

  async run(): Promise<void> {
    for (const step of this.#spec.steps) {
      if (!await this.#do(step)) {
        // The rest of the script is for a connection that is there; what still comes is worth counting.
        await this.#reading;
        return;
      }
      this.stepsDone++;
    }
  }

  #startReading(): void {
    this.#reading ??= this.#read();
  }

  async #read(): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    for (;;) {
      const n = await this.#connection.read(buffer);
      this.#progress.resolve();
      this.#progress = Promise.withResolvers();
      if (n === 0) return;
    }
  }

  /** False: the server is gone. */
  async #do(step: ClientStep): Promise<boolean> {
    const connection = this.#connection;
    switch (step.do) {
      case "send": {
        const seed = step.seed ?? 1;
        const sizes = new RaggedSizes(seed);
        return await connection.writeSeeded(seed, step.bytes, () => sizes.next());
      }
      case "half-close":
        await connection.halfClose();
        return connection.end !== "reset";
      case "read":
        this.#startReading();
        return true;
      case "await-bytes":
        while (connection.received < step.bytes && connection.end === "open") await this.#progress.promise;
        return true;
      case "await-end":
        await this.#reading;
        return true;
      case "sleep":
        await new Promise((resolve) => setTimeout(resolve, step.ms));
        return true;
      case "reset":
        connection.reset();
        return true;
    }
  }
}

if (import.meta.main) await runClients();
