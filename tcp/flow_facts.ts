/**
 * What a policy may ask about a connection that has just been accepted. Each answer costs system calls, so nothing is
 * looked up before it is asked for.
 *
 * The kernel keeps interface and codepoint of the packet that completed the handshake with the accepted socket, and
 * gives them away to whom has asked for such things before (docs/kernel-facts.md).
 *
 * @module
 */
import {
  AF_INET,
  type Arena,
  type Block,
  CmsgIterator,
  IP_PKTINFO,
  IP_PKTOPTIONS,
  IP_RECVTOS,
  IP_TOS,
  IPV6_2292PKTOPTIONS,
  IPV6_PKTINFO,
  IPV6_RECVPKTINFO,
  IPV6_RECVTCLASS,
  IPV6_TCLASS,
  SOCK_DIAG_BYTES,
  SockDiag,
  SOL_IP,
  SOL_IPV6,
  type Syscalls,
} from "../ffi/mod.ts";
import type { FlowFacts } from "../flow/mod.ts";

/** Room for PKTINFO and TOS of either family, 40 and 24 bytes, and what a later kernel may add. */
const CONTROL_BYTES = 128;
const IPPROTO_TCP = 6;
/** Its index in every network namespace; what comes in by it is this host's own. */
const LO_INDEX = 1;

/** Arena bytes that they take. */
export const FLOW_FACTS_BYTES = SOCK_DIAG_BYTES + CONTROL_BYTES + 5 * 64;

/** Facts of one connection after the other. */
export class TcpFlowFacts implements FlowFacts {
  readonly #sys: Syscalls;
  readonly #words: Int32Array;
  readonly #control: Block;
  readonly #messages: CmsgIterator;
  readonly #length: Block;
  readonly #one: Block;
  readonly #zero: Block;
  readonly #diag: SockDiag;
  #fd = -1;
  #clientAt = 0;
  #destinationAt = 0;
  #isRead = false;
  #interfaceIndex = 0;
  #dscp = -1;

  constructor(sys: Syscalls, arena: Arena) {
    this.#sys = sys;
    this.#words = arena.words;
    this.#control = arena.allocate(CONTROL_BYTES);
    this.#messages = new CmsgIterator(this.#control);
    this.#length = arena.allocate(4);
    this.#one = arena.allocate(4);
    this.#one.words[0] = 1;
    this.#zero = arena.allocate(4);
    this.#diag = new SockDiag(sys, arena);
  }

  /**
   * From now on the facts are those of another connection.
   *
   * @param fd the accepted socket.
   * @param clientAt first word of the arena that the client's sockaddr takes; `destinationAt`: the destination's.
   */
  begin(fd: number, clientAt: number, destinationAt: number): void {
    this.#fd = fd;
    this.#clientAt = clientAt;
    this.#destinationAt = destinationAt;
    this.#isRead = false;
  }

  interfaceIndex(): number {
    this.#read();
    return this.#interfaceIndex;
  }

  dscp(): number {
    this.#read();
    return this.#dscp;
  }

  uid(): number {
    return this.#diag.ownerOf(IPPROTO_TCP, this.#words, this.#clientAt, this.#destinationAt);
  }

  close(): void {
    this.#diag.close();
  }

  #read(): void {
    if (this.#isRead) return;
    this.#isRead = true;
    this.#interfaceIndex = 0;
    this.#dscp = -1;
    if ((this.#words[this.#clientAt]! & 0xff) === AF_INET) {
      this.#readBy(SOL_IP, IP_PKTOPTIONS, IP_PKTINFO, IP_RECVTOS);
    } else this.#readBy(SOL_IPV6, IPV6_2292PKTOPTIONS, IPV6_RECVPKTINFO, IPV6_RECVTCLASS);
    if (this.#interfaceIndex === LO_INDEX) this.#interfaceIndex = 0;
  }

  #readBy(level: number, option: number, info: number, tos: number): void {
    const sys = this.#sys, fd = this.#fd, control = this.#control, length = this.#length;
    sys.setsockopt(fd, level, info, this.#one.pointer, 4);
    sys.setsockopt(fd, level, tos, this.#one.pointer, 4);
    length.words[0] = CONTROL_BYTES;
    if (sys.getsockopt(fd, level, option, control.pointer, length.pointer) === 0) {
      this.#messages.start(0, length.words[0]!);
      while (this.#messages.next()) this.#take();
    }
    // Over IPv6 the kernel would go on to keep a copy of each packet's header for us.
    sys.setsockopt(fd, level, info, this.#zero.pointer, 4);
    sys.setsockopt(fd, level, tos, this.#zero.pointer, 4);
  }

  #take(): void {
    const { level, type, dataAt } = this.#messages;
    const { words, bytes } = this.#control;
    if (level === SOL_IP && type === IP_PKTINFO) this.#interfaceIndex = words[dataAt >> 2]!;
    else if (level === SOL_IPV6 && type === IPV6_PKTINFO) this.#interfaceIndex = words[(dataAt >> 2) + 4]!;
    else if (level === SOL_IP && type === IP_TOS || level === SOL_IPV6 && type === IPV6_TCLASS) {
      this.#dscp = bytes[dataAt]! >> 2;
    }
  }
}
