/**
 * What is said to a SOCKS5 server (RFC 1928), for streams and for datagrams alike.
 *
 * Pipelined, greeting, login and request leave in one packet: beyond the TCP connection, the handshake costs one round
 * trip. For that only one method may be offered, so that there is nothing to wait for.
 *
 * @module
 */
import { type Dialogue, ETIMEDOUT } from "../ffi/mod.ts";
import type { StreamFailure, StreamRequest, StreamTarget } from "../flow/mod.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import { authFailed, destinationFailed, upstreamFailed } from "./failure.ts";
import { formatServer, type Hop, serverTarget } from "./hop.ts";
import type { Socks5Settings } from "./settings.ts";
import {
  addressBytes,
  CONNECT,
  decodeAddress,
  DOMAIN,
  encodeGreeting,
  encodeLogin,
  encodeRequest,
  hex,
  LOGIN_VERSION,
  NO_LOGIN,
  NO_METHOD,
  PASSWORD,
  refusalOf,
  REPLY_HEAD_BYTES,
  SOCKS_VERSION,
  UDP_ASSOCIATE,
} from "./socks5_messages.ts";
import { describeResult, readExactly, writeAll } from "./stream_io.ts";

/** What the server has bound for us: a sockaddr; or a name, as text for the log. */
type Bound = { readonly bound: Uint8Array | string };

/** A SOCKS5 server. */
export class Socks5Hop implements Hop {
  readonly label: string;
  readonly server: StreamTarget;
  readonly timeoutMs: number;
  readonly #environment: UpstreamEnvironment;
  readonly #pipeline: boolean;
  /** The methods that we offer, and the messages that are always the same. */
  readonly #methods: readonly number[];
  readonly #greeting: Uint8Array;
  readonly #login: Uint8Array | undefined;

  /** @throws {RangeError} for a name or password that is empty or longer than 255 bytes. */
  constructor(environment: UpstreamEnvironment, settings: Socks5Settings) {
    const { credentials, pipeline } = settings;
    this.label = `socks5 ${formatServer(settings.server)}`;
    this.server = serverTarget(settings.server);
    this.timeoutMs = settings.timeoutMs;
    this.#environment = environment;
    this.#pipeline = pipeline;
    if (credentials === undefined) this.#methods = [NO_LOGIN];
    else this.#methods = pipeline ? [PASSWORD] : [NO_LOGIN, PASSWORD];
    this.#greeting = encodeGreeting(this.#methods);
    this.#login = credentials && encodeLogin(credentials);
  }

  *handshake(fd: number, { target, deadlineMs }: StreamRequest): Dialogue<StreamFailure | undefined> {
    const answer = yield* this.#ask(fd, CONNECT, target, deadlineMs);
    return "bound" in answer ? undefined : answer;
  }

  /**
   * Asks for a relay of datagrams.
   *
   * @param from sockaddr of where they will come from; zeros: not known yet.
   */
  associate(fd: number, from: Uint8Array, deadlineMs: number): Dialogue<Bound | StreamFailure> {
    return this.#ask(fd, UDP_ASSOCIATE, from, deadlineMs);
  }

  *#ask(
    fd: number,
    command: number,
    target: StreamTarget,
    deadlineMs: number,
  ): Dialogue<Bound | StreamFailure> {
    const request = encodeRequest(command, target);
    if (this.#pipeline) {
      const all = concatenated(this.#greeting, this.#login, request);
      const written = yield* writeAll(this.#environment, fd, all, deadlineMs);
      if (written < 0) return this.#broken(written);
    }
    const failure = yield* this.#introduce(fd, deadlineMs);
    if (failure !== undefined) return failure;
    if (!this.#pipeline) {
      const written = yield* writeAll(this.#environment, fd, request, deadlineMs);
      if (written < 0) return this.#broken(written);
    }
    return yield* this.#readReply(fd, command, deadlineMs);
  }

  /** Greeting and login; when all has been sent, only their answers. */
  *#introduce(fd: number, deadlineMs: number): Dialogue<StreamFailure | undefined> {
    const environment = this.#environment;
    const choice = new Uint8Array(2), verdict = new Uint8Array(2);
    let result = this.#pipeline ? 0 : yield* writeAll(environment, fd, this.#greeting, deadlineMs);
    result ||= yield* readExactly(environment, fd, choice, deadlineMs, false);
    if (result < 0) return this.#broken(result);
    const method = choice[1]!;
    if (choice[0] !== SOCKS_VERSION) return this.#nonsense("greeting", choice);
    if (method === NO_METHOD) {
      return authFailed(
        `${this.label}: ${
          this.#login === undefined ? "it wants a username and password" : "it takes no username and password"
        }`,
      );
    }
    if (!this.#methods.includes(method)) return this.#nonsense("greeting", choice);
    if (method === NO_LOGIN) return undefined;
    result = this.#pipeline ? 0 : yield* writeAll(environment, fd, this.#login!, deadlineMs);
    result ||= yield* readExactly(environment, fd, verdict, deadlineMs, this.#pipeline);
    if (result < 0) return this.#broken(result);
    if (verdict[0] !== LOGIN_VERSION) return this.#nonsense("login", verdict);
    return verdict[1] === 0 ? undefined : authFailed(`${this.label}: username or password refused`);
  }

  *#readReply(fd: number, command: number, deadlineMs: number): Dialogue<Bound | StreamFailure> {
    const environment = this.#environment;
    const head = new Uint8Array(REPLY_HEAD_BYTES);
    const result = yield* readExactly(environment, fd, head, deadlineMs, this.#pipeline);
    // It has answered so far: what it waits for now is the destination.
    if (result === -ETIMEDOUT && command === CONNECT) {
      return destinationFailed("connect-timeout", `${this.label}: ${describeResult(result)}`);
    }
    if (result < 0) return this.#broken(result);
    const [version, code, , kind] = head as unknown as [number, number, number, number];
    if (version !== SOCKS_VERSION) return this.#nonsense("request", head);
    if (code !== 0) {
      // Whatever follows: the stream is of no more use.
      const { reason, atUpstream, text } = refusalOf(code);
      return { fd: -1, end: { reason, side: "upstream" }, atUpstream, detail: `${this.label}: ${text}` };
    }
    return yield* this.#readBound(fd, kind, head, deadlineMs);
  }

  *#readBound(
    fd: number,
    kind: number,
    head: Uint8Array,
    deadlineMs: number,
  ): Dialogue<Bound | StreamFailure> {
    let length = addressBytes(kind);
    if (length === undefined) {
      if (kind !== DOMAIN) return this.#nonsense("request", head);
      const name = new Uint8Array(1);
      const result = yield* readExactly(this.#environment, fd, name, deadlineMs, true);
      if (result < 0) return this.#broken(result);
      length = name[0]! + 2;
    }
    const address = new Uint8Array(length);
    const result = yield* readExactly(this.#environment, fd, address, deadlineMs, true);
    if (result < 0) return this.#broken(result);
    return { bound: kind === DOMAIN ? printable(address.subarray(0, -2)) : decodeAddress(address) };
  }

  #broken(result: number): StreamFailure {
    return upstreamFailed(`${this.label}: ${describeResult(result)}`);
  }

  #nonsense(to: string, answer: Uint8Array): StreamFailure {
    return upstreamFailed(`${this.label}: its answer to our ${to} is not SOCKS5: ${hex(answer)}`);
  }
}

function concatenated(...parts: (Uint8Array | undefined)[]): Uint8Array {
  const bytes = new Uint8Array(parts.reduce((sum, part) => sum + (part?.length ?? 0), 0));
  let at = 0;
  for (const part of parts) {
    if (part === undefined) continue;
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** Text of a stranger's, fit for a log. */
function printable(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte > 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "?").join("");
}
