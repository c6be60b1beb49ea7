/**
 * Answers DNS queries from resolvers of our own: puts each to a resolver under an id and from a port that nobody can
 * guess, and gives the answer to the client as from whom it had asked. Called by the UDP listener with what was going
 * to port 53; whatever else a message says is not looked at.
 *
 * A query that its resolver does not answer within 2 s is put to the next one as well; the first answer counts, also a
 * late one of the first. A resolver that meanwhile has answered nothing at all, or has refused, is down: all that
 * waits for it goes to the next one, and new queries pass it by until it has answered a query that is sent to it now
 * and then to see.
 *
 * @module
 */
import type { DatagramService } from "../flow/mod.ts";
import {
  type Deferred,
  EAGAIN,
  EPOLLERR,
  errnoName,
  MSG_DONTWAIT,
  ReceiveBatch,
  SOCKADDR_IN6_BYTES,
  type Syscalls,
} from "../ffi/mod.ts";
import { ClientShares } from "./client_shares.ts";
import { DnsContext, type DnsEnvironment } from "./dns_context.ts";
import { findQuestionEnd, HEADER_BYTES, isAnswer, readId, writeId } from "./message.ts";
import { MAX_KEPT_BYTES, type Query, Transaction } from "./query.ts";
import { QueryPool } from "./query_pool.ts";
import { type BatchOwner, isOwnShortage, QUERY_BATCH_BYTES, QueryBatch } from "./query_batch.ts";
import { RandomWords } from "./random_words.ts";
import { Resolver, type ResolverOwner } from "./resolver.ts";
import type { ResolverSocket } from "./resolver_socket.ts";

/** Transactions that wait, at most: fewer than there are ids on one socket. */
export const MAX_TRANSACTIONS = 16_384;
/** Those of one client among them. */
export const MAX_TRANSACTIONS_OF_A_CLIENT: number = MAX_TRANSACTIONS / 4;
/** A query remembers whom it was put to in the bits of one number. */
export const MAX_RESOLVERS = 30;

const LIMIT_DETAIL = `${MAX_TRANSACTIONS} queries wait for answers`;
const CLIENT_LIMIT_DETAIL = `${MAX_TRANSACTIONS_OF_A_CLIENT} queries of one client wait for answers`;

const BATCH = 32;
/** An answer, of either family. */
const PAYLOAD_BYTES = 65_536;
/** Batches received from one socket in one turn. */
const RECEIVE_BUDGET = 8;

/** Arena bytes that a forwarder takes; those of queries and long answers stay untouched until there are any. */
export const DNS_BYTES: number = QueryPool.bytes(MAX_TRANSACTIONS) +
  ReceiveBatch.bytes(BATCH, PAYLOAD_BYTES, 0) +
  QUERY_BATCH_BYTES + 1024;

/** DNS of one worker. */
export class DnsForwarder implements DatagramService, ResolverOwner, BatchOwner, Deferred {
  readonly #context: DnsContext;
  readonly #environment: DnsEnvironment;
  readonly #sys: Syscalls;
  readonly #bytes: Uint8Array;
  readonly #resolvers: readonly Resolver[];
  readonly #random = new RandomWords();
  readonly #queries: QueryPool;
  readonly #shares = new ClientShares(MAX_TRANSACTIONS_OF_A_CLIENT);
  readonly #spare: Transaction[] = [];
  readonly #received: ReceiveBatch;
  readonly #toSend: QueryBatch;
  /** There may be more to receive. */
  readonly #unfinished = new Set<ResolverSocket>();
  #transactions = 0;
  #pending = 0;
  #deferred = false;
  #isClosed = false;

  /** @throws {RangeError} without a resolver, or with too many. */
  constructor(environment: DnsEnvironment) {
    const { arena, resolvers, sys } = environment;
    if (resolvers.length === 0 || resolvers.length > MAX_RESOLVERS) {
      throw new RangeError(`resolvers: ${resolvers.length} found, 1 to ${MAX_RESOLVERS} wanted`);
    }
    this.#environment = environment;
    this.#context = new DnsContext(environment);
    this.#sys = sys;
    this.#bytes = arena.bytes;
    this.#resolvers = resolvers.map((endpoint, i) => new Resolver(this.#context, endpoint, i, this));
    this.#queries = new QueryPool(arena, MAX_TRANSACTIONS);
    this.#received = new ReceiveBatch(arena, BATCH, PAYLOAD_BYTES, 0);
    this.#toSend = new QueryBatch(sys, arena, this);
  }

  /** Queries that wait for an answer. */
  get pending(): number {
    return this.#pending;
  }

  onDatagram(client: Uint8Array, dialled: Uint8Array, payloadOffset: number, length: number): void {
    const questionEnd = findQuestionEnd(this.#bytes, payloadOffset, length);
    if (questionEnd < 0 || questionEnd > MAX_KEPT_BYTES) {
      this.#context.count("dnsMalformed");
      return;
    }
    // Each query has a transaction at least: then there is room for this one as well.
    const share = this.#shares.of(client);
    this.#makeRoom(share);
    const query = this.#queries.take();
    query.share = share;
    copySockaddr(client, query.client);
    copySockaddr(dialled, query.dialled);
    query.clientId = readId(this.#bytes, payloadOffset);
    query.length = length;
    query.questionEnd = questionEnd;
    this.#bytes.copyWithin(query.payloadAt, payloadOffset, payloadOffset + Math.min(length, MAX_KEPT_BYTES));
    this.#countPending(1);
    // Until it has been sent, nothing that happens meanwhile ends it.
    query.waiting = 1;
    if (this.#putToNext(query, query.isKept ? query.payloadAt : payloadOffset)) {
      this.#context.count("dnsQueries");
    } else this.#context.count("dnsSendDrops");
    if (query.isKept) this.#probe(query);
    // Its bytes are gone when this returns.
    else this.#toSend.flush();
    this.#leave(query);
  }

  onSocketEvents(socket: ResolverSocket, events: number): void {
    this.#receive(socket, (events & EPOLLERR) !== 0);
  }

  onOverdue(transaction: Transaction, resolver: Resolver): void {
    this.#context.count("dnsTimeouts");
    const isSilent = !resolver.hasAnsweredSince(transaction);
    if (isSilent) resolver.markDown("does not answer");
    // The resolver answers others: then it may be the socket, connected from an address that this host has lost.
    const isStale = !isSilent && !transaction.socket.hasAnsweredSince(transaction);
    if (isStale) transaction.socket.expire();
    // It may have made room for others when this returns, and be another one.
    this.#retry(transaction, isStale ? resolver : undefined);
    if (isSilent) this.#hurry(resolver);
  }

  onLost(transaction: Transaction): void {
    this.#release(transaction, "dnsUnanswered");
  }

  onSendDrops(queries: number): void {
    this.#context.count("dnsSendDrops", queries);
  }

  onFailure(resolver: Resolver, errno: number): void {
    this.#context.count("dnsRefused");
    resolver.markDown(`cannot be asked: ${errnoName(errno)}`);
    resolver.hasFailed = true;
    this.#defer();
  }

  /** The end of a turn: everything that has come up in it is sent. */
  onDeferred(): void {
    this.#deferred = false;
    if (this.#isClosed) return;
    if (this.#unfinished.size > 0) {
      const sockets = [...this.#unfinished];
      this.#unfinished.clear();
      for (const socket of sockets) this.#receive(socket, true);
    }
    this.#toSend.flush();
    for (const resolver of this.#resolvers) {
      if (!resolver.hasFailed) continue;
      resolver.hasFailed = false;
      this.#hurry(resolver);
    }
    this.#toSend.flush();
  }

  /** What has not been answered will not be. */
  close(): void {
    this.#isClosed = true;
    for (const resolver of this.#resolvers) resolver.close();
    this.#countPending(-this.#pending);
  }

  /** Everything that waits for a resolver, and not for too long yet, is put to the next one. */
  #hurry(resolver: Resolver): void {
    for (let next = resolver.takeFresh(); next !== undefined; next = resolver.takeFresh()) this.#retry(next);
  }

  /** @param again who may be asked once more where there is nobody else. */
  #retry(transaction: Transaction, again?: Resolver): void {
    const { query } = transaction;
    if (query.answered || query.latest !== transaction || !query.isKept) return;
    let isPut = this.#putToNext(query, query.payloadAt);
    if (!isPut && again !== undefined && !query.askedAgain) {
      query.askedAgain = true;
      query.tried &= ~again.bit;
      isPut = this.#putToNext(query, query.payloadAt);
    }
    if (isPut) this.#context.count("dnsRetries");
  }

  /** @returns whether there was a resolver that had not been tried. */
  #putToNext(query: Query, payloadAt: number): boolean {
    for (let resolver = this.#choose(query); resolver !== undefined; resolver = this.#choose(query)) {
      const transaction = this.#put(query, resolver, payloadAt);
      if (transaction === undefined) continue;
      query.latest = transaction;
      return true;
    }
    return false;
  }

  /** The first that is not down; when all are, the one that has had the longest time to recover. */
  #choose(query: Query): Resolver | undefined {
    let last: Resolver | undefined;
    for (const resolver of this.#resolvers) {
      if ((query.tried & resolver.bit) !== 0) continue;
      if (!resolver.isDown) return resolver;
      if (last === undefined || resolver.downTick < last.downTick) last = resolver;
    }
    return last;
  }

  #probe(query: Query): void {
    for (const resolver of this.#resolvers) {
      if ((query.tried & resolver.bit) !== 0 || !resolver.takeProbe()) continue;
      if (this.#put(query, resolver, query.payloadAt) !== undefined) this.#context.count("dnsProbes");
    }
  }

  /** Begins a transaction; undefined when that resolver cannot be sent anything. */
  #put(query: Query, resolver: Resolver, payloadAt: number): Transaction | undefined {
    query.tried |= resolver.bit;
    const socket = this.#socketOf(resolver);
    if (socket === undefined) return undefined;
    query.waiting++;
    this.#makeRoom(query.share);
    this.#transactions++;
    const transaction = this.#spare.pop() ?? new Transaction();
    transaction.query = query;
    transaction.socket = socket;
    transaction.id = this.#drawId(socket);
    resolver.append(transaction);
    this.#shares.append(transaction);
    this.#toSend.add(transaction, payloadAt);
    this.#defer();
    return transaction;
  }

  #socketOf(resolver: Resolver): ResolverSocket | undefined {
    const { socket: current } = this.#toSend;
    if (current?.resolver === resolver) return current;
    const drawn = resolver.drawSocket(this.#random);
    if (typeof drawn !== "number") return drawn;
    if (isOwnShortage(-drawn)) this.#context.warn("dns-fds-exhausted", `socket: ${errnoName(-drawn)}`);
    else this.onFailure(resolver, -drawn);
    return undefined;
  }

  #drawId(socket: ResolverSocket): number {
    // Three in four are free at the least.
    for (;;) {
      const id = this.#random.next();
      if (socket.transactions.find(id) === undefined) return id;
    }
  }

  #receive(socket: ResolverSocket, untilEmpty: boolean): void {
    // The last answer on a socket that has been exchanged closes it.
    for (let i = 0; i < RECEIVE_BUDGET && socket.fd >= 0; i++) {
      const count = this.#received.receive(this.#sys, socket.fd, MSG_DONTWAIT);
      if (count === -EAGAIN) return;
      // An error of an earlier query, told once; what has arrived stays in the queue.
      if (count < 0) this.onFailure(socket.resolver, -count);
      for (let at = 0; at < count; at++) {
        this.#onAnswer(socket, this.#received.payloadAt(at), this.#received.payloadLength(at));
      }
      if (count >= 0 && count < BATCH && !untilEmpty) return;
    }
    if (socket.fd < 0) return;
    this.#unfinished.add(socket);
    this.#defer();
  }

  #onAnswer(socket: ResolverSocket, at: number, length: number): void {
    const bytes = this.#bytes;
    const transaction = length < HEADER_BYTES ? undefined : socket.transactions.find(readId(bytes, at));
    if (
      transaction === undefined ||
      !isAnswer(bytes, at, length, transaction.query.payloadAt, transaction.query.questionEnd)
    ) {
      this.#context.count("dnsMismatched");
      return;
    }
    const { query } = transaction;
    socket.markAnswering();
    if (!query.answered) {
      query.answered = true;
      this.#countPending(-1);
      writeId(bytes, at, query.clientId);
      this.#environment.replies.reply(query.client, query.dialled, at, length, 0);
      this.#context.count("dnsAnswers");
    }
    this.#release(transaction, "dnsUnanswered");
  }

  /** Makes room for one more of a client: of those that have waited longest, its own goes if it has its share. */
  #makeRoom(share: number): void {
    if (this.#shares.isFull(share)) this.#evict(this.#shares.oldest(share), CLIENT_LIMIT_DETAIL);
    else if (this.#transactions >= MAX_TRANSACTIONS) this.#evict(this.#oldest(), LIMIT_DETAIL);
  }

  #oldest(): Transaction | undefined {
    let oldest: Transaction | undefined;
    for (const { oldest: candidate } of this.#resolvers) {
      if (candidate === undefined) continue;
      if (oldest === undefined || candidate.sentTick < oldest.sentTick) oldest = candidate;
    }
    return oldest;
  }

  #evict(transaction: Transaction | undefined, detail: string): void {
    if (transaction === undefined) return;
    this.#release(transaction, "dnsEvicted");
    this.#context.warn("dns-limit", detail);
  }

  /** @param loss what it is if the query ends with it, unanswered. */
  #release(transaction: Transaction, loss: "dnsUnanswered" | "dnsEvicted"): void {
    const { query } = transaction;
    transaction.socket.resolver.remove(transaction);
    this.#shares.remove(transaction);
    this.#transactions--;
    if (query.latest === transaction) query.latest = undefined;
    this.#spare.push(transaction);
    if (query.waiting === 1 && !query.answered) this.#context.count(loss);
    this.#leave(query);
  }

  /** One reason less to keep a query. */
  #leave(query: Query): void {
    if (--query.waiting > 0) return;
    if (!query.answered) this.#countPending(-1);
    this.#queries.giveBack(query);
  }

  #countPending(by: number): void {
    this.#pending += by;
    this.#context.count("dnsPendingNow", by);
  }

  #defer(): void {
    if (this.#deferred) return;
    this.#deferred = true;
    this.#context.reactor.defer(this);
  }
}

function copySockaddr(from: Uint8Array, to: Uint8Array): void {
  for (let i = 0; i < SOCKADDR_IN6_BYTES; i++) to[i] = from[i]!;
}
