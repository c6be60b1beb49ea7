/**
 * One resolver: its sockets, what is waited for from it, and whether it is thought to answer.
 *
 * @module
 */
import { encodeSockaddr, SOCKADDR_IN6_BYTES, TICK_MS, Timer } from "../ffi/mod.ts";
import { type Endpoint, formatEndpoint } from "../net/mod.ts";
import type { DnsContext } from "./dns_context.ts";
import type { Transaction } from "./query.ts";
import type { RandomWords } from "./random_words.ts";
import { ResolverSocket, type SocketOwner } from "./resolver_socket.ts";

/** Sockets of one resolver that take queries; a power of two. */
const SOCKETS = 8;
/** Not answered for so long is not answered. */
const OVERDUE_TICKS = 2_000 / TICK_MS;
/** An answer that comes later is not passed on any more: the client has long given up. */
const LOST_TICKS = 10_000 / TICK_MS;
/** Between two looks whether a resolver that has failed answers again. */
const PROBE_TICKS = 10_000 / TICK_MS;
/** The sockets of a resolver that fails are exchanged no more often than that: the old ones stay open meanwhile. */
const EXCHANGE_TICKS = LOST_TICKS;

/** Hears what the time does to transactions. */
export interface ResolverOwner extends SocketOwner {
  /** Not answered within 2 s. It goes on waiting, and is not told of again until it is lost. */
  onOverdue(transaction: Transaction, resolver: Resolver): void;
  /** Not answered at all: to be released. */
  onLost(transaction: Transaction): void;
}

/** A resolver, seen by one worker. */
export class Resolver extends Timer {
  /** sockaddr bytes */
  readonly address = new Uint8Array(SOCKADDR_IN6_BYTES);
  readonly name: string;
  /** Its bit in the set of those that a query was put to. */
  readonly bit: number;
  /** An error has told that it cannot be reached; what waits for it has not been seen to yet. */
  hasFailed = false;
  readonly #context: DnsContext;
  readonly #owner: ResolverOwner;
  #isDown = false;
  #downTick = 0;
  #probeTick = 0;
  #answerMs = -1;
  #exchangeTick = -EXCHANGE_TICKS;
  readonly #sockets: ResolverSocket[];
  /** Old ones, until what waits on them has been answered or is lost. */
  readonly #retired = new Set<ResolverSocket>();
  /** By time. All from `#fresh` on are not overdue. */
  #oldest: Transaction | undefined;
  #newest: Transaction | undefined;
  #fresh: Transaction | undefined;

  constructor(context: DnsContext, endpoint: Endpoint, index: number, owner: ResolverOwner) {
    super();
    this.#context = context;
    this.#owner = owner;
    this.name = formatEndpoint(endpoint);
    this.bit = 1 << index;
    encodeSockaddr(endpoint, this.address);
    this.#sockets = Array.from({ length: SOCKETS }, () => new ResolverSocket(context, this, owner));
  }

  /** A socket that is open, drawn at random; or -errno of opening it. */
  drawSocket(random: RandomWords): ResolverSocket | number {
    const at = random.next() % SOCKETS;
    let socket = this.#sockets[at]!;
    if (socket.isOld) {
      if (socket.transactions.size === 0) socket.close();
      else {
        this.#retired.add(socket);
        socket = this.#sockets[at] = new ResolverSocket(this.#context, this, this.#owner);
      }
    }
    const result = socket.fd < 0 ? socket.open() : 0;
    return result < 0 ? result : socket;
  }

  /** Whether it has failed and not answered since. */
  get isDown(): boolean {
    return this.#isDown;
  }

  /** When it failed last. */
  get downTick(): number {
    return this.#downTick;
  }

  /** The transaction that has waited longest. */
  get oldest(): Transaction | undefined {
    return this.#oldest;
  }

  /** Whether it is time to see if it answers again; asking sets the time for the next. */
  takeProbe(): boolean {
    const { tick } = this.#context.reactor.timers;
    if (!this.#isDown || tick - this.#probeTick < PROBE_TICKS) return false;
    this.#probeTick = tick;
    return true;
  }

  markDown(why: string): void {
    const { tick } = this.#context.reactor.timers;
    this.#downTick = tick;
    if (this.#isDown) return;
    this.#isDown = true;
    this.#probeTick = tick;
    // It may be that this host has another address now: a connected socket keeps the one it had.
    if (tick - this.#exchangeTick >= EXCHANGE_TICKS) {
      this.#exchangeTick = tick;
      for (const socket of this.#sockets) socket.expire();
    }
    this.#context.warn("dns-resolver-down", `${this.name} ${why}`);
  }

  markAnswering(): void {
    this.#isDown = false;
    this.#answerMs = this.#context.reactor.now;
  }

  /** Whether it has answered anything since this one was sent. */
  hasAnsweredSince({ sentMs }: Transaction): boolean {
    return this.#answerMs > sentMs;
  }

  /** Waits for an answer. */
  append(transaction: Transaction): void {
    const { timers } = this.#context.reactor;
    transaction.socket.transactions.add(transaction);
    transaction.sentTick = timers.tick;
    transaction.sentMs = this.#context.reactor.now;
    transaction.older = this.#newest;
    if (this.#newest === undefined) this.#oldest = transaction;
    else this.#newest.newer = transaction;
    this.#newest = transaction;
    if (this.#fresh !== undefined) return;
    this.#fresh = transaction;
    // It may be set already, for what is overdue to be lost, or for one that has been answered meanwhile.
    const dueTick = timers.tick + OVERDUE_TICKS;
    if (this.next === null || this.dueTick > dueTick) this.#scheduleFor(dueTick);
  }

  /** Waits no more. */
  remove(transaction: Transaction): void {
    const { older, newer, socket } = transaction;
    if (older === undefined) this.#oldest = newer;
    else older.newer = newer;
    if (newer === undefined) this.#newest = older;
    else newer.older = older;
    if (this.#fresh === transaction) this.#fresh = newer;
    transaction.older = transaction.newer = undefined;
    socket.transactions.remove(transaction);
    if (socket.transactions.size === 0 && this.#retired.delete(socket)) socket.close();
  }

  /** The next one that is not overdue, which it now is; undefined when all are. */
  takeFresh(): Transaction | undefined {
    const transaction = this.#fresh;
    this.#fresh = transaction?.newer;
    return transaction;
  }

  override onTimer(): void {
    const { timers } = this.#context.reactor;
    while (this.#fresh !== undefined && timers.tick - this.#fresh.sentTick >= OVERDUE_TICKS) {
      this.#owner.onOverdue(this.takeFresh()!, this);
    }
    while (this.#oldest !== undefined && timers.tick - this.#oldest.sentTick >= LOST_TICKS) {
      this.#owner.onLost(this.#oldest);
    }
    if (this.#oldest === undefined) return;
    let dueTick = this.#oldest.sentTick + LOST_TICKS;
    if (this.#fresh !== undefined) dueTick = Math.min(dueTick, this.#fresh.sentTick + OVERDUE_TICKS);
    this.#scheduleFor(dueTick);
  }

  /** The wheel adds a tick of its own; and two seconds without it are less than what it rounds to whole seconds. */
  #scheduleFor(dueTick: number): void {
    const { timers } = this.#context.reactor;
    timers.schedule(this, Math.max(0, dueTick - timers.tick - 1) * TICK_MS);
  }

  close(): void {
    this.#context.reactor.timers.cancel(this);
    for (const socket of this.#sockets) socket.close();
    for (const socket of this.#retired) socket.close();
  }
}
