/**
 * A SOCKS5 server (RFC 1928, RFC 1929; CONNECT and UDP ASSOCIATE) for tests: `deno run -A socks_server_main.ts SPEC`, with SPEC a
 * SocksServerSpec as JSON. Ends when its standard input does.
 *
 * @module
 */
import { SocksRelay } from "./socks_relay.ts";
import type { SocksFault, SocksReport, SocksServerSpec } from "./socks_server_spec.ts";

const VERSION = 5, LOGIN_VERSION = 1, NO_LOGIN = 0, PASSWORD = 2, NO_METHOD = 0xff;
const IPV4 = 1, DOMAIN = 3, IPV6 = 4;
const CONNECT = 1, ASSOCIATE = 3;
const SUCCEEDED = 0, NETWORK_UNREACHABLE = 3, HOST_UNREACHABLE = 4, REFUSED = 5, NO_SUCH_COMMAND = 7;

function report(line: SocksReport): void {
  console.log(JSON.stringify(line));
}

/** The client has ended within the handshake, or the fault that was asked for is done. */
class Over extends Error {}

/** Reads exactly what is asked for, and counts the reads that it took. */
class Dialogue {
  reads = 0;
  #unread = new Uint8Array(0);

  constructor(readonly connection: Deno.TcpConn, readonly fault: SocksFault | undefined) {}

  async take(length: number): Promise<Uint8Array> {
    while (this.#unread.length < length) {
      const piece = new Uint8Array(4096);
      const count = await this.connection.read(piece);
      if (count === null) throw new Over();
      this.reads++;
      this.#unread = Uint8Array.of(...this.#unread, ...piece.subarray(0, count));
    }
    const taken = this.#unread.subarray(0, length);
    this.#unread = this.#unread.subarray(length);
    return taken;
  }

  /** What came behind the handshake. */
  rest(): Uint8Array {
    return this.#unread;
  }

  async say(...bytes: number[]): Promise<void> {
    if (this.fault === "mute") return;
    const pieces = this.fault === "byte-by-byte" ? bytes.map((byte) => [byte]) : [bytes];
    for (const piece of pieces) {
      await writeAll(this.connection, Uint8Array.from(piece));
      if (pieces.length > 1) await new Promise((resolve) => setTimeout(resolve, 5));
    }
  }
}

async function serve(connection: Deno.TcpConn, { login, fault }: SocksServerSpec): Promise<void> {
  connection.setNoDelay();
  const dialogue = new Dialogue(connection, fault);
  const failsAt = (step: SocksFault) => {
    if (fault === step) throw new Over();
  };
  failsAt("close-on-accept");
  const [, methods] = await dialogue.take(2);
  const offered = await dialogue.take(methods!);
  failsAt("close-on-greeting");
  if (fault === "garbage") {
    await dialogue.say(...new TextEncoder().encode("HTTP/1.0 400 Bad Request\r\n\r\n"));
    throw new Over();
  }
  const wanted = login === undefined ? NO_LOGIN : PASSWORD;
  if (!offered.includes(wanted)) {
    await dialogue.say(VERSION, NO_METHOD);
    throw new Over();
  }
  await dialogue.say(VERSION, wanted);
  const username = login === undefined ? undefined : await checkLogin(dialogue, login);
  const [, command, , kind] = await dialogue.take(4);
  const host = await readHost(dialogue, kind!);
  const [high, low] = await dialogue.take(2);
  const port = high! << 8 | low!;
  report({
    event: command === ASSOCIATE ? "association" : "request",
    peer: endpoint(connection.remoteAddr.hostname, connection.remoteAddr.port),
    target: endpoint(host, port),
    ...(username === undefined ? {} : { username }),
    reads: dialogue.reads,
  });
  failsAt("close-on-request");
  const answer = (reply: number) => dialogue.say(VERSION, reply, 0, IPV4, 0, 0, 0, 0, 0, 0);
  if (typeof fault === "object") return await answer(fault.reply);
  if (command !== CONNECT && command !== ASSOCIATE) return await answer(NO_SUCH_COMMAND);
  if (fault === "mute") return void await dialogue.take(1);
  if (command === ASSOCIATE) return await associate(dialogue);
  let destination: Deno.TcpConn;
  try {
    destination = await Deno.connect({ hostname: host, port });
  } catch (error) {
    return await answer(replyFor(error));
  }
  await answer(SUCCEEDED);
  await writeAll(destination, dialogue.rest());
  await Promise.all([carry(connection, destination), carry(destination, connection)]);
  destination.close();
}

/** As long as the connection lasts. */
async function associate(dialogue: Dialogue): Promise<void> {
  const { hostname } = dialogue.connection.localAddr;
  using relay = await SocksRelay.open(hostname.replace(/^::ffff:(?=\d+\.)/, ""), (client, target) => {
    report({ event: "datagram", client, target });
  });
  await dialogue.say(VERSION, SUCCEEDED, 0, ...relay.name);
  await dialogue.take(1);
}

async function checkLogin(
  dialogue: Dialogue,
  login: { username: string; password: string },
): Promise<string> {
  const [, nameLength] = await dialogue.take(2);
  const text = new TextDecoder();
  const username = text.decode(await dialogue.take(nameLength!));
  const [passwordLength] = await dialogue.take(1);
  const password = text.decode(await dialogue.take(passwordLength!));
  if (dialogue.fault === "close-on-login") throw new Over();
  const isRight = username === login.username && password === login.password;
  await dialogue.say(LOGIN_VERSION, isRight ? 0 : 1);
  if (!isRight) throw new Over();
  return username;
}

async function readHost(dialogue: Dialogue, kind: number): Promise<string> {
  if (kind === IPV4) return (await dialogue.take(4)).join(".");
  if (kind === DOMAIN) return new TextDecoder().decode(await dialogue.take((await dialogue.take(1))[0]!));
  if (kind !== IPV6) throw new Over();
  const bytes = await dialogue.take(16);
  const groups = Array.from({ length: 8 }, (_, i) => (bytes[2 * i]! << 8 | bytes[2 * i + 1]!).toString(16));
  // As everything else prints it.
  return new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);
}

function replyFor(error: unknown): number {
  if (error instanceof Deno.errors.ConnectionRefused) return REFUSED;
  return error instanceof Deno.errors.NetworkUnreachable ? NETWORK_UNREACHABLE : HOST_UNREACHABLE;
}

/** One direction, its end of stream included. */
async function carry(from: Deno.TcpConn, to: Deno.TcpConn): Promise<void> {
  const piece = new Uint8Array(64 * 1024);
  for (let count; (count = await from.read(piece)) !== null;) await writeAll(to, piece.subarray(0, count));
  await to.closeWrite();
}

async function writeAll(to: Deno.TcpConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await to.write(bytes.subarray(at));
}

function endpoint(host: string, port: number): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

async function accept(spec: SocksServerSpec): Promise<void> {
  using listener = Deno.listen({ hostname: spec.address ?? "::", port: spec.port ?? 0 });
  report({ event: "ready", port: listener.addr.port });
  for await (const connection of listener) {
    // A peer that resets or ends is what tests do; the next connection is served all the same.
    serve(connection, spec).catch(() => {}).finally(() => connection.close());
  }
}

if (import.meta.main) {
  accept(JSON.parse(Deno.args[0]!) as SocksServerSpec);
  // Ends the program when standard input does: then the test is gone.
  for await (const _ of Deno.stdin.readable);
  Deno.exit(0);
}
