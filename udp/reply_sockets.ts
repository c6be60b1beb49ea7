/**
 * The sockets that answer clients, with any remote's address and port as the source. What goes through them is
 * answers.ts's business.
 *
 * One transparent socket a source port serves every remote that has this port: the address is chosen for each
 * message (IP_PKTINFO, ip(7)). Each is bound to an address that no packet is sent to, and so takes nobody's datagrams:
 * one bound to the remote's own address is found by rules that look for transparent sockets.
 *
 * @module
 */
import {
  AF_INET,
  AF_INET6,
  EACCES,
  EADDRINUSE,
  EMFILE,
  encodeSockaddr,
  ENFILE,
  errnoName,
  IP_MTU_DISCOVER,
  IP_PMTUDISC_DONT,
  IP_TRANSPARENT,
  IPV6_MTU_DISCOVER,
  IPV6_TRANSPARENT,
  IPV6_V6ONLY,
  SO_MARK,
  SO_REUSEADDR,
  SO_SNDBUF,
  SO_SNDBUFFORCE,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCK_NONBLOCK,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  TICK_MS,
  Timer,
} from "../ffi/mod.ts";
import { NOBODY_V4, NOBODY_V6 } from "./nobody.ts";
import { IdleQueue, QueueEntry } from "./idle_queue.ts";
import type { UdpContext } from "./worker_context.ts";

/** A socket that has answered nobody for so long is closed; a port that was taken is tried again. */
const IDLE_MS = 60_000;
const SWEEP_MS = 15_000;
/** A burst of answers to one client, as long as the network card needs to send it. */
const SEND_BUFFER_BYTES = 1 << 20;
/** Told from IPv4 ones of the same port by a bit beyond it. */
const V6_KEY = 1 << 16;
const PORT_BITS = V6_KEY - 1;

/** Whose sockets may be in the way of a reply socket. */
export interface PortHolder {
  /** The descriptor of a socket bound to this port on every address, for the family; -1: there is none. */
  fdAtPort(isV4: boolean, port: number): number;
}

/** A source port of one family. */
export class ReplySocket {
  /** -1: the port is another program's (raw_reply.ts answers). */
  readonly fd: number;
  /** See {@linkcode ReplySockets.find}. */
  readonly key: number;
  activeTick = 0;
  readonly entry: QueueEntry<ReplySocket> = new QueueEntry<ReplySocket>(this);

  constructor(fd: number, key: number) {
    this.fd = fd;
    this.key = key;
  }
}

/** All reply sockets of a worker. */
export class ReplySockets extends Timer {
  readonly #context: UdpContext;
  readonly #beforeClose: () => void;
  readonly #sockets = new Map<number, ReplySocket>();
  readonly #queue = new IdleQueue<ReplySocket>();
  #last: ReplySocket | undefined;
  #portHolder: PortHolder | undefined;

  /** @param beforeClose is called when a socket is about to be closed, which something may wait for. */
  constructor(context: UdpContext, beforeClose: () => void) {
    super();
    this.#context = context;
    this.#beforeClose = beforeClose;
  }

  /** Says who is asked to share a port that cannot be had. */
  sharePortsOf(holder: PortHolder): void {
    this.#portHolder = holder;
  }

  /**
   * The socket whose source port is that of the sockaddr at word `at`.
   *
   * @returns undefined when there is none and none could be opened; that has been told.
   */
  find(words: Int32Array, at: number): ReplySocket | undefined {
    const key = keyOf(words[at]!);
    let socket = this.#last;
    if (socket === undefined || socket.key !== key) socket = this.#sockets.get(key) ?? this.#open(key);
    this.#last = socket;
    if (socket !== undefined) socket.activeTick = this.#context.reactor.timers.tick;
    return socket;
  }

  /** Closes the socket of a family and port, as the first word of a sockaddr holds them. @returns whether it was open. */
  closePort(familyPort: number): boolean {
    const socket = this.#sockets.get(keyOf(familyPort));
    // In vain, where a session has it too.
    if (socket === undefined || socket.fd < 0 || this.#fdInTheWay(socket.key) >= 0) return false;
    this.#close(socket);
    return true;
  }

  /** Closes what has not been used for long. */
  override onTimer(): void {
    const { timers } = this.#context.reactor;
    const oldest = timers.tick - IDLE_MS / TICK_MS;
    for (let socket = this.#queue.oldest(); socket !== undefined && socket.activeTick <= oldest;) {
      this.#close(socket);
      socket = this.#queue.oldest();
    }
    if (!this.#queue.isEmpty) timers.schedule(this, SWEEP_MS);
  }

  close(): void {
    this.#context.reactor.timers.cancel(this);
    for (const socket of [...this.#sockets.values()]) this.#close(socket);
  }

  #open(key: number): ReplySocket | undefined {
    const context = this.#context;
    while (this.#sockets.size >= context.settings.maxReplySockets) this.#close(this.#queue.oldest()!);
    let fd = this.#openSocket(key);
    if ((fd === -EMFILE || fd === -ENFILE) && !this.#queue.isEmpty) {
      this.#close(this.#queue.oldest()!);
      fd = this.#openSocket(key);
    }
    if (fd === -EADDRINUSE) fd = this.#openBesideSession(key);
    if (fd === -EADDRINUSE || fd === -EACCES) {
      context.warn(
        "reply-port-taken",
        `port ${portOf(key)}: ${errnoName(-fd)}: answers go through a raw socket`,
      );
      fd = -1;
    } else if (fd < 0) {
      const isShort = fd === -EMFILE || fd === -ENFILE;
      context.warn(isShort ? "udp-fds-exhausted" : "udp-error", `socket for answers: ${errnoName(-fd)}`);
      return undefined;
    }
    const socket = new ReplySocket(fd, key);
    socket.activeTick = context.reactor.timers.tick;
    if (this.#queue.isEmpty) context.reactor.timers.schedule(this, SWEEP_MS);
    this.#sockets.set(key, socket);
    this.#queue.push(socket.entry);
    context.count("udpReplySocketsNow");
    return socket;
  }

  /** Has a session share its port for as long as it takes to bind: the kernel asks no later. */
  #openBesideSession(key: number): number {
    const inTheWay = this.#fdInTheWay(key);
    if (inTheWay < 0) return -EADDRINUSE;
    this.#setReuse(inTheWay, 1);
    const fd = this.#openSocket(key);
    this.#setReuse(inTheWay, 0);
    return fd;
  }

  #setReuse(fd: number, setting: number): void {
    const { sys, length } = this.#context;
    length.words[0] = setting;
    sys.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, length.pointer, 4);
  }

  #fdInTheWay(key: number): number {
    return this.#portHolder?.fdAtPort((key & V6_KEY) === 0, portOf(key)) ?? -1;
  }

  /** @returns a bound descriptor or -errno. */
  #openSocket(key: number): number {
    // To bind to port 0 is to ask for any.
    if ((key & PORT_BITS) === 0) return -EADDRINUSE;
    const { sys, value } = this.#context;
    const isV4 = (key & V6_KEY) === 0;
    const length = encodeSockaddr({ address: isV4 ? NOBODY_V4 : NOBODY_V6, port: 0 }, value.bytes);
    value.bytes[2] = key & 0xff;
    value.bytes[3] = key >> 8 & 0xff;
    const fd = sys.socket(isV4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) return fd;
    let result = this.#setOptions(fd, isV4);
    result ||= sys.bind(fd, value.pointer, length);
    if (result === 0) return fd;
    sys.close(fd);
    return result;
  }

  #setOptions(fd: number, isV4: boolean): number {
    const { sys, one, replyMark, settings, length } = this.#context;
    const level = isV4 ? SOL_IP : SOL_IPV6;
    let result = sys.setsockopt(fd, level, isV4 ? IP_TRANSPARENT : IPV6_TRANSPARENT, one.pointer, 4);
    // Every worker has a socket of this kind for a busy port.
    result ||= sys.setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, one.pointer, 4);
    if (!isV4) result ||= sys.setsockopt(fd, SOL_IPV6, IPV6_V6ONLY, one.pointer, 4);
    if (settings.replyMark !== 0) {
      result ||= sys.setsockopt(fd, SOL_SOCKET, SO_MARK, replyMark.pointer, 4);
    }
    // An error about too long a packet would go to the remote, and never be seen here.
    length.words[0] = IP_PMTUDISC_DONT;
    result ||= sys.setsockopt(fd, level, isV4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER, length.pointer, 4);
    length.words[0] = SEND_BUFFER_BYTES;
    // The first up to net.core.wmem_max, the second beyond it where we may.
    sys.setsockopt(fd, SOL_SOCKET, SO_SNDBUF, length.pointer, 4);
    sys.setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, length.pointer, 4);
    return result;
  }

  #close(socket: ReplySocket): void {
    this.#beforeClose();
    if (socket.fd >= 0) this.#context.sys.close(socket.fd);
    this.#sockets.delete(socket.key);
    this.#queue.remove(socket.entry);
    if (this.#last === socket) this.#last = undefined;
    this.#context.count("udpReplySocketsNow", -1);
  }
}

/** Of the first word of a sockaddr: the port as it lies in memory, and a bit for the family. */
function keyOf(familyPort: number): number {
  return familyPort >>> 16 | ((familyPort & 0xffff) === AF_INET6 ? V6_KEY : 0);
}

/** The port in what {@linkcode keyOf} made. */
function portOf(key: number): number {
  return (key & 0xff) << 8 | key >>> 8 & 0xff;
}
