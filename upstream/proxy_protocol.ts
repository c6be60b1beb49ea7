/**
 * The connection as it is, with a header in front that says whose it is (PROXY protocol).
 *
 * @module
 */
import type { Arena, Dialogue } from "../ffi/mod.ts";
import type {
  DatagramFraming,
  DatagramPath,
  DatagramUpstream,
  StreamFailure,
  StreamRequest,
  StreamTarget,
} from "../flow/mod.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import { dialFailed, upstreamFailed } from "./failure.ts";
import { formatServer, type Hop, serverTarget } from "./hop.ts";
import { encodeV1, encodeV2, MAX_V2_BYTES, writeDatagramV2 } from "./proxy_protocol_header.ts";
import type { ProxyProtocolSettings } from "./settings.ts";
import { describeResult, writeAll } from "./stream_io.ts";

/** A server that is told whose the stream is; or every destination. */
export class ProxyProtocolHop implements Hop {
  readonly label: string;
  readonly server: StreamTarget | undefined;
  readonly timeoutMs: number;
  readonly #environment: UpstreamEnvironment;
  readonly #version: 1 | 2;

  constructor(environment: UpstreamEnvironment, settings: ProxyProtocolSettings) {
    const { server, version } = settings;
    this.label = server === undefined
      ? `proxy-protocol ${settings.name}`
      : `proxy-protocol ${formatServer(server)}`;
    this.server = server && serverTarget(server);
    this.timeoutMs = settings.timeoutMs;
    this.#environment = environment;
    this.#version = version;
  }

  *handshake(fd: number, request: StreamRequest): Dialogue<StreamFailure | undefined> {
    const encode = this.#version === 1 ? encodeV1 : encodeV2;
    const header = encode(request.client, request.destination);
    const result = yield* writeAll(this.#environment, fd, header, request.deadlineMs);
    if (result >= 0) return undefined;
    // Without a server of its own it is the destination that has left.
    return this.server === undefined
      ? dialFailed(-result, this.label)
      : upstreamFailed(`${this.label}: ${describeResult(result)}`);
  }
}

/** The same in front of each datagram, version 2. Answers come without. */
export class ProxyProtocolDatagrams implements DatagramUpstream {
  readonly name: string;
  readonly #path: DatagramPath | StreamFailure;

  constructor(environment: UpstreamEnvironment, { name, server }: ProxyProtocolSettings) {
    this.name = name;
    const relay = server && serverTarget(server);
    this.#path = relay === undefined || relay instanceof Uint8Array
      ? { relay, framing: new ProxyProtocolFraming(environment.arena), control: -1 }
      : upstreamFailed(`proxy-protocol ${relay.host}:${relay.port}: a name found, an address wanted`);
  }

  // deno-lint-ignore require-yield
  *openDatagrams(): Dialogue<DatagramPath | StreamFailure> {
    return this.#path;
  }
}

/** A header of version 2 in front of each datagram. */
export class ProxyProtocolFraming implements DatagramFraming {
  readonly maxHeaderBytes = MAX_V2_BYTES;
  readonly framesAnswers = false;
  readonly #bytes: Uint8Array;

  constructor(arena: Arena) {
    this.#bytes = arena.bytes;
  }

  writeHeader(clientAt: number, destinationAt: number, headerAt: number): number {
    return writeDatagramV2(this.#bytes, headerAt, clientAt, destinationAt);
  }

  /** Nothing: there are none. */
  readHeader(): number {
    return -1;
  }
}
