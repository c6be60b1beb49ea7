/**
 * What the lab's datagram programs have in common: a loop that waits for sockets and for lines on standard input.
 *
 * Nothing here awaits: while a program waits it costs nothing, and it answers at once.
 *
 * @module
 */
import { archOf, EAGAIN, EPOLLIN, O_NONBLOCK, Reactor, SO_ERROR, SOL_SOCKET, Timer } from "../../ffi/mod.ts";
import { DatagramMessages } from "./datagram_message.ts";
import { type DatagramSocket, type DatagramSocketOptions, openDatagramSocket } from "./datagram_socket.ts";

// fcntl.h
const F_SETFL = 4;
const INPUT_BYTES = 64 * 1024;
const STDIN = 0;

/** Sockets, standard input, and the loop between them. */
export class DatagramProgram {
  readonly messages = new DatagramMessages();
  readonly #reactor: Reactor;
  readonly #value;

  constructor() {
    const { sys, arena } = this.messages;
    this.#reactor = new Reactor(sys, arena, archOf());
    this.#value = arena.allocate(8);
  }

  /**
   * Opens a socket. `onReadable` must take everything there is.
   *
   * @throws {SyscallError} when that fails.
   */
  open(options: DatagramSocketOptions, onReadable: (socket: DatagramSocket) => void): DatagramSocket {
    const socket = openDatagramSocket(this.messages, options);
    this.#reactor.add(socket.fd, EPOLLIN, { onEvents: () => onReadable(socket) });
    return socket;
  }

  close(socket: DatagramSocket): void {
    this.#reactor.forget(socket.fd);
    this.messages.sys.close(socket.fd);
  }

  /** What is pending on a socket would fail its next call, whatever that is: takes it away. @returns its errno. */
  clearError(socket: DatagramSocket): number {
    this.#value.words[1] = 4;
    const { pointer, offset } = this.#value;
    const length = this.messages.arena.pointerAt(offset + 4);
    this.messages.sys.getsockopt(socket.fd, SOL_SOCKET, SO_ERROR, pointer, length);
    return this.#value.words[0]!;
  }

  /** Calls `work` once more in the next turn, after what has arrived meanwhile. */
  later(work: () => void): void {
    this.#reactor.defer({ onDeferred: work });
  }

  /** Calls `work` in a while, a tenth of a second late at most. */
  after(delayMs: number, work: () => void): void {
    this.#reactor.timers.schedule(new Later(work), delayMs);
  }

  /** Hands each line of standard input to `onLine`, until its end: then the test is gone, and so are we. */
  run(onLine: (line: string) => void): void {
    const { sys, arena } = this.messages;
    const input = arena.allocate(INPUT_BYTES);
    const decoder = new TextDecoder();
    let partial = "";
    sys.fcntl(STDIN, F_SETFL, O_NONBLOCK);
    const read = () => {
      for (;;) {
        const n = sys.read(STDIN, input.pointer, INPUT_BYTES);
        if (n === -EAGAIN) return;
        if (n <= 0) Deno.exit(0);
        const lines = (partial + decoder.decode(input.bytes.subarray(0, n), { stream: true })).split("\n");
        partial = lines.pop()!;
        for (const line of lines) onLine(line);
      }
    };
    this.#reactor.add(STDIN, EPOLLIN, { onEvents: read });
    this.#reactor.run();
  }
}

class Later extends Timer {
  constructor(override readonly onTimer: () => void) {
    super();
  }
}

/** Prints one report. */
export function reportLine(line: unknown): void {
  console.log(JSON.stringify(line));
}

/** Stops the program for a moment. */
export function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}
