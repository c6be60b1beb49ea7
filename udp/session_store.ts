/**
 * All sessions of one worker: found, opened, limited, evicted. A client endpoint has one for each way that its datagrams
 * leave by; the table has the first of them, and it the others.
 *
 * At a limit the session that has been idle for longest goes, and never the newest: a datagram that arrives now is
 * worth more than a mapping that nobody has used for a while.
 *
 * @module
 */
import {
  AF_INET,
  EMFILE,
  ENFILE,
  ENOBUFS,
  ENOMEM,
  errnoName,
  SOCKADDR_IN6_BYTES,
  sockaddrPort,
} from "../ffi/mod.ts";
import {
  type ConnectionEnd,
  type DatagramUpstream,
  type DirectOptions,
  REFUSED,
  UNCOUNTED,
} from "../flow/mod.ts";
import type { Carriage } from "./carriage.ts";
import type { PortHolder } from "./reply_sockets.ts";
import { DirectSession } from "./direct_session.ts";
import { RelayedSession } from "./relayed_session.ts";
import { type OpenRoute, type Session, type SessionOwner, WATCHED } from "./session.ts";
import { IdleQueue } from "./idle_queue.ts";
import { type EndpointKey, endpointKey, portOf, SessionTable } from "./session_table.ts";
import type { UdpCounterName } from "./settings.ts";
import { openUpstreamSocket } from "./upstream_socket.ts";

const PORTS = 65_536;

/** An IPv4 address, or the /64 of an IPv6 one: as the limit over all workers counts clients. */
type ClientKey = number | string;

/** The sessions of one worker. */
export class SessionStore implements SessionOwner, PortHolder {
  readonly #context: Carriage;
  readonly #table: SessionTable<Session>;
  #size = 0;
  readonly #all = new IdleQueue<Session>();
  readonly #byClient = new Map<ClientKey, IdleQueue<Session>>();

  /** By port, the descriptor + 1 of the session that has its client's port, as most have; 0: none. */
  readonly #holders4 = new Int32Array(PORTS);
  readonly #holders6 = new Int32Array(PORTS);
  /** What is said at the two limits: made once, since it may be said for every datagram. */
  readonly #fullDetail: string;
  readonly #clientFullDetail: string;

  constructor(context: Carriage) {
    const { maxSessions, maxSessionsPerClient } = context.settings;
    this.#context = context;
    this.#table = new SessionTable(context.random() | 0);
    this.#fullDetail = `${maxSessions} sessions of one worker: the oldest idle one goes`;
    this.#clientFullDetail = `one client has ${maxSessionsPerClient} sessions`;
    context.answers.sharePortsOf(this);
  }

  get size(): number {
    return this.#size;
  }

  /** The first session of the client whose sockaddr is at `nameAt`, if there is one. */
  find(nameAt: number): Session | undefined {
    return this.#table.find(this.#context.arena.words, nameAt >> 2);
  }

  /**
   * Opens a session for the client whose sockaddr is at `nameAt`, beside those that it has.
   *
   * @param upstream what opens the path, where it does not leave straight from here.
   * @returns undefined when there cannot be one; that has been counted and told.
   */
  open(nameAt: number, route: OpenRoute, upstream: DatagramUpstream | undefined): Session | undefined {
    const context = this.#context;
    const key = endpointKey(context.arena.words, nameAt >> 2);
    if (isLinkLocal(key)) {
      context.count("udpSessionErrors");
      context.warn("udp-error", "a datagram from a link-local address to beyond its link: dropped");
      return undefined;
    }
    const slot = this.#admit(key, nameAt);
    if (slot === REFUSED) return undefined;
    // Only now: nobody is to go for a session that there will not be.
    if (this.size >= context.settings.maxSessions) {
      this.#evict(this.#all, "udpEvictedLimit");
      context.warn("session-limit", this.#fullDetail);
    }
    if (route.kind === "upstream") {
      const session = new RelayedSession(context, this, key, route, upstream!, slot);
      this.#insert(session);
      session.start(route.connectTimeoutMs);
      return session.isOver ? undefined : session;
    }
    const fd = this.#openSocket(nameAt, route);
    if (fd < 0) {
      context.clientLimit?.release(slot);
      return undefined;
    }
    const session = new DirectSession(context, this, key, route, slot, fd);
    this.onSessionSocket(session);
    const result = context.reactor.add(fd, WATCHED, session);
    this.#insert(session);
    if (result < 0) {
      this.#refuse("udpSessionErrors", -result, "epoll_ctl");
      session.end({ reason: "error", side: "proxy" });
      return undefined;
    }
    return session;
  }

  onSessionSocket(session: Session): void {
    const port = portOf(session.familyPort);
    if (sockaddrPort(this.#context.address.bytes) === port) {
      this.#holders(session.isV4)[port] = session.fd + 1;
    }
  }

  onShortage(): void {
    this.#context.count("udpRefusedFds");
    this.#context.flushOutboxes();
    if (this.#evict(this.#all, "udpEvictedFds")) {
      this.#context.warn("udp-fds-exhausted", "no path by an upstream: the oldest idle session goes");
    }
  }

  onSessionEnd(session: Session): void {
    const holders = this.#holders(session.isV4), port = portOf(session.familyPort);
    if (session.fd >= 0 && holders[port] === session.fd + 1) holders[port] = 0;
    this.#unlink(session);
    this.#all.remove(session.entry);
    const client = clientKey(session), queue = this.#byClient.get(client);
    if (queue !== undefined) {
      queue.remove(session.clientEntry);
      if (queue.isEmpty) this.#byClient.delete(client);
    }
    this.#context.clientLimit?.release(session.clientSlot);
    this.#context.count("udpSessionsNow", -1);
  }

  fdAtPort(isV4: boolean, port: number): number {
    return this.#holders(isV4)[port]! - 1;
  }

  /** Ends every session that has carried nothing for so long. */
  endIdle(idleTicks: number): void {
    const latest = this.#context.reactor.timers.tick - idleTicks;
    this.#endWhere((session) => session.activeTick <= latest);
  }

  /** Ends every session. */
  close(): void {
    this.#endWhere(() => true);
  }

  #holders(isV4: boolean): Int32Array {
    return isV4 ? this.#holders4 : this.#holders6;
  }

  #endWhere(ends: (session: Session) => boolean): void {
    const found: Session[] = [];
    for (const first of this.#table) {
      for (let session: Session | undefined = first; session !== undefined; session = session.sibling) {
        if (ends(session)) found.push(session);
      }
    }
    for (const session of found) session.end({ reason: "shutdown", side: "proxy" });
  }

  /** Into the table, or behind the one of its client that is there. */
  #link(session: Session): void {
    this.#size++;
    const first = this.#table.get(session);
    if (first === undefined) return this.#table.add(session);
    session.sibling = first.sibling;
    first.sibling = session;
  }

  #unlink(session: Session): void {
    this.#size--;
    let before = this.#table.get(session)!;
    if (before === session) {
      if (session.sibling === undefined) this.#table.remove(session);
      else this.#table.replace(session.sibling);
      return;
    }
    while (before.sibling !== session) before = before.sibling!;
    before.sibling = session.sibling;
  }

  #insert(session: Session): void {
    this.#link(session);
    this.#all.push(session.entry);
    if (this.#context.clientLimit !== undefined) {
      const client = clientKey(session);
      let queue = this.#byClient.get(client);
      if (queue === undefined) this.#byClient.set(client, queue = new IdleQueue());
      queue.push(session.clientEntry);
    }
    this.#context.count("udpSessionsOpened");
    this.#context.count("udpSessionsNow");
  }

  /** The client's sockaddr in memory that the next call may write to. */
  #copyName(nameAt: number): Uint8Array {
    const { address, arena: { words } } = this.#context;
    for (let i = 0; i < SOCKADDR_IN6_BYTES >> 2; i++) address.words[i] = words[(nameAt >> 2) + i]!;
    return address.bytes;
  }

  /** Counts the session against its client's limit. @returns its slot, or REFUSED. */
  #admit(key: EndpointKey, nameAt: number): number {
    const { clientLimit } = this.#context;
    if (clientLimit === undefined) return UNCOUNTED;
    let slot = clientLimit.acquire(this.#copyName(nameAt));
    if (slot !== REFUSED) return slot;
    // Its other sessions may all be with other workers, who cannot be asked.
    const own = this.#byClient.get(clientKey(key));
    if (own !== undefined && this.#evict(own, "udpEvictedClientLimit")) {
      slot = clientLimit.acquire(this.#copyName(nameAt));
    }
    this.#context.warn("session-client-limit", this.#clientFullDetail);
    if (slot === REFUSED) this.#context.count("udpRefusedClientLimit");
    return slot;
  }

  /** Makes room by one session; where descriptors or memory are short, by evicting one. */
  #openSocket(nameAt: number, options: DirectOptions): number {
    this.#copyName(nameAt);
    let fd = openUpstreamSocket(this.#context, options);
    const isShort = fd === -EMFILE || fd === -ENFILE || fd === -ENOBUFS || fd === -ENOMEM;
    if (isShort && this.#evict(this.#all, "udpEvictedFds")) {
      this.#context.warn("udp-fds-exhausted", `socket: ${errnoName(-fd)}: the oldest idle session goes`);
      this.#copyName(nameAt);
      fd = openUpstreamSocket(this.#context, options);
    }
    if (fd < 0) this.#refuse(isShort ? "udpRefusedFds" : "udpSessionErrors", -fd, "socket");
    return fd;
  }

  #refuse(counter: UdpCounterName, errno: number, call: string): void {
    this.#context.count(counter);
    const warning = counter === "udpRefusedFds" ? "udp-fds-exhausted" : "udp-error";
    this.#context.warn(warning, `${call}: ${errnoName(errno)}: no session for a client`);
  }

  #evict(queue: IdleQueue<Session>, counter: UdpCounterName): boolean {
    const session = queue.oldest();
    if (session === undefined) return false;
    this.#context.count(counter);
    session.end(EVICTED);
    return true;
  }
}

const EVICTED: ConnectionEnd = { reason: "limit", side: "proxy" };

/** fe80::/10 says nothing without its interface. */
function isLinkLocal(key: EndpointKey): boolean {
  return !isV4(key) && (key.address0 & 0xc0ff) === 0x80fe;
}

function isV4(key: EndpointKey): boolean {
  return (key.familyPort & 0xffff) === AF_INET;
}

function clientKey(key: EndpointKey): ClientKey {
  const { address0, address1 } = key;
  return isV4(key) ? address0 : `${address0},${address1}`;
}
