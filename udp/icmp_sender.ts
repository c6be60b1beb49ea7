/**
 * Tells clients that their datagrams could not be delivered, as a router or the destination itself would have:
 * raw sockets, opened when the first error has to be sent.
 *
 * What may be told and how it is written is icmp_error.ts; when to tell it is the caller's decision. A client
 * that cannot be told waits for its own timeout, which is what it did anyway: nothing here is fatal.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  type Arena,
  type Block,
  EACCES,
  ECONNREFUSED,
  EHOSTUNREACH,
  ENETUNREACH,
  EPERM,
  errnoName,
  IPPROTO_RAW,
  MSG_DONTWAIT,
  SO_MARK,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_RAW,
  SOCKADDR_IN6_BYTES,
  SOCKADDR_IN_BYTES,
  sockaddrFamily,
  SOL_SOCKET,
  type Syscalls,
} from "../ffi/mod.ts";
import {
  concernsClient,
  encodeIcmp4,
  encodeIcmp6,
  ICMP_DEST_UNREACH,
  ICMP_ERROR_MAX_BYTES,
  ICMP_FRAG_NEEDED,
  ICMP_HOST_UNREACH,
  ICMP_NET_UNREACH,
  ICMP_PKT_FILTERED,
  ICMP_PORT_UNREACH,
  type IcmpError,
  ICMPV6_ADDR_UNREACH,
  ICMPV6_ADM_PROHIBITED,
  ICMPV6_DEST_UNREACH,
  ICMPV6_NOROUTE,
  ICMPV6_PKT_TOOBIG,
  ICMPV6_PORT_UNREACH,
  type QuotedDatagram,
  saysTooBig,
} from "./icmp_error.ts";
import { IcmpLimit } from "./icmp_limit.ts";
import { Message } from "./message.ts";

/** Bytes of the arena that a sender takes. */
export const ICMP_SENDER_BYTES = 2048;

/** How a sender sends, and whom it tells. */
export interface IcmpSenderOptions {
  /** SO_MARK of its packets; 0: none. */
  readonly mark: number;
  /** Milliseconds of any clock that does not go back. */
  readonly now: () => number;
  /** Called once: no error will ever be sent, for want of CAP_NET_RAW. */
  readonly onUnavailable: (detail: string) => void;
  /** An error was not sent: there have been too many, or the kernel did not let us. */
  readonly onSuppressed: () => void;
}

/** The codes by which a router says what sendmsg(2) said here. */
const UNREACHABLE: Readonly<Record<number, { readonly code4: number; readonly code6: number }>> = {
  [ENETUNREACH]: { code4: ICMP_NET_UNREACH, code6: ICMPV6_NOROUTE },
  [EHOSTUNREACH]: { code4: ICMP_HOST_UNREACH, code6: ICMPV6_ADDR_UNREACH },
  [EACCES]: { code4: ICMP_PKT_FILTERED, code6: ICMPV6_ADM_PROHIBITED },
  [ECONNREFUSED]: { code4: ICMP_PORT_UNREACH, code6: ICMPV6_PORT_UNREACH },
};

/** Not opened yet, for the descriptor's place. */
const CLOSED = -1;

/** One worker's ICMP errors to clients. Addresses are `sockaddr_in` or `sockaddr_in6`, one family in a call. */
export class IcmpSender {
  readonly #sys: Syscalls;
  readonly #memory: Uint8Array;
  readonly #options: IcmpSenderOptions;
  readonly #limit = new IcmpLimit();
  readonly #packet: Block;
  readonly #message: Message;
  readonly #value: Block;
  readonly #ownAddress: Block;
  #fd4 = CLOSED;
  #fd6 = CLOSED;
  #unavailable = false;

  constructor(sys: Syscalls, arena: Arena, options: IcmpSenderOptions) {
    this.#sys = sys;
    this.#memory = arena.bytes;
    this.#options = options;
    this.#packet = arena.allocate(ICMP_ERROR_MAX_BYTES);
    this.#message = new Message(arena, 1, 0);
    this.#value = arena.allocate(4);
    this.#ownAddress = arena.allocate(SOCKADDR_IN6_BYTES);
  }

  /**
   * Says why a datagram could not go on: ENETUNREACH, EHOSTUNREACH, EACCES for "prohibited", or
   * ECONNREFUSED for "nobody listens on this port".
   *
   * @param offender whose name it is said in, if not in this host's.
   * @returns whether it was sent; not, for any other error number.
   */
  unreachable(errno: number, about: QuotedDatagram, offender?: Uint8Array): boolean {
    const codes = UNREACHABLE[errno];
    if (codes === undefined) return false;
    const error = sockaddrFamily(about.client) === AF_INET
      ? { type: ICMP_DEST_UNREACH, code: codes.code4, info: 0 }
      : { type: ICMPV6_DEST_UNREACH, code: codes.code6, info: 0 };
    return this.relay(error, offender, about);
  }

  /** "Too big for the next hop, which takes packets of `mtu` bytes", by this host. @returns whether it was sent. */
  tooBig(mtu: number, about: QuotedDatagram): boolean {
    const isV4 = sockaddrFamily(about.client) === AF_INET;
    const type = isV4 ? ICMP_DEST_UNREACH : ICMPV6_PKT_TOOBIG;
    return this.relay({ type, code: isV4 ? ICMP_FRAG_NEEDED : 0, info: mtu }, undefined, about);
  }

  /**
   * Passes an error on that came for what was sent in the client's name.
   *
   * @param error as it came: types and codes are those of the client's family.
   * @param offender who found the error; absent, or of another family (an error queue's is 0 then): this host.
   * @returns whether it was sent; not, if it is of a kind that clients are not told.
   */
  relay(error: IcmpError, offender: Uint8Array | undefined, about: QuotedDatagram): boolean {
    const family = sockaddrFamily(about.client);
    if (!concernsClient(family, error)) return false;
    const source = offender !== undefined && sockaddrFamily(offender) === family ? offender : undefined;
    // This host's own "too big" answers a datagram of the client, and path MTU discovery needs every one (so has it
    // the kernel, icmpv4_mask_allow). One that somebody sent us is an error like any other.
    const isFree = source === undefined && saysTooBig(family, error);
    const sent = !this.#unavailable && (isFree || this.#limit.take(about.client, this.#options.now())) &&
      (family === AF_INET ? this.#send4(error, source, about) : this.#send6(error, source, about));
    if (!sent) this.#options.onSuppressed();
    return sent;
  }

  close(): void {
    if (this.#fd4 !== CLOSED) this.#sys.close(this.#fd4);
    if (this.#fd6 !== CLOSED) this.#sys.close(this.#fd6);
    this.#fd4 = this.#fd6 = CLOSED;
  }

  #send4(error: IcmpError, offender: Uint8Array | undefined, about: QuotedDatagram): boolean {
    if (this.#fd4 === CLOSED) this.#fd4 = this.#open(AF_INET);
    if (this.#fd4 === CLOSED) return false;
    const length = encodeIcmp4(this.#packet.bytes, error, about, this.#memory, offender);
    this.#setDestination(about.client, SOCKADDR_IN_BYTES);
    return this.#send(this.#fd4, length, SOCKADDR_IN_BYTES);
  }

  #send6(error: IcmpError, offender: Uint8Array | undefined, about: QuotedDatagram): boolean {
    if (this.#fd6 === CLOSED) this.#fd6 = this.#open(AF_INET6);
    if (this.#fd6 === CLOSED) return false;
    this.#setDestination(about.client, SOCKADDR_IN6_BYTES);
    const source = offender ?? this.#findOwnAddress();
    if (source === undefined) return false;
    const length = encodeIcmp6(this.#packet.bytes, error, about, this.#memory, source);
    return this.#send(this.#fd6, length, SOCKADDR_IN6_BYTES);
  }

  /** A raw socket takes a protocol for the port (raw(7)): ours has one already. */
  #setDestination(client: Uint8Array, length: number): void {
    const name = this.#message.name.bytes;
    for (let i = 0; i < length; i++) name[i] = client[i]!;
    name[2] = name[3] = 0;
  }

  #send(fd: number, length: number, nameLength: number): boolean {
    this.#message.setVector(0, this.#packet.offset, length);
    this.#message.setLengths(nameLength, 0);
    return this.#sys.sendmsg(fd, this.#message.pointer, MSG_DONTWAIT) >= 0;
  }

  /**
   * This host's address towards the client, for IPv6, where the kernel does not fill in a source. Connecting the
   * raw socket sends nothing and makes the kernel choose one, by the route that the mark leads to. It is asked
   * each time: errors are few, and an address kept would be the wrong one after a change of routes.
   */
  #findOwnAddress(): Uint8Array | undefined {
    const { pointer, bytes } = this.#message.name;
    if (this.#sys.connect(this.#fd6, pointer, SOCKADDR_IN6_BYTES) < 0) return undefined;
    this.#value.words[0] = SOCKADDR_IN6_BYTES;
    const found = this.#sys.getsockname(this.#fd6, this.#ownAddress.pointer, this.#value.pointer);
    bytes[0] = AF_UNSPEC;
    // A socket that stayed connected would keep the source it has for every client after this one.
    this.#sys.connect(this.#fd6, pointer, SOCKADDR_IN6_BYTES);
    bytes[0] = AF_INET6;
    return found < 0 ? undefined : this.#ownAddress.bytes;
  }

  /** A socket whose packets come with their IP header (IP_HDRINCL), as IPPROTO_RAW implies. */
  #open(family: number): number {
    const fd = this.#sys.socket(family, SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_RAW);
    if (fd === -EPERM || fd === -EACCES) {
      this.#unavailable = true;
      this.#options.onUnavailable(`SOCK_RAW: ${errnoName(-fd)}: CAP_NET_RAW wanted`);
    }
    // Anything else, such as EMFILE, may be better by the next error.
    if (fd < 0) return CLOSED;
    this.#value.words[0] = this.#options.mark;
    if (
      this.#options.mark !== 0 &&
      this.#sys.setsockopt(fd, SOL_SOCKET, SO_MARK, this.#value.pointer, 4) < 0
    ) {
      // Without its mark our packet could be intercepted as if it were a client's.
      this.#sys.close(fd);
      return CLOSED;
    }
    return fd;
  }
}
