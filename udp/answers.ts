/**
 * Datagrams on their way to clients. What sessions receive in a busy turn of the loop is collected and leaves together:
 * one system call serves many clients, as long as the remotes that answer have one port number, since that is what a
 * reply socket is for. In a turn with few events nothing waits for anything else.
 *
 * Called by sessions (received datagrams), by services that answer themselves (ReplySender), and by the reactor at the
 * end of a turn.
 *
 * @module
 */
import {
  AF_INET,
  type Block,
  type Deferred,
  errnoName,
  MSG_DONTWAIT,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
} from "../ffi/mod.ts";
import type { ReplySender } from "../flow/mod.ts";
import { BATCH, countSegments, Inbox, INBOX_BYTES } from "./inbox.ts";
import { Outbox, OUTBOX_BYTES, type SendObserver } from "./outbox.ts";
import { RAW_REPLY_BYTES, RawReply } from "./raw_reply.ts";
import { type PortHolder, ReplySockets } from "./reply_sockets.ts";
import { type EndpointKey, writeEndpoint } from "./session_table.ts";
import type { UdpContext } from "./worker_context.ts";

/** A turn with more events than this is a busy one. */
const FEW_EVENTS = 8;
/** A sockaddr in half a cache line. */
const NAME_BYTES = 32;
/** More than can be of use before both outboxes are flushed. */
const SOURCES = 2 * BATCH + 2;

/** Arena bytes that this takes. */
export const ANSWERS_BYTES = INBOX_BYTES + 2 * OUTBOX_BYTES + RAW_REPLY_BYTES +
  (BATCH + SOURCES) * NAME_BYTES +
  256;

/** One worker's. */
export class Answers implements Deferred, ReplySender, SendObserver {
  /** What has been received in this turn and not been sent yet. */
  readonly inbox: Inbox;
  readonly #context: UdpContext;
  readonly #sockets: ReplySockets;
  readonly #raw: RawReply;
  readonly #outbox4: Outbox;
  readonly #outbox6: Outbox;
  /** By place in the inbox: the client of what was received from there on. */
  readonly #clients: Block;
  /** Who has sent what upstreams have brought with a header in front: a ring, and where the last one is. */
  readonly #sources: Block;
  #lastSource = 0;
  /** A service's client, and whom it is answered by. */
  readonly #client: Block;
  readonly #source: Block;
  /** Places of the inbox that are taken. */
  #used = 0;
  #deferred = false;

  constructor(context: UdpContext) {
    const { sys, arena, settings } = context;
    this.#context = context;
    // The mark of don't-fragment is for the rules of what clients send.
    this.inbox = new Inbox(arena, 0);
    this.#outbox4 = new Outbox(sys, arena, 4, true);
    this.#outbox6 = new Outbox(sys, arena, 6, true);
    this.#clients = arena.allocate(BATCH * NAME_BYTES);
    this.#sources = arena.allocate(SOURCES * NAME_BYTES);
    this.#client = arena.allocate(SOCKADDR_IN6_BYTES);
    this.#source = arena.allocate(SOCKADDR_IN6_BYTES);
    this.#raw = new RawReply(sys, arena, settings.replyMark);
    this.#sockets = new ReplySockets(context, () => this.#flushOutboxes());
  }

  /** How many datagrams the next call of {@linkcode receive} can bring. */
  get room(): number {
    return this.#used === BATCH ? BATCH : BATCH - this.#used;
  }

  /** Receives into the inbox what has come for a session. @returns how many datagrams, or -errno. */
  receive(fd: number): number {
    if (this.#used === BATCH) this.flush();
    const count = this.inbox.receive(this.#context.sys, fd, MSG_DONTWAIT, this.#used);
    if (count <= 0) return count;
    this.#used += count;
    return count;
  }

  /** Where in the inbox the last `count` datagrams begin; they are for this client. */
  begin(client: EndpointKey, count: number): number {
    const first = this.#used - count;
    writeEndpoint(client, this.#clients.words, first * NAME_BYTES >> 2);
    return first;
  }

  /** Sends datagram `i` of the inbox, which is looked at, to the client of those from `first` on. */
  send(first: number, i: number): void {
    const { inbox } = this;
    this.#send(first, inbox.nameAt(i), inbox.payloadAt(i), inbox.payloadLength(i), inbox.segmentBytes);
  }

  /** Where the source of the next {@linkcode sendPart} is to be written, as a sockaddr. */
  get nextSource(): number {
    return this.#sources.offset + (this.#lastSource + 1) % SOURCES * NAME_BYTES;
  }

  /** Sends a part of the datagram that is looked at, by {@linkcode nextSource}, to the client of those from `first` on. */
  sendPart(first: number, payloadAt: number, length: number, segmentBytes: number): void {
    const { words } = this.#context.arena;
    const sourceAt = this.nextSource, lastAt = this.#sources.offset + this.#lastSource * NAME_BYTES;
    const isLast = isSameName(words, lastAt >> 2, sourceAt >> 2);
    if (!isLast) this.#lastSource = (this.#lastSource + 1) % SOURCES;
    this.#send(first, isLast ? lastAt : sourceAt, payloadAt, length, segmentBytes);
  }

  #send(first: number, nameAt: number, payloadAt: number, length: number, segmentBytes: number): void {
    const { arena } = this.#context;
    const { inbox } = this;
    const socket = this.#sockets.find(arena.words, nameAt >> 2);
    if (socket === undefined) {
      this.#context.count("udpSendDropsDown", countSegments(length, segmentBytes));
      return;
    }
    const clientAt = this.#clients.offset + first * NAME_BYTES;
    if (socket.fd < 0) {
      this.#sendRaw(clientAt, nameAt, inbox.trafficClass, payloadAt, length, segmentBytes);
      return;
    }
    const outbox = this.#outboxOf(arena.words[nameAt >> 2]!);
    // What upstreams bring may be many for one place of the inbox.
    if (outbox.isFull) this.#flushOutboxes();
    outbox.add(socket.fd, this, clientAt, nameAt, inbox.trafficClass, payloadAt, length, segmentBytes);
  }

  /** A session has put what it received on its way. */
  finish(): void {
    const { reactor } = this.#context;
    if (reactor.turnEvents <= FEW_EVENTS) this.flush();
    else if (!this.#deferred) {
      this.#deferred = true;
      reactor.defer(this);
    }
  }

  reply(client: Uint8Array, source: Uint8Array, payloadOffset: number, length: number, tos: number): void {
    this.#client.bytes.set(client);
    this.#source.bytes.set(source);
    const { words } = this.#context.arena, at = this.#source.offset >> 2;
    const socket = this.#sockets.find(words, at);
    if (socket === undefined) this.#context.count("udpSendDropsDown");
    else if (socket.fd < 0) {
      this.#sendRaw(this.#client.offset, this.#source.offset, tos, payloadOffset, length, 0);
    } else {
      // There is one place for a client, and the payload is not ours for longer.
      const outbox = this.#outboxOf(words[at]!);
      this.#flush(outbox);
      outbox.add(socket.fd, this, this.#client.offset, this.#source.offset, tos, payloadOffset, length, 0);
      this.#flush(outbox);
    }
  }

  /** Says whose ports reply sockets may share. */
  sharePortsOf(holder: PortHolder): void {
    this.#sockets.sharePortsOf(holder);
  }

  /**
   * Closes the reply socket whose port is that of a sockaddr which begins with this word. @returns whether there was
   * one.
   */
  giveUpPort(familyPort: number): boolean {
    return this.#sockets.closePort(familyPort);
  }

  /** Sends all that waits. */
  flush(): void {
    this.#flushOutboxes();
    this.#used = 0;
  }

  /** The end of the turn. */
  onDeferred(): void {
    this.#deferred = false;
    this.flush();
  }

  /** Nothing about an answer is known to be mended by sending it again. */
  onSendError(errno: number): boolean {
    this.#context.warn("udp-error", `answer to a client: sendmmsg: ${errnoName(errno)}`);
    return false;
  }

  /** The counters say so; a session's record tells what was passed on towards its client. */
  onLost(): void {}

  close(): void {
    this.flush();
    this.#sockets.close();
    this.#raw.close();
  }

  #outboxOf(familyPort: number): Outbox {
    return (familyPort & 0xffff) === AF_INET ? this.#outbox4 : this.#outbox6;
  }

  /** What is still to be looked at stays in the inbox. */
  #flushOutboxes(): void {
    this.#flush(this.#outbox4);
    this.#flush(this.#outbox6);
  }

  #flush(outbox: Outbox): void {
    if (outbox.isEmpty) return;
    outbox.flush();
    this.#count(outbox.sentDatagrams, outbox.sentBytes, outbox.lostDatagrams);
  }

  #count(sent: number, bytes: number, lost: number): void {
    this.#context.count("udpDatagramsDown", sent);
    this.#context.count("udpBytesDown", bytes);
    if (lost > 0) this.#context.count("udpSendDropsDown", lost);
  }

  /** Sends one datagram, or several of `segmentBytes` that were received as one, by the raw socket. */
  #sendRaw(
    clientAt: number,
    sourceAt: number,
    trafficClass: number,
    payloadAt: number,
    length: number,
    segmentBytes: number,
  ): void {
    const { bytes } = this.#context.arena;
    const client = bytes.subarray(clientAt, clientAt + SOCKADDR_IN6_BYTES);
    const source = bytes.subarray(sourceAt, sourceAt + SOCKADDR_IN6_BYTES);
    const step = segmentBytes === 0 ? length : segmentBytes;
    let at = 0;
    do {
      const piece = Math.min(step, length - at);
      const result = this.#raw.send(client, source, payloadAt + at, piece, trafficClass);
      this.#count(result < 0 ? 0 : 1, result < 0 ? 0 : piece, result < 0 ? 1 : 0);
      if (result >= 0) this.#context.count("udpReplyRaw");
      else this.#context.warn("udp-error", `raw answer to a client: ${errnoName(-result)}`);
      at += step;
    } while (at < length);
  }
}

/** Whether two sockaddrs, at these words, are one endpoint. */
function isSameName(words: Int32Array, a: number, b: number): boolean {
  const length = ((words[a]! & 0xffff) === AF_INET ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES) >> 2;
  for (let i = 0; i < length; i++) if (words[a + i] !== words[b + i]) return false;
  return true;
}
