/**
 * A connected socket to a resolver: the kernel drops what others send to it, and says when the resolver's port is
 * closed. Its port is one that the kernel has drawn at random (net.ipv4.ip_local_port_range), and so changes from time
 * to time: a port that somebody has found out is of no use for long (RFC 5452, section 9.2).
 *
 * @module
 */
import {
  EPOLLIN,
  type EventHandler,
  SO_MARK,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  sockaddrFamily,
  sockaddrLength,
  SOL_SOCKET,
  TICK_MS,
} from "../ffi/mod.ts";
import type { DnsContext } from "./dns_context.ts";
import type { Transaction } from "./query.ts";
import type { Resolver } from "./resolver.ts";
import { TransactionTable } from "./transaction_table.ts";

/** A socket older than this takes no more queries. */
const LIFETIME_TICKS = 60_000 / TICK_MS;

/** Hears of events. */
export interface SocketOwner {
  onSocketEvents(socket: ResolverSocket, events: number): void;
}

/** One of a resolver's sockets, opened when it is needed. */
export class ResolverSocket implements EventHandler {
  /** -1: not open. */
  fd = -1;
  /** Those whose answers are waited for. */
  readonly transactions = new TransactionTable();
  readonly resolver: Resolver;
  readonly #context: DnsContext;
  readonly #owner: SocketOwner;
  #endTick = 0;
  #answerMs = -1;

  constructor(context: DnsContext, resolver: Resolver, owner: SocketOwner) {
    this.#context = context;
    this.resolver = resolver;
    this.#owner = owner;
  }

  onEvents(_fd: number, events: number): void {
    this.#owner.onSocketEvents(this, events);
  }

  /** Whether another one should take its place. */
  get isOld(): boolean {
    return this.fd >= 0 && this.#context.reactor.timers.tick >= this.#endTick;
  }

  /** An answer has come. */
  markAnswering(): void {
    this.#answerMs = this.#context.reactor.now;
    this.resolver.markAnswering();
  }

  /** Whether any has come since this one was sent. */
  hasAnsweredSince({ sentMs }: Transaction): boolean {
    return this.#answerMs > sentMs;
  }

  /** Makes it old. */
  expire(): void {
    this.#endTick = 0;
  }

  close(): void {
    if (this.fd < 0) return;
    this.#context.reactor.forget(this.fd);
    this.#context.sys.close(this.fd);
    this.fd = -1;
  }

  /** @returns 0 or -errno. */
  open(): number {
    const { sys, reactor, address, mark } = this.#context;
    address.bytes.set(this.resolver.address);
    const type = SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC;
    const fd = sys.socket(sockaddrFamily(address.bytes), type, 0);
    if (fd < 0) return fd;
    let result = mark.words[0] === 0 ? 0 : sys.setsockopt(fd, SOL_SOCKET, SO_MARK, mark.pointer, 4);
    result ||= sys.connect(fd, address.pointer, sockaddrLength(address.bytes));
    result ||= reactor.add(fd, EPOLLIN, this);
    if (result < 0) {
      sys.close(fd);
      return result;
    }
    this.fd = fd;
    this.#endTick = reactor.timers.tick + LIFETIME_TICKS;
    return 0;
  }
}
