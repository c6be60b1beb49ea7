/**
 * A connected TCP socket of the simulated kernel, and the peer at the other end of it.
 *
 * What it does when is Linux's behaviour (net/ipv4/tcp.c): a reset lets received bytes be read before its error
 * is told; an error is told once; a full send buffer becomes writable, and says so, when a third of it is free.
 *
 * @module
 */
import { EAGAIN, ECONNRESET, EPIPE, EPOLLERR, EPOLLHUP, EPOLLIN, EPOLLOUT, EPOLLRDHUP } from "../ffi/mod.ts";
import { ByteQueue } from "./byte_queue.ts";

/** ENOTCONN, which only a shutdown of a dead socket answers. */
const ENOTCONN = 107;

/** One end that the program under test holds; the methods beginning with `peer` are the other end. */
export class FakeSocket {
  /** Bytes of the peer that have not fitted into our receive buffer yet. */
  readonly #backlog = new ByteQueue();
  readonly #received = new ByteQueue();
  readonly #toSend = new ByteQueue();
  readonly #receiveCapacity: number;
  readonly #sendCapacity: number;
  #state: "connecting" | "established" | "dead" = "established";
  #error = 0;
  #peerFinished = false;
  #shutForWriting = false;
  #noSpace = false;
  lingerZero = false;
  /** Every other option with an int that was set, by level/name. */
  readonly options = new Map<string, number>();
  /** How the program closed it. */
  closed: "no" | "fin" | "reset" = "no";
  /** Taken out of and put into this socket by the program so far. */
  bytesTaken = 0;
  bytesGiven = 0;
  /** When epoll last had an event of it. */
  eventMs = 0;
  /** Called when epoll would be woken. */
  onWake: () => void = () => {};

  constructor(receiveCapacity: number, sendCapacity: number) {
    this.#receiveCapacity = receiveCapacity;
    this.#sendCapacity = sendCapacity;
  }

  // --- the program's end -----------------------------------------------------------------------------------------

  /** Turns it into a socket that has called connect. */
  connect(): void {
    this.#state = "connecting";
  }

  poll(): number {
    if (this.#state === "connecting") return 0;
    const dead = this.#state === "dead", ended = this.#atEnd();
    let events = 0;
    if (this.#received.length > 0 || ended || dead) events |= EPOLLIN;
    if (ended || dead) events |= EPOLLRDHUP;
    if (dead || (ended && this.#shutForWriting)) events |= EPOLLHUP;
    if (this.#error !== 0) events |= EPOLLERR;
    if (dead || this.#shutForWriting || this.#isWritable()) events |= EPOLLOUT;
    else this.#noSpace = true;
    return events;
  }

  /** Received bytes that wait to be taken. */
  get readable(): number {
    return this.#received.length;
  }

  /** Up to `length` received bytes, 0 at the end of stream, or -errno. `keep`: they stay. */
  receive(length: number, keep: boolean): Uint8Array | number {
    if (this.#received.length === 0) {
      if (this.#error !== 0) return -this.takeError();
      return this.#state === "dead" || this.#peerFinished ? 0 : -EAGAIN;
    }
    if (keep) return this.#received.peek(length);
    const bytes = this.#received.take(length);
    this.bytesTaken += bytes.length;
    this.#refill();
    return bytes;
  }

  /** Bytes that can be given now, or -errno. */
  room(): number {
    if (this.#error !== 0) return -this.takeError();
    if (this.#state === "dead" || this.#shutForWriting) return -EPIPE;
    const room = this.#sendCapacity - this.#toSend.length;
    if (this.#state === "connecting" || room <= 0) {
      this.#noSpace = true;
      return -EAGAIN;
    }
    return room;
  }

  /** Gives bytes, no more than `room` says. `wanted`: what the program had; a short count asks for a wake-up. */
  give(bytes: Uint8Array, wanted: number): void {
    this.#toSend.push(bytes);
    this.bytesGiven += bytes.length;
    if (bytes.length < wanted) this.#noSpace = true;
  }

  /** SIOCOUTQ: given, and not yet taken by the peer. */
  get queued(): number {
    return this.#toSend.length;
  }

  /** SO_ERROR */
  takeError(): number {
    const error = this.#error;
    this.#error = 0;
    return error;
  }

  shutdown(): number {
    if (this.#state === "dead") return -ENOTCONN;
    this.#shutForWriting = true;
    return 0;
  }

  close(): void {
    // Bytes that were never read are a reset to the peer as well (RFC 2525, 2.17).
    const reset = this.lingerZero || this.#received.length > 0;
    this.closed = reset ? "reset" : "fin";
    if (reset) this.#toSend.clear();
  }

  // --- the peer's end --------------------------------------------------------------------------------------------

  get isAlive(): boolean {
    return this.#state !== "dead" && this.closed === "no";
  }

  /** Nothing of the peer is on its way any more. */
  get isDrained(): boolean {
    return this.#backlog.length === 0 && this.#received.length === 0;
  }

  /** Whether the peer has read every byte and then an end of stream. */
  get peerSeesEnd(): boolean {
    return this.#toSend.length === 0 &&
      (this.closed === "fin" || (this.closed === "no" && this.#shutForWriting));
  }

  peerAccepts(): void {
    this.#state = "established";
    this.onWake();
  }

  peerSends(bytes: Uint8Array): void {
    this.#backlog.push(bytes);
    this.#refill();
  }

  peerFinishes(): void {
    if (this.#peerFinished) return;
    this.#peerFinished = true;
    if (this.#backlog.length === 0) this.onWake();
  }

  /** A reset, or another error that ends a connection: ECONNREFUSED, ETIMEDOUT. */
  peerDies(error: number): void {
    // net/ipv4/tcp_input.c, tcp_reset: after the peer's end of stream it is a broken pipe.
    this.#error = error === ECONNRESET && this.#peerFinished && this.#backlog.length === 0 ? EPIPE : error;
    this.#state = "dead";
    this.#backlog.clear();
    this.#toSend.clear();
    this.onWake();
  }

  /** What the peer reads. */
  peerReads(length: number): Uint8Array {
    const bytes = this.#toSend.take(length);
    if (this.#noSpace && this.#isWritable()) {
      this.#noSpace = false;
      this.onWake();
    }
    return bytes;
  }

  #atEnd(): boolean {
    return this.#peerFinished && this.#backlog.length === 0;
  }

  #isWritable(): boolean {
    return this.#sendCapacity - this.#toSend.length >= Math.max(1, this.#toSend.length >> 1);
  }

  #refill(): void {
    const room = this.#receiveCapacity - this.#received.length;
    if (room <= 0 || this.#backlog.length === 0 || this.closed !== "no") return;
    this.#received.push(this.#backlog.take(room));
    this.onWake();
  }
}
