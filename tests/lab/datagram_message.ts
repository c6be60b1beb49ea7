/**
 * Datagrams through sendmsg(2) and recvmsg(2), with the control messages that tell what Deno's own sockets keep to
 * themselves: TOS, the address asked, marks, segments, and errors with what they quote.
 *
 * For the lab's programs, one thread each: one set of buffers serves every socket of the process.
 *
 * @module
 */
import {
  Arena,
  type Block,
  CmsgEncoder,
  CmsgIterator,
  decodeSockaddr,
  encodeSockaddr,
  errnoName,
  IP_PKTINFO,
  IP_RECVERR,
  IP_RECVORIGDSTADDR,
  IP_TOS,
  IPV6_PKTINFO,
  IPV6_RECVERR,
  IPV6_RECVFRAGSIZE,
  IPV6_RECVORIGDSTADDR,
  IPV6_TCLASS,
  MSG_DONTWAIT,
  MSG_ERRQUEUE,
  MSG_TRUNC,
  openSyscalls,
  SO_MARK,
  SOCKADDR_IN6_BYTES,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_UDP,
  type Syscalls,
  UDP_GRO,
  UDP_SEGMENT,
} from "../../ffi/mod.ts";
import {
  addressBytes,
  addressFromBytes,
  formatEndpoint,
  parseAddress,
  parseEndpoint,
} from "../../net/mod.ts";

// linux/in.h
export const IP_RECVFRAGSIZE = 25;
/** struct msghdr, in 32-bit words: name, namelen, iov, iovlen, control, controllen, flags. */
const MSGHDR = {
  bytes: 56,
  name: 0,
  nameLength: 2,
  vector: 4,
  vectorLength: 6,
  control: 8,
  controlLength: 10,
};
const FLAGS_WORD = 12;
const CONTROL_BYTES = 512;
/** More than any datagram or super-packet has. */
export const PAYLOAD_BYTES = 64 * 1024;
/** struct sock_extended_err, before the address of who complained. */
const EXTENDED_ERROR_BYTES = 16;
const ORIGINS = ["none", "local", "icmp", "icmp6"] as const;

/** A socket; control messages have another form for each family. */
export interface DatagramDescriptor {
  readonly fd: number;
  readonly isV4: boolean;
}

/** What goes with a datagram that is sent; its bytes are the first ones of `payload`. */
export interface OutgoingMessage {
  /** `ip:port`; left out on a connected socket. */
  readonly to?: string | undefined;
  /** Address to send from, by IP_PKTINFO. */
  readonly source?: string | undefined;
  readonly tos?: number | undefined;
  /** UDP_SEGMENT: cut into datagrams of so many bytes. */
  readonly segment?: number | undefined;
}

/** What came with a datagram; its bytes are the first ones of `payload`. */
export interface IncomingMessage {
  /** `ip:port`. For an error: where the datagram that caused it was going. */
  readonly from: string;
  readonly bytes: number;
  readonly truncated: boolean;
  /** The address that the sender wrote to. */
  readonly asked?: string;
  /** `ip:port` that the sender wrote to (IP_RECVORIGDSTADDR). */
  readonly destination?: string;
  readonly tos?: number;
  /** The packet's mark (SO_RCVMARK). */
  readonly mark?: number;
  /** Bytes of each datagram in a super-packet (UDP_GRO). */
  readonly segment?: number;
  /** Bytes of the largest fragment it came in (IP_RECVFRAGSIZE); absent or 0 when it came whole. */
  readonly fragment?: number;
  readonly error?: QueuedError;
}

/** An entry of a socket's error queue (ip(7), IP_RECVERR). */
export interface QueuedError {
  /** `ECONNREFUSED` and the like. */
  readonly code: string;
  readonly origin: (typeof ORIGINS)[number];
  /** Of the ICMP message; 0 for a local one. */
  readonly icmpType: number;
  readonly icmpCode: number;
  /** The MTU, where the error is about it. */
  readonly info: number;
  /** Who sent the ICMP message. */
  readonly offender?: string;
}

/** Sends and receives for sockets of this thread. */
export class DatagramMessages {
  readonly sys: Syscalls = openSyscalls();
  readonly arena = new Arena(1 << 20);
  /** Bytes to send, and bytes received, until the next call. */
  readonly payload: Block = this.arena.allocate(PAYLOAD_BYTES);
  /** The sockaddr that a datagram came from. */
  readonly name: Block = this.arena.allocate(SOCKADDR_IN6_BYTES);
  /** An option's value, or a length. */
  readonly value: Block = this.arena.allocate(4);
  readonly #header: Block = this.arena.allocate(MSGHDR.bytes);
  readonly #vector: Block = this.arena.allocate(16);
  readonly #control: Block = this.arena.allocate(CONTROL_BYTES);
  readonly #encoder = new CmsgEncoder(this.#control);
  readonly #iterator = new CmsgIterator(this.#control);

  constructor() {
    const { words } = this.#header;
    this.#storeAddress(words, MSGHDR.name, this.name);
    this.#storeAddress(words, MSGHDR.vector, this.#vector);
    words[MSGHDR.vectorLength] = 1;
    this.#storeAddress(words, MSGHDR.control, this.#control);
    this.#storeAddress(this.#vector.words, 0, this.payload);
  }

  #storeAddress(words: Int32Array, at: number, block: Block): void {
    words[at] = this.arena.addressLow(block.offset);
    words[at + 1] = this.arena.addressHigh;
  }

  /** Sends the first `bytes` of `payload`. @returns bytes sent, or -errno. */
  send({ fd, isV4 }: DatagramDescriptor, bytes: number, message: OutgoingMessage): number {
    const { words } = this.#header;
    this.#vector.words[2] = bytes;
    words[MSGHDR.nameLength] = message.to === undefined
      ? 0
      : encodeSockaddr(parseEndpoint(message.to)!, this.name.bytes);
    this.#encoder.start(0, CONTROL_BYTES);
    if (message.source !== undefined) this.#pushSource(message.source);
    if (message.tos !== undefined) this.#pushTos(isV4, message.tos);
    if (message.segment !== undefined) {
      const at = this.#encoder.push(SOL_UDP, UDP_SEGMENT, 2);
      this.#control.bytes.set([message.segment & 0xff, message.segment >> 8], at);
    }
    words[MSGHDR.controlLength] = this.#encoder.length;
    return this.sys.sendmsg(fd, this.#header.pointer, 0);
  }

  /** Sends the first `bytes` of `payload` to the sockaddr that is in `name`, without control data. */
  sendBack(fd: number, bytes: number, nameLength: number): number {
    this.#vector.words[2] = bytes;
    this.#header.words[MSGHDR.nameLength] = nameLength;
    this.#header.words[MSGHDR.controlLength] = 0;
    return this.sys.sendmsg(fd, this.#header.pointer, 0);
  }

  #pushSource(source: string): void {
    const address = addressBytes(parseAddress(source)!);
    // struct in_pktinfo: ifindex, spec_dst, addr; struct in6_pktinfo: addr, ifindex.
    const at = address.length === 4
      ? this.#encoder.push(SOL_IP, IP_PKTINFO, 12) + 4
      : this.#encoder.push(SOL_IPV6, IPV6_PKTINFO, 20);
    this.#control.bytes.set(address, at);
  }

  #pushTos(isV4: boolean, tos: number): void {
    const at = isV4 ? this.#encoder.push(SOL_IP, IP_TOS, 4) : this.#encoder.push(SOL_IPV6, IPV6_TCLASS, 4);
    this.#control.bytes[at] = tos;
  }

  /** Takes the next datagram into `payload` and `name`, without a look at control data. @returns bytes, or -errno. */
  receiveBytes(fd: number): number {
    this.#prepare(0);
    return this.sys.recvmsg(fd, this.#header.pointer, MSG_DONTWAIT);
  }

  /** Takes the next datagram. @returns -errno when there is none. */
  receive(fd: number): IncomingMessage | number {
    this.#prepare(CONTROL_BYTES);
    const n = this.sys.recvmsg(fd, this.#header.pointer, MSG_DONTWAIT);
    return n < 0 ? n : this.#read(n);
  }

  /** Takes the next entry of the error queue. @returns -errno when there is none. */
  receiveError(fd: number): IncomingMessage | number {
    this.#prepare(CONTROL_BYTES);
    const n = this.sys.recvmsg(fd, this.#header.pointer, MSG_DONTWAIT | MSG_ERRQUEUE);
    return n < 0 ? n : this.#read(n);
  }

  #prepare(controlBytes: number): void {
    const { words } = this.#header;
    this.#vector.words[2] = PAYLOAD_BYTES;
    words[MSGHDR.nameLength] = SOCKADDR_IN6_BYTES;
    words[MSGHDR.controlLength] = controlBytes;
    this.name.bytes.fill(0);
  }

  #read(bytes: number): IncomingMessage {
    const { words } = this.#header;
    const peer = decodeSockaddr(this.name.bytes);
    const found: { -readonly [Field in keyof IncomingMessage]: IncomingMessage[Field] } = {
      from: peer === undefined ? "" : formatEndpoint(peer),
      bytes,
      truncated: (words[FLAGS_WORD]! & MSG_TRUNC) !== 0,
    };
    const it = this.#iterator;
    for (it.start(0, words[MSGHDR.controlLength]!); it.next();) {
      const at = it.dataAt, word = this.#control.words[at >> 2]!;
      const is = (level: number, type: number) => it.level === level && it.type === type;
      if (is(SOL_IP, IP_TOS)) found.tos = word & 0xff;
      else if (is(SOL_IPV6, IPV6_TCLASS)) found.tos = word;
      else if (is(SOL_IP, IP_PKTINFO)) found.asked = this.#addressAt(at + 8, 4);
      else if (is(SOL_IPV6, IPV6_PKTINFO)) found.asked = this.#addressAt(at, 16);
      else if (is(SOL_IP, IP_RECVORIGDSTADDR) || is(SOL_IPV6, IPV6_RECVORIGDSTADDR)) {
        found.destination = formatEndpoint(decodeSockaddr(this.#control.bytes.subarray(at))!);
      } else if (is(SOL_SOCKET, SO_MARK)) found.mark = word >>> 0;
      else if (is(SOL_UDP, UDP_GRO)) found.segment = word;
      else if (is(SOL_IP, IP_RECVFRAGSIZE) || is(SOL_IPV6, IPV6_RECVFRAGSIZE)) found.fragment = word;
      else if (is(SOL_IP, IP_RECVERR) || is(SOL_IPV6, IPV6_RECVERR)) found.error = this.#readError(at);
    }
    return found;
  }

  #readError(at: number): QueuedError {
    const { words, bytes } = this.#control;
    const offender = decodeSockaddr(bytes.subarray(at + EXTENDED_ERROR_BYTES));
    return {
      code: errnoName(words[at >> 2]!),
      origin: ORIGINS[bytes[at + 4]!]!,
      icmpType: bytes[at + 5]!,
      icmpCode: bytes[at + 6]!,
      info: words[(at >> 2) + 2]!,
      ...(offender === undefined ? {} : { offender: offender.address.text }),
    };
  }

  #addressAt(at: number, length: number): string {
    return addressFromBytes(this.#control.bytes.slice(at, at + length)).text;
  }
}
