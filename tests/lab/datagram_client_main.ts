/**
 * The lab's datagram client, as a program: opens sockets and sends what standard input orders, and reports on standard
 * output everything that its sockets are given, errors included.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { errnoName, isSyscallError } from "../../ffi/mod.ts";
import type {
  DatagramOrder,
  DatagramReport,
  DatagramSpec,
  ReceivedDatagram,
} from "./datagram_client_spec.ts";
import type { IncomingMessage } from "./datagram_message.ts";
import { DatagramProgram, pause, reportLine } from "./datagram_program.ts";
import type { DatagramSocket } from "./datagram_socket.ts";
import { SeededBytes } from "./seeded_bytes.ts";

/** The answers to so many small datagrams fit into any socket's buffer. */
const BURST = 16;
const BURST_BYTES = 32 * 1024;
const BURST_PAUSE_MS = 1;
const TEXT_BYTES = 512;
const UDP_HEADER_BYTES = 8;

/** Obeys standard input until it ends, and ends the process. */
export function runDatagramClient(): void {
  new DatagramClientProgram().run();
}

/** A datagram that fails so often fails by itself. */
const MAX_ATTEMPTS = 3;

interface OpenSocket {
  readonly socket: DatagramSocket;
  readonly queuesErrors: boolean;
}

class DatagramClientProgram {
  readonly #program = new DatagramProgram();
  readonly #sockets = new Map<number, OpenSocket>();

  run(): void {
    this.#program.run((line) => this.#obey(JSON.parse(line) as DatagramOrder));
  }

  #obey(order: DatagramOrder): void {
    const open = this.#sockets.get(order.socket);
    switch (order.do) {
      case "open":
        this.#open(order);
        return;
      case "send":
        if (open !== undefined) this.#send(order.socket, order.datagrams, 0, {}, now());
        return;
      case "close":
        if (open === undefined) return;
        this.#sockets.delete(order.socket);
        this.#program.close(open.socket);
        report({ event: "closed", socket: order.socket });
        return;
    }
  }

  #open({ socket: number, options }: Extract<DatagramOrder, { do: "open" }>): void {
    try {
      const queuesErrors = options.queueErrors ?? true;
      const take = (socket: DatagramSocket) => this.#take(number, socket, queuesErrors);
      const socket = this.#program.open(options, take);
      this.#sockets.set(number, { socket, queuesErrors });
      report({ event: "opened", socket: number, local: socket.local });
    } catch (error) {
      if (!isSyscallError(error)) throw error;
      report({ event: "failed", socket: number, code: error.code });
    }
  }

  /** Sends in bursts, so that what comes back meanwhile is taken in between. */
  #send(
    number: number,
    datagrams: readonly DatagramSpec[],
    from: number,
    errors: Record<number, string>,
    atMs: number,
  ): void {
    const open = this.#sockets.get(number);
    let bytes = 0, at = from;
    for (; at < datagrams.length && at - from < BURST && bytes < BURST_BYTES && open !== undefined; at++) {
      const length = this.#write(datagrams[at]!);
      const n = this.#sendOne(open, length, addressed(datagrams[at]!));
      if (n < 0) errors[at] = errnoName(-n);
      bytes += length;
    }
    if (at >= datagrams.length || open === undefined) {
      report({ event: "sent", socket: number, errors, atMs });
      return;
    }
    pause(BURST_PAUSE_MS);
    this.#program.later(() => this.#send(number, datagrams, at, errors, atMs));
  }

  /** Sends what is in the buffer. @returns -errno of this datagram, not of earlier ones where those are queued. */
  #sendOne({ socket, queuesErrors }: OpenSocket, length: number, datagram: DatagramSpec): number {
    for (let attempt = 0;; attempt++) {
      const n = this.#program.messages.send(socket, length, datagram);
      const isOwn = n >= 0 || !queuesErrors || attempt === MAX_ATTEMPTS;
      // An error that has come for an earlier one fails the next call, and its entry tells the same.
      if (isOwn || this.#program.clearError(socket) === 0 && attempt > 0) return n;
    }
  }

  /** Puts a datagram's bytes into the buffer. @returns their number. */
  #write({ text, bytes = 0, seed = 1, rawFromPort, to }: DatagramSpec): number {
    const into = this.#program.messages.payload.bytes;
    const body = text === undefined
      ? bytes === 0 ? new Uint8Array() : new SeededBytes(seed).next(bytes)
      : new TextEncoder().encode(text);
    if (rawFromPort === undefined) {
      into.set(body);
      return body.length;
    }
    const toPort = Number(to!.slice(to!.lastIndexOf(":") + 1));
    const header = new DataView(into.buffer, into.byteOffset, UDP_HEADER_BYTES);
    header.setUint16(0, rawFromPort);
    header.setUint16(2, toPort);
    header.setUint16(4, UDP_HEADER_BYTES + body.length);
    // No checksum: IPv4 allows that, for IPv6 the kernel fills it in.
    header.setUint16(6, 0);
    into.set(body, UDP_HEADER_BYTES);
    return UDP_HEADER_BYTES + body.length;
  }

  #take(number: number, socket: DatagramSocket, queuesErrors: boolean): void {
    const { messages } = this.#program;
    for (;;) {
      const message = messages.receive(socket.fd);
      if (typeof message !== "number") {
        report({ event: "received", socket: number, ...this.#describe(message) });
        continue;
      }
      const errors = queuesErrors ? this.#takeErrors(number, socket) : this.#reportErrno(number, -message);
      if (errors === 0) return;
    }
  }

  /** @returns how many there were. */
  #takeErrors(number: number, socket: DatagramSocket): number {
    for (let count = 0;; count++) {
      const message = this.#program.messages.receiveError(socket.fd);
      if (typeof message === "number") return count;
      const { from, bytes, error } = message;
      if (error === undefined) continue;
      const quoted = new TextDecoder().decode(this.#payload(Math.min(bytes, TEXT_BYTES)));
      report({ event: "error", socket: number, to: from, quoted, atMs: now(), ...error });
    }
  }

  #reportErrno(number: number, errno: number): number {
    const code = errnoName(errno);
    if (code === "EAGAIN") return 0;
    const error = { code, origin: "none", icmpType: 0, icmpCode: 0, info: 0, to: "", quoted: "" } as const;
    report({ event: "error", socket: number, atMs: now(), ...error });
    return 1;
  }

  #describe(message: IncomingMessage): ReceivedDatagram {
    const payload = this.#payload(message.bytes);
    return {
      ...message,
      ...(message.bytes <= TEXT_BYTES ? { text: new TextDecoder().decode(payload) } : {}),
      sha256: createHash("sha256").update(payload).digest("hex"),
      atMs: now(),
    };
  }

  #payload(bytes: number): Uint8Array {
    return this.#program.messages.payload.bytes.subarray(0, bytes);
  }
}

/** A raw IPv6 socket takes a port in the address for a protocol number (rawv6_sendmsg), and turns it down. */
function addressed(datagram: DatagramSpec): DatagramSpec {
  const { to, rawFromPort } = datagram;
  if (to === undefined || rawFromPort === undefined) return datagram;
  return { ...datagram, to: `${to.slice(0, to.lastIndexOf(":"))}:0` };
}

function now(): number {
  return Math.round(performance.now() * 1000) / 1000;
}

function report(line: DatagramReport): void {
  reportLine(line);
}

if (import.meta.main) runDatagramClient();
