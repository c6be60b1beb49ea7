/**
 * A lab's datagram server, as a program: `deno run -A datagram_server_main.ts SPEC`, with SPEC a DatagramServerSpec as
 * JSON. Reports on standard output, and obeys one command on standard input: `sums`.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { SOCKADDR_IN6_BYTES, SOCKADDR_IN_BYTES } from "../../ffi/mod.ts";
import { parseEndpoint } from "../../net/mod.ts";
import { answerQuery, answerStatus } from "./datagram_answers.ts";
import { ANSWER, isWhole, REQUEST, SeenNumbers, writeLoad } from "./datagram_load.ts";
import type { IncomingMessage } from "./datagram_message.ts";
import { DatagramProgram, reportLine } from "./datagram_program.ts";
import type {
  DatagramServerReport,
  DatagramServerSpec,
  LoadSums,
  MappingAnswer,
  MappingRequest,
} from "./datagram_server_spec.ts";
import type { DatagramSocket } from "./datagram_socket.ts";

const TEXT_BYTES = 512;
/** Of one flow of a load. */
const NUMBERS = 1 << 16;

/** Runs the server that `specText` describes, until its standard input ends. */
export function runDatagramServer(specText: string): void {
  new DatagramServerProgram(JSON.parse(specText) as DatagramServerSpec).run();
}

class DatagramServerProgram {
  readonly #program = new DatagramProgram();
  readonly #spec: DatagramServerSpec;
  readonly #sums: { -readonly [Name in keyof LoadSums]: number } = {
    received: 0,
    answered: 0,
    duplicates: 0,
    corrupt: 0,
    otherSource: 0,
  };
  readonly #seen = new SeenNumbers(NUMBERS);
  /** Who a flow of a load comes from, as a number. */
  readonly #sources = new Map<number, number>();
  /** Sockets that answer from elsewhere. */
  readonly #elsewhere = new Map<string, DatagramSocket>();
  #port: number;

  constructor(spec: DatagramServerSpec) {
    this.#spec = spec;
    this.#port = spec.port ?? 0;
  }

  run(): void {
    const isLoad = this.#spec.kind === "load";
    for (const address of this.#spec.addresses ?? ["0.0.0.0", "::"]) {
      const from = endpoint(address, this.#port);
      const take = isLoad
        ? (at: DatagramSocket) => this.#takeLoad(at)
        : (at: DatagramSocket) => this.#take(at);
      const socket = this.#program.open({ from, discover: "dont", freebind: true }, take);
      this.#port = portOf(socket);
    }
    report({ event: "ready", port: this.#port });
    this.#program.run((line) => {
      if (line === "sums") report({ event: "sums", ...this.#sums });
    });
  }

  #take(socket: DatagramSocket): void {
    const { messages } = this.#program;
    for (;;) {
      const message = messages.receive(socket.fd);
      if (typeof message === "number") {
        // An answer that nobody wanted: its error would fail the next call.
        const error = messages.receiveError(socket.fd);
        if (typeof error === "number") return;
        continue;
      }
      if (this.#spec.reports ?? true) this.#reportDatagram(socket, message);
      this.#answer(socket, message);
    }
  }

  #reportDatagram(socket: DatagramSocket, { from, asked, bytes, tos }: IncomingMessage): void {
    const payload = this.#program.messages.payload.bytes.subarray(0, bytes);
    report({
      event: "datagram",
      from,
      to: endpoint(asked!, portOf(socket)),
      bytes,
      tos: tos!,
      ...(bytes <= TEXT_BYTES ? { text: new TextDecoder().decode(payload) } : {}),
      sha256: createHash("sha256").update(payload).digest("hex"),
    });
  }

  #answer(socket: DatagramSocket, { from, asked, bytes, tos }: IncomingMessage): void {
    const { messages } = this.#program;
    switch (this.#spec.kind) {
      case "echo":
        messages.send(socket, bytes, { to: from, source: asked, tos: this.#spec.tos ?? tos });
        return;
      case "mapping":
        this.#answerMapping(socket, from, asked!, bytes);
        return;
      case "resolver": {
        const query = messages.payload.bytes.slice(0, bytes);
        this.#sendBack(socket, from, asked!, answerQuery(query, this.#spec.names));
        return;
      }
      case "game": {
        this.#sendBack(socket, from, asked!, answerStatus(this.#text(bytes), this.#spec.status));
        return;
      }
      case "mute":
      case "load":
        return;
    }
  }

  #sendBack(
    socket: DatagramSocket,
    to: string,
    source: string,
    answer: Uint8Array | string | undefined,
  ): void {
    if (answer === undefined) return;
    const { messages } = this.#program;
    const bytes = typeof answer === "string" ? new TextEncoder().encode(answer) : answer;
    messages.payload.bytes.set(bytes);
    messages.send(socket, bytes.length, { to, source });
  }

  /** What has just been received, as text. */
  #text(bytes: number): string {
    return new TextDecoder().decode(this.#program.messages.payload.bytes.subarray(0, bytes));
  }

  #answerMapping(socket: DatagramSocket, mapped: string, address: string, bytes: number): void {
    const { messages } = this.#program;
    const asked = endpoint(address, portOf(socket));
    const text = this.#text(bytes);
    const places = text.startsWith("{") ? (JSON.parse(text) as MappingRequest).from : [asked];
    for (const from of places) {
      const answer: MappingAnswer = { mapped, asked, from };
      const payload = new TextEncoder().encode(JSON.stringify(answer));
      messages.payload.bytes.set(payload);
      const here = parseEndpoint(from)!;
      // A port that was asked for at every address answers from every address.
      if (here.port === this.#port && portOf(socket) === this.#port) {
        messages.send(socket, payload.length, { to: mapped, source: here.address.text });
      } else messages.send(this.#openElsewhere(from), payload.length, { to: mapped });
    }
  }

  #openElsewhere(from: string): DatagramSocket {
    let socket = this.#elsewhere.get(from);
    if (socket === undefined) {
      socket = this.#program.open({ from }, (at) => this.#take(at));
      this.#elsewhere.set(from, socket);
    }
    return socket;
  }

  #takeLoad(socket: DatagramSocket): void {
    const { messages } = this.#program;
    const { payload, name } = messages;
    const { isV4 } = socket;
    for (;;) {
      const bytes = messages.receiveBytes(socket.fd);
      if (bytes < 0) {
        if (typeof messages.receiveError(socket.fd) === "number") return;
        continue;
      }
      const [kind, flow, number] = payload.words as unknown as [number, number, number];
      if (kind !== REQUEST || number >= NUMBERS || !isWhole(payload, bytes)) {
        this.#sums.corrupt++;
        continue;
      }
      if (!this.#seen.add(flow, number)) {
        this.#sums.duplicates++;
        continue;
      }
      this.#sums.received++;
      // Port and the lower half of the address: enough to tell the hosts of a lab apart.
      const [port, low] = [name.bytes[2]! << 8 | name.bytes[3]!, name.words[isV4 ? 1 : 5]!];
      const source = port * 2 ** 32 + (low >>> 0);
      const known = this.#sources.get(flow);
      if (known === undefined) this.#sources.set(flow, source);
      else if (known !== source) this.#sums.otherSource++;
      const length = writeLoad(payload, ANSWER, flow, number);
      const sent = messages.sendBack(socket.fd, length, isV4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES);
      if (sent === length) this.#sums.answered++;
    }
  }
}

function portOf({ local }: DatagramSocket): number {
  return Number(local.slice(local.lastIndexOf(":") + 1));
}

function endpoint(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

function report(line: DatagramServerReport): void {
  reportLine(line);
}

if (import.meta.main) runDatagramServer(Deno.args[0] ?? "");
