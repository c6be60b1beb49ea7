/**
 * A lab server, as a program: `deno run -A server_main.ts SPEC`, with SPEC a ServerSpec as JSON. Runs inside a lab
 * host, reports on standard output, and obeys one command on standard input: `resume`.
 *
 * @module
 */
import { AccountedConnection } from "./accounted_connection.ts";
import { serveHttp } from "./server_http.ts";
import type { ServedConnection, ServerBehaviour, ServerReport, ServerSpec } from "./server_spec.ts";

const PIECE_BYTES = 64 * 1024;

function report(line: ServerReport): void {
  console.log(JSON.stringify(line));
}

/** Runs the server that `specText` describes, until the process is ended. */
export async function runServer(specText: string): Promise<void> {
  const spec = JSON.parse(specText) as ServerSpec;
  const address = { hostname: spec.address ?? "::", port: spec.port ?? 0 };
  const resumed = waitForResume();
  if (spec.kind === "http") return await serveHttp(address, report);
  using listener = Deno.listen(address);
  report({ event: "ready", address: listener.addr.hostname, port: listener.addr.port });
  for (let number = 1;;) {
    const connection = await accept(listener);
    if (connection === undefined) continue;
    serveOne(new AccountedConnection(connection), number++, spec, resumed).then(report);
  }
}

/** The next connection; undefined for one that was reset before Deno could ask for the peer's address. */
async function accept(listener: Deno.TcpListener): Promise<Deno.TcpConn | undefined> {
  try {
    return await listener.accept();
  } catch (error) {
    if (error instanceof Deno.errors.NotConnected) return undefined;
    throw error;
  }
}

/** Resolves on the line `resume`. Ends the program when standard input does: then the test is gone. */
function waitForResume(): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const follow = async () => {
    for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
      if (text.includes("resume")) resolve();
    }
    Deno.exit(0);
  };
  follow();
  return promise;
}

async function serveOne(
  connection: AccountedConnection,
  number: number,
  behaviour: ServerBehaviour,
  resumed: Promise<void>,
): Promise<ServerReport> {
  const startedAt = performance.now();
  report({ event: "open", connection: number, local: connection.local, peer: connection.peer });
  const receivedBeforeFin = await behave(connection, behaviour, resumed);
  connection.close();
  const served: ServedConnection = {
    connection: number,
    ...connection.account(),
    receivedAfterFin: connection.received - receivedBeforeFin,
    durationMs: Math.round(performance.now() - startedAt),
  };
  return { event: "closed", ...served };
}

/** Does what the kind says. Returns how much had been received when our own FIN left. */
async function behave(
  connection: AccountedConnection,
  behaviour: ServerBehaviour,
  resumed: Promise<void>,
): Promise<number> {
  switch (behaviour.kind) {
    case "echo":
      await echo(connection);
      break;
    case "stall":
      await resumed;
      await sink(connection);
      break;
    case "sink":
      await sink(connection);
      break;
    case "source":
    case "half-close": {
      const { bytes, seed } = behaviour.kind === "source" ? behaviour : { bytes: 0, seed: 0 };
      const written = await connection.writeSeeded(seed, bytes, () => PIECE_BYTES);
      if (written) await connection.halfClose();
      const received = connection.received;
      if (connection.end === "open") await connection.drain();
      return received;
    }
    case "reset":
      await reset(connection, behaviour.afterReceived ?? 0, behaviour.afterSent ?? 0);
      break;
    case "mute":
      await connection.drain();
      break;
    case "close":
    case "http":
      break;
  }
  return connection.received;
}

async function echo(connection: AccountedConnection): Promise<void> {
  const buffer = new Uint8Array(PIECE_BYTES);
  for (;;) {
    const n = await connection.read(buffer);
    if (n === 0 || !await connection.write(buffer.subarray(0, n))) break;
  }
  if (connection.end === "fin") await connection.halfClose();
}

async function sink(connection: AccountedConnection): Promise<void> {
  await connection.drain();
  if (connection.end !== "fin") return;
  const answer = { received: connection.received, sha256: connection.receivedSha256() };
  await connection.write(new TextEncoder().encode(JSON.stringify(answer) + "\n"));
  await connection.halfClose();
}

async function reset(
  connection: AccountedConnection,
  afterReceived: number,
  afterSent: number,
): Promise<void> {
  if (!await connection.writeSeeded(0, afterSent, () => PIECE_BYTES)) return;
  while (connection.received < afterReceived) {
    const buffer = new Uint8Array(Math.min(PIECE_BYTES, afterReceived - connection.received));
    if (await connection.read(buffer) === 0) return;
  }
  connection.reset();
}

if (import.meta.main) await runServer(Deno.args[0] ?? "");
