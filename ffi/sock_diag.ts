/**
 * Asks the kernel who owns a socket of this host: NETLINK_SOCK_DIAG (sock_diag(7)), one socket by its endpoints.
 *
 * The kernel answers before send returns, so nothing waits. Its request has no room for more than one question.
 *
 * @module
 */
import type { Arena, Block } from "./arena.ts";
import { AF_INET, AF_NETLINK, MSG_DONTWAIT, NETLINK_SOCK_DIAG, SOCK_CLOEXEC, SOCK_RAW } from "./constants.ts";
import type { Syscalls } from "./syscalls.ts";

/*
 * struct nlmsghdr (16 bytes: u32 length, u16 type, u16 flags, u32 sequence, u32 port), then
 * struct inet_diag_req_v2: u8 family, u8 protocol, u8 ext, u8 pad, u32 states, and at 24 inet_diag_sockid:
 * u16 sport, u16 dport (network order), 16 bytes src, 16 bytes dst, u32 if, u32 cookie[2].
 */
const REQUEST_BYTES = 72;
const TYPE_WORD = 1,
  FAMILY_WORD = 4,
  STATES_WORD = 5,
  PORTS_WORD = 6,
  SRC_WORD = 7,
  DST_WORD = 11,
  COOKIE_WORD = 16;
const SOCK_DIAG_BY_FAMILY = 20, NLM_F_REQUEST = 1;

/*
 * struct inet_diag_msg, behind the header too: u8 family, u8 state, u8 timer, u8 retrans, inet_diag_sockid (48),
 * u32 expires, u32 rqueue, u32 wqueue, u32 uid, u32 inode. Attributes that follow are cut off.
 */
const ANSWER_BYTES = 128, LEAST_ANSWER_BYTES = 88, STATE_BYTE = 17, UID_WORD = 20;
/** Neither has an owner that counts: of a connection that is over nobody is told, and a listener is another socket. */
const TCP_TIME_WAIT = 6, TCP_LISTEN = 10;
const IPPROTO_TCP = 6;

/** Arena bytes that it takes. */
export const SOCK_DIAG_BYTES = 256;

/** One thread's question and answer. Its socket is opened when first needed. */
export class SockDiag {
  readonly #sys: Syscalls;
  readonly #request: Block;
  readonly #answer: Block;
  #fd = -1;

  constructor(sys: Syscalls, arena: Arena) {
    this.#sys = sys;
    this.#request = arena.allocate(REQUEST_BYTES);
    this.#answer = arena.allocate(ANSWER_BYTES);
  }

  /**
   * The user that owns the socket of this host which sends from one endpoint to the other.
   *
   * @param protocol IPPROTO_TCP or IPPROTO_UDP.
   * @param words memory of both sockaddrs, of one family.
   * @param fromAt first word of the one that it is bound to, `toAt` of the one that it sends to.
   * @returns the number, or -1: there is no such socket here, or it cannot be asked for.
   */
  ownerOf(protocol: number, words: Int32Array, fromAt: number, toAt: number): number {
    if (this.#fd < 0) {
      const fd = this.#sys.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
      if (fd < 0) return -1;
      this.#fd = fd;
    }
    // For datagrams, the kernel takes the two for what they are in a packet that the socket receives.
    if (protocol === IPPROTO_TCP) this.#ask(protocol, words, fromAt, toAt);
    else this.#ask(protocol, words, toAt, fromAt);
    if (this.#sys.send(this.#fd, this.#request.pointer, REQUEST_BYTES, MSG_DONTWAIT) < 0) return -1;
    const length = this.#sys.recv(this.#fd, this.#answer.pointer, ANSWER_BYTES, MSG_DONTWAIT);
    const { words: answer, bytes } = this.#answer;
    if (length < LEAST_ANSWER_BYTES || (answer[TYPE_WORD]! & 0xffff) !== SOCK_DIAG_BY_FAMILY) return -1;
    const state = bytes[STATE_BYTE]!;
    return protocol === IPPROTO_TCP && (state === TCP_TIME_WAIT || state === TCP_LISTEN)
      ? -1
      : answer[UID_WORD]! >>> 0;
  }

  close(): void {
    if (this.#fd >= 0) this.#sys.close(this.#fd);
    this.#fd = -1;
  }

  #ask(protocol: number, words: Int32Array, srcAt: number, dstAt: number): void {
    const { words: request } = this.#request;
    const family = words[srcAt]! & 0xff;
    request.fill(0);
    request[0] = REQUEST_BYTES;
    request[TYPE_WORD] = SOCK_DIAG_BY_FAMILY | NLM_F_REQUEST << 16;
    request[FAMILY_WORD] = family | protocol << 8;
    request[STATES_WORD] = -1;
    request[PORTS_WORD] = words[srcAt]! >>> 16 | words[dstAt]! & 0xffff0000;
    const from = family === AF_INET ? 1 : 2, length = family === AF_INET ? 1 : 4;
    for (let i = 0; i < length; i++) {
      request[SRC_WORD + i] = words[srcAt + from + i]!;
      request[DST_WORD + i] = words[dstAt + from + i]!;
    }
    // INET_DIAG_NOCOOKIE: whichever socket has these endpoints.
    request[COOKIE_WORD] = request[COOKIE_WORD + 1] = -1;
  }
}
