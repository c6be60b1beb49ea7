/**
 * Reads the error queue of a UDP socket that has IP_RECVERR or IPV6_RECVERR set (ip(7)): what ICMP errors came
 * for the datagrams sent from it, to which destination, and by whom.
 *
 * @module
 */
import {
  type Arena,
  type Block,
  CmsgIterator,
  IP_RECVERR,
  IPV6_RECVERR,
  MSG_CTRUNC,
  MSG_DONTWAIT,
  MSG_ERRQUEUE,
  SO_EE_ORIGIN_NONE,
  SOCKADDR_IN6_BYTES,
  SOL_IP,
  SOL_IPV6,
  type Syscalls,
} from "../ffi/mod.ts";
import type { IcmpError } from "./icmp_error.ts";
import { Message } from "./message.ts";

/** Bytes of the arena that a reader takes. */
export const ERROR_QUEUE_BYTES = 2048;

/** An ICMPv6 error is no longer than 1,280 bytes (RFC 4443, section 2.4), and what it quotes is shorter. */
const PAYLOAD_BYTES = 1280;
/** The error with its offender, and what the socket's other options add to every message. */
const CONTROL_BYTES = 256;

/** `struct sock_extended_err` (linux/errqueue.h), with the offender's sockaddr right behind it. */
const EXTENDED_ERR_BYTES = 16;
const EE_ERRNO = 0, EE_ORIGIN = 4, EE_TYPE = 5, EE_CODE = 6, EE_INFO = 8;

/** One entry at a time: `read`, then the fields, which stay until the next `read`. */
export class ErrorQueue implements IcmpError {
  /** Positive, as in `sock_extended_err`; 0 when control data was cut off. */
  errno = 0;
  /** SO_EE_ORIGIN_LOCAL, _ICMP or _ICMP6; _NONE when control data was cut off. */
  origin = SO_EE_ORIGIN_NONE;
  /** Of the ICMP or ICMPv6 message; 0 for errors of this host. */
  type = 0;
  code = 0;
  /** The MTU that would have fitted, when `errno` is EMSGSIZE. */
  info = 0;
  /**
   * sockaddr of where the datagram had been sent. In errors of this host for IPv4 the port is the one that the socket
   * is connected to, 0 if it is not (ip_local_error).
   */
  readonly destination: Uint8Array;
  /** sockaddr, port 0, of the host that sent the ICMP message; its family is 0 for errors of this host. */
  readonly offender = new Uint8Array(SOCKADDR_IN6_BYTES);
  /** Where in the arena the quoted part of the payload is, and its bytes: none for errors of this host. */
  readonly payloadOffset: number;
  payloadLength = 0;
  readonly #sys: Syscalls;
  readonly #message: Message;
  readonly #payload: Block;
  readonly #cmsgs: CmsgIterator;

  constructor(sys: Syscalls, arena: Arena) {
    this.#sys = sys;
    this.#message = new Message(arena, 1, CONTROL_BYTES);
    this.#payload = arena.allocate(PAYLOAD_BYTES);
    this.#message.setVector(0, this.#payload.offset, PAYLOAD_BYTES);
    this.#cmsgs = new CmsgIterator(this.#message.control);
    this.destination = this.#message.name.bytes;
    this.payloadOffset = this.#payload.offset;
  }

  /** Takes the oldest entry; false when there is none. */
  read(fd: number): boolean {
    this.destination.fill(0);
    this.offender.fill(0);
    this.errno =
      this.type =
      this.code =
      this.info =
        0;
    this.origin = SO_EE_ORIGIN_NONE;
    this.#message.setLengths(SOCKADDR_IN6_BYTES, CONTROL_BYTES);
    const n = this.#sys.recvmsg(fd, this.#message.pointer, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (n < 0) return false;
    this.payloadLength = n;
    this.#cmsgs.start(0, Math.min(this.#message.controlLength, CONTROL_BYTES));
    while (this.#cmsgs.next()) this.#readControl();
    return true;
  }

  #readControl(): void {
    const { level, type, dataAt, dataLength } = this.#cmsgs;
    const isError = level === SOL_IP && type === IP_RECVERR || level === SOL_IPV6 && type === IPV6_RECVERR;
    if (!isError || dataLength < EXTENDED_ERR_BYTES) return;
    const { bytes, words } = this.#message.control;
    this.errno = words[dataAt + EE_ERRNO >> 2]!;
    this.origin = bytes[dataAt + EE_ORIGIN]!;
    this.type = bytes[dataAt + EE_TYPE]!;
    this.code = bytes[dataAt + EE_CODE]!;
    this.info = words[dataAt + EE_INFO >> 2]! >>> 0;
    // Half an address is another address.
    if ((this.#message.flags & MSG_CTRUNC) !== 0) return;
    const offenderAt = dataAt + EXTENDED_ERR_BYTES;
    const length = Math.min(dataLength - EXTENDED_ERR_BYTES, SOCKADDR_IN6_BYTES);
    for (let i = 0; i < length; i++) this.offender[i] = bytes[offenderAt + i]!;
  }
}
