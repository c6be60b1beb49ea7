/**
 * The talker's process in a lab host: opens connections, says lines on them and reports what it hears, as its
 * standard input tells it. Everything is JSON lines; talker.ts is the test's side.
 *
 * @module
 */
import { netAddrText, peerEndOf } from "../lab/accounted_connection.ts";

/** What the talker is told. */
export type TalkOrder =
  | { readonly do: "dial"; readonly talk: number; readonly address: string; readonly port: number }
  | { readonly do: "say"; readonly talk: number; readonly text: string }
  /** Closes both directions. */
  | { readonly do: "close"; readonly talk: number };

/** What it reports of each talk; `end` comes last, once. */
export type TalkReport =
  | { readonly event: "connected"; readonly talk: number; readonly local: string }
  | { readonly event: "heard"; readonly talk: number; readonly text: string }
  | { readonly event: "end"; readonly talk: number; readonly how: TalkEnd };

/** `fin`, `reset`, `timeout` and `unreachable` are the other side's or the network's doing, `closed` is ours. */
export type TalkEnd = "refused" | "fin" | "reset" | "timeout" | "unreachable" | "closed";

const connections = new Map<number, Deno.TcpConn>();
/** The last write of each talk, and how it failed if it did. */
const writes = new Map<number, Promise<TalkEnd | undefined>>();

if (import.meta.main) await obey();

async function obey(): Promise<void> {
  let partial = "";
  for await (const text of Deno.stdin.readable.pipeThrough(new TextDecoderStream())) {
    const lines = (partial + text).split("\n");
    partial = lines.pop()!;
    for (const line of lines) carryOut(JSON.parse(line));
  }
  // Connections that are still open would keep the process.
  Deno.exit(0);
}

function carryOut(order: TalkOrder): void {
  const connection = connections.get(order.talk);
  switch (order.do) {
    case "dial":
      talk(order.talk, order.address, order.port);
      return;
    case "say":
      if (connection !== undefined) writes.set(order.talk, write(connection, order.text));
      return;
    case "close":
      connections.delete(order.talk);
      connection?.close();
      return;
  }
}

async function talk(id: number, hostname: string, port: number): Promise<void> {
  let connection: Deno.TcpConn;
  try {
    connection = await Deno.connect({ hostname, port });
  } catch (error) {
    const refused = error instanceof Deno.errors.ConnectionRefused;
    report({ event: "end", talk: id, how: refused ? "refused" : peerEndOf(error) });
    return;
  }
  connections.set(id, connection);
  report({ event: "connected", talk: id, local: netAddrText(connection.localAddr as Deno.NetAddr) });
  report({ event: "end", talk: id, how: await listen(id, connection) });
}

async function write(connection: Deno.TcpConn, text: string): Promise<TalkEnd | undefined> {
  try {
    await connection.write(new TextEncoder().encode(text));
    return undefined;
  } catch (error) {
    // Our own close interrupts a write as it does a read.
    return [...connections.values()].includes(connection) ? peerEndOf(error) : "closed";
  }
}

async function listen(id: number, connection: Deno.TcpConn): Promise<TalkEnd> {
  const buffer = new Uint8Array(4096);
  try {
    for (;;) {
      const n = await connection.read(buffer);
      // The kernel tells of a reset once: where a write has heard of it, a read finds the end of the stream.
      if (n === null) return await writes.get(id) ?? "fin";
      report({ event: "heard", talk: id, text: new TextDecoder().decode(buffer.subarray(0, n)) });
    }
  } catch (error) {
    return connections.has(id) ? peerEndOf(error) : "closed";
  }
}

function report(line: TalkReport): void {
  console.log(JSON.stringify(line));
}
