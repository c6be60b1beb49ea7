/**
 * Answers a client from a port that cannot be bound, because a process of this host holds it: through raw sockets,
 * for which we write the UDP header and the kernel the IP header, with fragmentation where it takes some.
 *
 * Slower than a UDP socket (the payload is summed up here for IPv4, and no batches), so it is the exception.
 * Which answers need it is reply_sockets.ts's to know.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  type Arena,
  type Block,
  CmsgEncoder,
  cmsgSpace,
  encodeSockaddr,
  IP_MTU_DISCOVER,
  IP_PKTINFO,
  IP_PMTUDISC_DONT,
  IP_TOS,
  IP_TRANSPARENT,
  IPPROTO_UDP,
  IPV6_CHECKSUM,
  IPV6_PKTINFO,
  IPV6_TCLASS,
  IPV6_TRANSPARENT,
  MSG_DONTWAIT,
  SO_MARK,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
  sockaddrFamily,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  type Syscalls,
} from "../ffi/mod.ts";
import { addToSum, checksumOf } from "../net/mod.ts";
import { Message } from "./message.ts";
import { NOBODY_V4, NOBODY_V6 } from "./nobody.ts";

/** Bytes of the arena that this takes. */
export const RAW_REPLY_BYTES = 512;

const UDP_BYTES = 8;
const UDP_CHECKSUM_AT = 6;
/** sizeof(struct in_pktinfo), where ipi_spec_dst is in it; sizeof(struct in6_pktinfo), ipi6_addr is first. */
const IN_PKTINFO_BYTES = 12, IPI_SPEC_DST = 4, IN6_PKTINFO_BYTES = 20;
/** Where addresses lie in `sockaddr_in` and `sockaddr_in6`. */
const SIN_ADDR = 4, SIN6_ADDR = 8;
const CONTROL_BYTES = cmsgSpace(IN6_PKTINFO_BYTES) + cmsgSpace(4);

/** Not opened yet, for the descriptor's place. */
const CLOSED = -1;

/** One worker's raw sockets, one a family, each opened when first used. */
export class RawReply {
  readonly #sys: Syscalls;
  readonly #memory: Uint8Array;
  readonly #mark: number;
  readonly #message: Message;
  readonly #control: CmsgEncoder;
  readonly #header: Block;
  readonly #value: Block;
  #fd4 = CLOSED;
  #fd6 = CLOSED;

  /** @param mark SO_MARK of what is sent; 0: none. */
  constructor(sys: Syscalls, arena: Arena, mark: number) {
    this.#sys = sys;
    this.#memory = arena.bytes;
    this.#mark = mark;
    this.#message = new Message(arena, 2, CONTROL_BYTES);
    this.#control = new CmsgEncoder(this.#message.control);
    this.#header = arena.allocate(UDP_BYTES);
    this.#value = arena.allocate(4);
  }

  /**
   * Sends a datagram whose payload is somewhere in the arena.
   *
   * @param client sockaddr of who gets it.
   * @param source sockaddr, of the same family, of who is to have sent it.
   * @param length of the payload, at most 65,507 bytes.
   * @param tos the TOS byte or traffic class, ECN bits included.
   * @returns bytes of payload sent, or -errno, also of opening the socket (EPERM without CAP_NET_RAW).
   */
  send(client: Uint8Array, source: Uint8Array, payloadOffset: number, length: number, tos: number): number {
    const isV4 = sockaddrFamily(client) === AF_INET;
    const fd = isV4 ? this.#socket4() : this.#socket6();
    if (fd < 0) return fd;
    this.#writeHeader(client, source, length);
    this.#control.start(0, CONTROL_BYTES);
    if (isV4) {
      this.#writeChecksum4(client, source, payloadOffset, length);
      this.#writeControl4(source, tos);
    } else {
      this.#writeControl6(source, tos);
    }
    this.#message.setVector(0, this.#header.offset, UDP_BYTES);
    this.#message.setVector(1, payloadOffset, length);
    const nameLength = isV4 ? SOCKADDR_IN_BYTES : SOCKADDR_IN6_BYTES;
    const name = this.#message.name.bytes;
    for (let i = 0; i < nameLength; i++) name[i] = client[i]!;
    // A raw socket takes a protocol for the port (raw(7)), and has one already.
    name[2] = name[3] = 0;
    this.#message.setLengths(nameLength, this.#control.length);
    const n = this.#sys.sendmsg(fd, this.#message.pointer, MSG_DONTWAIT);
    return n < 0 ? n : n - UDP_BYTES;
  }

  close(): void {
    if (this.#fd4 !== CLOSED) this.#sys.close(this.#fd4);
    if (this.#fd6 !== CLOSED) this.#sys.close(this.#fd6);
    this.#fd4 = this.#fd6 = CLOSED;
  }

  #writeHeader(client: Uint8Array, source: Uint8Array, length: number): void {
    const { bytes } = this.#header;
    bytes[0] = source[2]!;
    bytes[1] = source[3]!;
    bytes[2] = client[2]!;
    bytes[3] = client[3]!;
    write16(bytes, 4, UDP_BYTES + length);
    // IPv6's checksum is the kernel's work, by IPV6_CHECKSUM; there is no such option for IPv4.
    write16(bytes, UDP_CHECKSUM_AT, 0);
  }

  #writeChecksum4(client: Uint8Array, source: Uint8Array, payloadOffset: number, length: number): void {
    const { bytes } = this.#header;
    // The pseudo-header (RFC 768): addresses, protocol and UDP length.
    let sum = IPPROTO_UDP + UDP_BYTES + length;
    sum = addToSum(sum, source, SIN_ADDR, 4);
    sum = addToSum(sum, client, SIN_ADDR, 4);
    sum = addToSum(sum, bytes, 0, UDP_BYTES);
    // A checksum of 0 would say that there is none.
    write16(
      bytes,
      UDP_CHECKSUM_AT,
      checksumOf(addToSum(sum, this.#memory, payloadOffset, length)) || 0xffff,
    );
  }

  #writeControl4(source: Uint8Array, tos: number): void {
    const { bytes, words } = this.#message.control;
    const at = this.#control.push(SOL_IP, IP_PKTINFO, IN_PKTINFO_BYTES) + IPI_SPEC_DST;
    for (let i = 0; i < 4; i++) bytes[at + i] = source[SIN_ADDR + i]!;
    words[this.#control.push(SOL_IP, IP_TOS, 4) >> 2] = tos;
  }

  #writeControl6(source: Uint8Array, tos: number): void {
    const { bytes, words } = this.#message.control;
    const at = this.#control.push(SOL_IPV6, IPV6_PKTINFO, IN6_PKTINFO_BYTES);
    for (let i = 0; i < 16; i++) bytes[at + i] = source[SIN6_ADDR + i]!;
    words[this.#control.push(SOL_IPV6, IPV6_TCLASS, 4) >> 2] = tos;
  }

  #socket4(): number {
    if (this.#fd4 !== CLOSED) return this.#fd4;
    const fd = this.#open(AF_INET);
    if (fd >= 0) this.#fd4 = fd;
    return fd;
  }

  #socket6(): number {
    if (this.#fd6 !== CLOSED) return this.#fd6;
    const fd = this.#open(AF_INET6);
    if (fd >= 0) this.#fd6 = fd;
    return fd;
  }

  #open(family: typeof AF_INET | typeof AF_INET6): number {
    const fd = this.#sys.socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP);
    if (fd < 0) return fd;
    const failure = this.#setUp(fd, family);
    if (failure < 0) {
      this.#sys.close(fd);
      return failure;
    }
    return fd;
  }

  #setUp(fd: number, family: typeof AF_INET | typeof AF_INET6): number {
    const { pointer, bytes } = this.#message.name;
    const isV4 = family === AF_INET;
    const failure =
      (isV4
        ? this.#setInt(fd, SOL_IP, IP_TRANSPARENT, 1)
        : this.#setInt(fd, SOL_IPV6, IPV6_TRANSPARENT, 1)) ||
      // "Fragmentation needed" would go to the source, which is not here to send smaller datagrams from then on.
      (isV4
        ? this.#setInt(fd, SOL_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        : this.#setInt(fd, SOL_IPV6, IPV6_CHECKSUM, UDP_CHECKSUM_AT)) ||
      (this.#mark === 0 ? 0 : this.#setInt(fd, SOL_SOCKET, SO_MARK, this.#mark));
    if (failure < 0) return failure;
    // A raw socket is given a copy of every datagram that comes for its address: bound like this, of none.
    const nobody = { address: isV4 ? NOBODY_V4 : NOBODY_V6, port: 0 };
    const length = encodeSockaddr(nobody, bytes);
    return this.#sys.bind(fd, pointer, length);
  }

  #setInt(fd: number, level: number, name: number, setting: number): number {
    this.#value.words[0] = setting;
    return this.#sys.setsockopt(fd, level, name, this.#value.pointer, 4);
  }
}

function write16(into: Uint8Array, at: number, value: number): void {
  into[at] = value >>> 8;
  into[at + 1] = value;
}
