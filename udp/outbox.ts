/**
 * Datagrams on their way out, sent with as few system calls and passes through the kernel as possible. They may leave
 * by different sockets: all of them are made ready first, and then sent one after the other with nothing in between,
 * because between two system calls the processor's caches have forgotten what the program was about.
 *
 * What goes to one address one after the other with one length (and at most a shorter last one) leaves as one message
 * that the kernel, or the network card, cuts into datagrams again (UDP_SEGMENT, udp(7)); what the kernel had merged
 * on arrival leaves as it came. Order is kept. Where the kernel refuses to cut (a path too narrow, an IPsec route), the
 * same datagrams are sent one by one.
 *
 * @module
 */
import {
  type Arena,
  CMSGHDR_BYTES,
  cmsgSpace,
  EAGAIN,
  EINVAL,
  EIO,
  EMSGSIZE,
  ENOBUFS,
  ENOMEM,
  ENOPROTOOPT,
  IP_PKTINFO,
  IP_TOS,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  MSG_DONTWAIT,
  MSG_NOSIGNAL,
  SendBatch,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
  SOL_IP,
  SOL_IPV6,
  SOL_UDP,
  type Syscalls,
  UDP_SEGMENT,
} from "../ffi/mod.ts";
import { BATCH, countSegments } from "./inbox.ts";

/** The kernel's UDP_MAX_SEGMENTS was 64 before it became 128 (linux/udp.h). */
export const MAX_SEGMENTS = 64;
/** Bytes of one message: what fits one datagram of either family, since the kernel builds it as one. */
export const MAX_MESSAGE_BYTES = 65_000;

const SEND_FLAGS = MSG_DONTWAIT | MSG_NOSIGNAL;

const PKTINFO_V4_BYTES = 12, PKTINFO_V6_BYTES = 20;
const TRAFFIC_CLASS_SPACE = cmsgSpace(4), SEGMENT_SPACE = cmsgSpace(2);
/** The most that a message has of it. */
const CONTROL_BYTES = cmsgSpace(PKTINFO_V6_BYTES) + TRAFFIC_CLASS_SPACE + SEGMENT_SPACE;

/** For the place of a name: to where the socket is connected. */
export const NAMELESS = -1;

/** Arena bytes that an outbox takes. */
export const OUTBOX_BYTES = SendBatch.bytes(BATCH, CONTROL_BYTES) + SendBatch.bytes(1, CONTROL_BYTES);

/** Hears of datagrams that could not be sent. */
export interface SendObserver {
  /**
   * A message was refused with an error that is about its destination, or about an earlier datagram.
   *
   * @param nameAt where the sockaddr it was for lies, or NAMELESS.
   * @param payloadAt where its first datagram's payload lies, or the header in front of that.
   * @returns whether to try once more.
   */
  onSendError(errno: number, nameAt: number, payloadAt: number, length: number): boolean;
  /** Some were given up; the bytes are those of payload alone. */
  onLost(datagrams: number, bytes: number): void;
}

/** Messages of one family and direction. */
export class Outbox {
  /** Of the last flush: what was handed to the kernel, and what was given up. */
  sentDatagrams = 0;
  sentBytes = 0;
  lostDatagrams = 0;
  readonly #sys: Syscalls;
  readonly #words: Int32Array;
  readonly #batch: SendBatch;
  /** For datagrams of a message that must go one by one. */
  readonly #single: SendBatch;
  readonly #isV4: boolean;
  /** Where the control message of the traffic class begins: behind the source, if there is one. */
  readonly #classAt: number;
  /** By message: its socket and who hears of it, destination, first piece, bytes, datagrams, and bytes of each. */
  readonly #fds = new Int32Array(BATCH);
  readonly #observers: (SendObserver | undefined)[] = new Array(BATCH).fill(undefined);
  readonly #names = new Int32Array(BATCH);
  readonly #firstPieces = new Int32Array(BATCH + 1);
  readonly #bytes = new Int32Array(BATCH);
  readonly #datagrams = new Int32Array(BATCH);
  readonly #segments = new Int32Array(BATCH);
  /** Of those, how many are a header of ours. */
  readonly #headers = new Int32Array(BATCH);
  /** By piece. */
  readonly #payloads = new Int32Array(BATCH);
  readonly #lengths = new Int32Array(BATCH);
  #pieces = 0;
  /** Of the last message: whether another datagram may follow in it; its traffic class and source. */
  #open = false;
  #lastClass = 0;
  #lastSourceAt = 0;

  /** @param withSource whether each message says from which address it is to come. */
  constructor(sys: Syscalls, arena: Arena, family: 4 | 6, withSource: boolean) {
    this.#sys = sys;
    this.#words = arena.words;
    this.#isV4 = family === 4;
    const sourceBytes = this.#isV4 ? PKTINFO_V4_BYTES : PKTINFO_V6_BYTES;
    this.#classAt = withSource ? cmsgSpace(sourceBytes) : 0;
    this.#batch = new SendBatch(arena, BATCH, CONTROL_BYTES);
    this.#single = new SendBatch(arena, 1, CONTROL_BYTES);
    for (let i = 0; i < BATCH; i++) this.#writeHeaders(this.#batch.controlAt(i), sourceBytes);
    this.#writeHeaders(this.#single.controlAt(0), sourceBytes);
  }

  get isEmpty(): boolean {
    return this.#batch.length === 0;
  }

  /** Whether there is no place for another datagram before the next flush. */
  get isFull(): boolean {
    return this.#batch.isFull;
  }

  /**
   * Adds a datagram, or several of `segmentBytes` each (the last may be shorter) that were received as one. There is room
   * for what one inbox holds.
   *
   * @param fd the socket that it leaves by, which stays open until the flush.
   * @param nameAt where the sockaddr it goes to lies, or NAMELESS; it and the payload stay as they are until the flush.
   * @param sourceAt where the sockaddr it comes from lies; without a source: any number.
   * @param headerBytes how many bytes of each datagram are a header of ours, which is not counted: the same for all
   * that leave by one socket.
   */
  add(
    fd: number,
    observer: SendObserver,
    nameAt: number,
    sourceAt: number,
    trafficClass: number,
    payloadAt: number,
    length: number,
    segmentBytes: number,
    headerBytes = 0,
  ): void {
    if (segmentBytes === 0 && this.#joins(fd, nameAt, sourceAt, trafficClass, length)) {
      const last = this.#batch.length - 1;
      this.#batch.append(payloadAt, length);
      this.#rememberPiece(payloadAt, length);
      this.#bytes[last] = this.#bytes[last]! + length;
      this.#datagrams[last] = this.#datagrams[last]! + 1;
      const segment = this.#segments[last]!;
      if (this.#datagrams[last] === 2) this.#setSegment(last, segment);
      this.#open = length === segment;
      return;
    }
    const message = this.#batch.length;
    this.#batch.begin(nameAt, this.#nameLength(nameAt));
    this.#batch.append(payloadAt, length);
    this.#firstPieces[message] = this.#pieces;
    this.#rememberPiece(payloadAt, length);
    const isMerged = segmentBytes > 0 && segmentBytes < length;
    this.#fds[message] = fd;
    this.#observers[message] = observer;
    this.#names[message] = nameAt;
    this.#headers[message] = headerBytes;
    this.#bytes[message] = length;
    this.#segments[message] = isMerged ? segmentBytes : length;
    this.#datagrams[message] = isMerged ? countSegments(length, segmentBytes) : 1;
    // An empty datagram is no segment.
    this.#open = !isMerged && length > 0;
    this.#lastClass = trafficClass;
    this.#lastSourceAt = sourceAt;
    this.#setControl(message, sourceAt, trafficClass);
    if (isMerged) this.#setSegment(message, segmentBytes);
  }

  /** Sends everything and forgets it. */
  flush(): void {
    const batch = this.#batch, fds = this.#fds, count = batch.length;
    this.sentDatagrams = this.sentBytes = this.lostDatagrams = 0;
    this.#firstPieces[count] = this.#pieces;
    for (let first = 0; first < count;) {
      const fd = fds[first]!;
      let end = first + 1;
      while (end < count && fds[end] === fd) end++;
      const sent = batch.send(this.#sys, fd, first, end, SEND_FLAGS);
      if (sent < end - first) this.#recover(fd, first, end, sent);
      first = end;
    }
    for (let message = 0; message < count; message++) {
      this.sentDatagrams += this.#datagrams[message]!;
      this.sentBytes += this.#bytes[message]! - this.#datagrams[message]! * this.#headers[message]!;
    }
    batch.clear();
    this.#pieces = 0;
    this.#open = false;
  }

  /** Goes on after `sent`, which is less than all from `at` to before `end`. What is given up counts no more. */
  #recover(fd: number, at: number, end: number, sent: number): void {
    for (let result = sent, retried = -1;; result = this.#batch.send(this.#sys, fd, at, end, SEND_FLAGS)) {
      if (result > 0) at += result;
      else if (result === -EAGAIN) {
        // The socket's buffer is full: what follows has no place in it either.
        while (at < end) this.#loseWhole(at++);
      } else if (this.#datagrams[at]! > 1 && isAboutSegments(-result)) this.#sendSingly(fd, at++);
      else if (this.#mayRetry(-result, at) && retried !== at) retried = at;
      else this.#loseWhole(at++);
      if (at === end) return;
    }
  }

  #loseWhole(message: number): void {
    this.#lose(message, this.#datagrams[message]!, this.#bytes[message]!);
  }

  #lose(message: number, datagrams: number, bytes: number): void {
    this.#datagrams[message] = this.#datagrams[message]! - datagrams;
    this.#bytes[message] = this.#bytes[message]! - bytes;
    this.lostDatagrams += datagrams;
    this.#observers[message]!.onLost(datagrams, bytes - datagrams * this.#headers[message]!);
  }

  /** Whether a datagram can be one more segment of the last message. */
  #joins(fd: number, nameAt: number, sourceAt: number, trafficClass: number, length: number): boolean {
    if (!this.#open || length === 0) return false;
    const last = this.#batch.length - 1;
    return fd === this.#fds[last] &&
      length <= this.#segments[last]! &&
      this.#datagrams[last]! < MAX_SEGMENTS &&
      this.#bytes[last]! + length <= MAX_MESSAGE_BYTES &&
      trafficClass === this.#lastClass &&
      this.#isSameName(nameAt, this.#names[last]!) &&
      (this.#classAt === 0 || this.#isSameName(sourceAt, this.#lastSourceAt));
  }

  #nameLength(nameAt: number): number {
    if (nameAt === NAMELESS) return 0;
    return this.#isV4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
  }

  #isSameName(a: number, b: number): boolean {
    if (a === b) return true;
    const words = this.#words;
    let one = a >> 2, other = b >> 2;
    if (words[one++] !== words[other++]) return false;
    if (this.#isV4) return words[one] === words[other];
    // Behind the port: flow label, four words of address, scope.
    for (let i = 0; i < 6; i++) {
      if (words[one++] !== words[other++]) return false;
    }
    return true;
  }

  #rememberPiece(payloadAt: number, length: number): void {
    this.#payloads[this.#pieces] = payloadAt;
    this.#lengths[this.#pieces++] = length;
  }

  /** @returns whether the error was not this message's own. */
  #mayRetry(errno: number, message: number): boolean {
    // The queue of the network card, or memory, is short: lost, as it would be in a router.
    if (errno === ENOBUFS || errno === ENOMEM) return false;
    return this.#observers[message]!.onSendError(
      errno,
      this.#names[message]!,
      this.#payloads[this.#firstPieces[message]!]!,
      this.#segments[message]!,
    );
  }

  #sendSingly(fd: number, message: number): void {
    const single = this.#single, segment = this.#segments[message]!;
    const from = this.#batch.controlAt(message) >> 2;
    const controlBytes = this.#classAt + TRAFFIC_CLASS_SPACE;
    this.#words.copyWithin(single.controlAt(0) >> 2, from, from + (controlBytes >> 2));
    for (let piece = this.#firstPieces[message]!; piece < this.#firstPieces[message + 1]!; piece++) {
      for (let at = 0; at < this.#lengths[piece]!; at += segment) {
        const payloadAt = this.#payloads[piece]! + at;
        const length = Math.min(segment, this.#lengths[piece]! - at);
        single.clear();
        single.begin(this.#names[message]!, this.#nameLength(this.#names[message]!));
        single.append(payloadAt, length);
        single.setControlLength(controlBytes);
        if (!this.#sendOne(fd, message, payloadAt, length)) this.#lose(message, 1, length);
      }
    }
  }

  #sendOne(fd: number, message: number, payloadAt: number, length: number): boolean {
    const sent = this.#single.send(this.#sys, fd, 0, 1, SEND_FLAGS);
    if (sent > 0 || sent === -EAGAIN) return sent > 0;
    const again = this.#observers[message]!.onSendError(-sent, this.#names[message]!, payloadAt, length);
    return again && this.#single.send(this.#sys, fd, 0, 1, SEND_FLAGS) > 0;
  }

  /** Everything of the control messages that never changes. */
  #writeHeaders(at: number, sourceBytes: number): void {
    const level = this.#isV4 ? SOL_IP : SOL_IPV6;
    if (this.#classAt > 0) this.#writeHeader(at, sourceBytes, level, this.#isV4 ? IP_PKTINFO : IPV6_PKTINFO);
    const classAt = at + this.#classAt;
    this.#writeHeader(classAt, 4, level, this.#isV4 ? IP_TOS : IPV6_TCLASS);
    this.#writeHeader(classAt + TRAFFIC_CLASS_SPACE, 2, SOL_UDP, UDP_SEGMENT);
  }

  #writeHeader(at: number, dataBytes: number, level: number, type: number): void {
    this.#words.set([CMSGHDR_BYTES + dataBytes, 0, level, type], at >> 2);
  }

  #setControl(message: number, sourceAt: number, trafficClass: number): void {
    const words = this.#words, classAt = this.#classAt;
    const at = this.#batch.controlAt(message);
    words[(at + classAt + CMSGHDR_BYTES) >> 2] = trafficClass;
    if (classAt > 0) this.#setSource((at + CMSGHDR_BYTES) >> 2, sourceAt >> 2);
    const length = trafficClass === 0 ? classAt : classAt + TRAFFIC_CLASS_SPACE;
    if (length > 0) this.#batch.setControlLength(length);
  }

  /** struct in_pktinfo { ifindex, spec_dst, addr }, or struct in6_pktinfo { addr, ifindex }. */
  #setSource(info: number, source: number): void {
    const words = this.#words;
    if (this.#isV4) {
      words[info + 1] = words[source + 1]!;
      return;
    }
    for (let i = 0; i < 4; i++) words[info + i] = words[source + 2 + i]!;
  }

  #setSegment(message: number, bytes: number): void {
    const at = this.#batch.controlAt(message) + this.#classAt + TRAFFIC_CLASS_SPACE;
    this.#words[(at + CMSGHDR_BYTES) >> 2] = bytes;
    this.#batch.setControlLength(this.#classAt + TRAFFIC_CLASS_SPACE + SEGMENT_SPACE);
  }
}

/** Whether a message of several datagrams may have been refused only because they were one message. */
function isAboutSegments(errno: number): boolean {
  return errno === EINVAL || errno === EMSGSIZE || errno === EIO || errno === ENOPROTOOPT;
}
