/**
 * Real sockets on loopback for tests of the lower tiers: no privilege, no namespace.
 *
 * @module
 */
import {
  AF_INET,
  archOf,
  Arena,
  type Block,
  checked,
  EINPROGRESS,
  encodeSockaddr,
  openSyscalls,
  Reactor,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  type Socket,
  SocketFactory,
  type Syscalls,
} from "../ffi/mod.ts";
import { parseEndpoint } from "../net/mod.ts";

/** System calls, memory for their arguments, and the descriptors opened through it, closed in the end. */
export class Loopback implements Disposable {
  readonly sys: Syscalls = openSyscalls();
  readonly arena: Arena;
  readonly sockets: SocketFactory;
  readonly #address: Block;
  readonly #pair: Block;
  readonly #toClose: number[] = [];
  readonly #reactors: Reactor[] = [];

  /** @param arenaBytes for what the test allocates. */
  constructor(arenaBytes = 256 * 1024) {
    this.arena = new Arena(arenaBytes);
    this.sockets = new SocketFactory(this.sys, this.arena);
    this.#address = this.arena.allocate(28);
    this.#pair = this.arena.allocate(8);
  }

  openReactor(): Reactor {
    const reactor = new Reactor(this.sys, this.arena, archOf());
    this.#reactors.push(reactor);
    return reactor;
  }

  /** Closes `fd` in the end. */
  own(fd: number): number {
    this.#toClose.push(fd);
    return fd;
  }

  /** A test closes it itself. */
  close(fd: number): void {
    this.#toClose.splice(this.#toClose.indexOf(fd), 1);
    checked("close", this.sys.close(fd));
  }

  pipe(flags = SOCK_NONBLOCK | SOCK_CLOEXEC): [readEnd: number, writeEnd: number] {
    checked("pipe2", this.sys.pipe2(this.#pair.pointer, flags));
    return [this.own(this.#pair.words[0]!), this.own(this.#pair.words[1]!)];
  }

  /** A listener on a free port of 127.0.0.1. */
  listen(): Socket {
    const socket = this.sockets.open(AF_INET, SOCK_STREAM);
    this.own(socket.fd);
    socket.bind(parseEndpoint("127.0.0.1:0")!);
    socket.listen(8);
    return socket;
  }

  /** A non-blocking connect to `listener`, or to another port of 127.0.0.1. @returns the descriptor. */
  connect(port: number): number {
    const fd = this.own(
      checked("socket", this.sys.socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)),
    );
    const length = encodeSockaddr(parseEndpoint(`127.0.0.1:${port}`)!, this.#address.bytes);
    const result = this.sys.connect(fd, this.#address.pointer, length);
    if (result !== -EINPROGRESS) checked("connect", result);
    return fd;
  }

  /** Two connected sockets: the one that dialled, the one that was accepted. */
  connectedPair(): [dialled: number, accepted: number] {
    const listener = this.listen();
    const dialled = this.connect(listener.localEndpoint().port);
    // Loopback completes a handshake within connect.
    const accepted = this.own(
      checked("accept4", this.sys.accept4(listener.fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC)),
    );
    return [dialled, accepted];
  }

  [Symbol.dispose](): void {
    for (const reactor of this.#reactors) reactor.close();
    for (const fd of this.#toClose) this.sys.close(fd);
  }
}
