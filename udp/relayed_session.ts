/**
 * A session whose datagrams leave by an upstream: opens a path, has the client's datagrams wait for it, and puts the
 * path's header in front of each. Answers lose theirs, and go to the client with whoever is named there as their source.
 *
 * The path and the session last as long as each other. When the path ends, the next datagram opens another one.
 *
 * @module
 */
import {
  AF_INET,
  EMSGSIZE,
  EPOLLIN,
  EPOLLRDHUP,
  errnoName,
  type Outcome,
  runTask,
  SOCKADDR_IN6_BYTES,
  sockaddrFamily,
} from "../ffi/mod.ts";
import type {
  ConnectionEnd,
  DatagramPath,
  DatagramUpstream,
  LiveFlow,
  StreamFailure,
  UpstreamRoute,
} from "../flow/mod.ts";
import { dialFailure } from "../flow/mod.ts";
import type { Carriage } from "./carriage.ts";
import { ALWAYS_FITS_BYTES } from "./direct_session.ts";
import { LEFT_ALONE_MS } from "./failed_upstreams.ts";
import { NAMELESS } from "./outbox.ts";
import { PathAnswers } from "./path_answers.ts";
import { PathSender } from "./path_sender.ts";
import { refusalErrno } from "./refusal.ts";
import { Session, type SessionOwner, WATCHED } from "./session.ts";
import { type EndpointKey, writeEndpoint } from "./session_table.ts";
import { AS_SET, openRelaySocket, openUpstreamSocket } from "./upstream_socket.ts";
import { WaitingDatagrams } from "./waiting_datagrams.ts";

const IP4_BYTES = 20, IP6_BYTES = 40;
const PATH_ENDED: ConnectionEnd = { reason: "upstream-failed", side: "upstream" };
const INTERNAL: ConnectionEnd = { reason: "error", side: "proxy" };

/** By an upstream. */
export class RelayedSession extends Session implements LiveFlow {
  readonly #upstream: DatagramUpstream;
  /** While the path is being opened. */
  #task: { abort(): void } | undefined = undefined;
  readonly #waiting: WaitingDatagrams;
  #path: DatagramPath | undefined = undefined;
  #sender: PathSender | undefined = undefined;
  #answers: PathAnswers | undefined = undefined;
  #control = -1;
  #openedMs = 0;
  /** What an error of the relay's endpoint said; 0: there was none. */
  #brokenBy = 0;
  #ends = false;

  constructor(
    context: Carriage,
    owner: SessionOwner,
    client: EndpointKey,
    route: UpstreamRoute,
    upstream: DatagramUpstream,
    clientSlot: number,
  ) {
    super(context, owner, client, route, clientSlot);
    this.#upstream = upstream;
    this.#waiting = new WaitingDatagrams(context.waiting);
  }

  /** Has the path opened. The session may have ended when this returns. */
  start(connectTimeoutMs: number): void {
    const { reactor, client } = this.context;
    writeEndpoint(this, client.words, 0);
    const request = {
      client: client.bytes.slice(0, SOCKADDR_IN6_BYTES),
      deadlineMs: reactor.now + connectTimeoutMs,
    };
    const dialogue = this.#upstream.openDatagrams(request);
    const task = runTask(reactor, dialogue, (outcome) => this.#onOpened(outcome));
    if (this.#path === undefined && !this.isOver) this.#task = task;
  }

  override take(i: number): void {
    const { inbox } = this.context;
    const sender = this.#sender;
    if (sender === undefined) return this.#wait(i);
    const { destinationAt, segmentBytes } = inbox;
    const length = inbox.payloadLength(i);
    this.noteTaken(destinationAt >> 2, length, segmentBytes);
    this.#heedFragmenting(sender, inbox.dontFragment, segmentBytes === 0 ? length : segmentBytes);
    const { trafficClass } = inbox;
    sender.send(inbox.nameAt(i), destinationAt, trafficClass, inbox.payloadAt(i), length, segmentBytes);
  }

  override get headerBytes(): number {
    return this.#sender?.headerBytes ?? 0;
  }

  override get overheadBytes(): number {
    const outer = this.#sender?.path.isV4 === false ? IP6_BYTES : IP4_BYTES;
    return this.headerBytes + outer - (this.isV4 ? IP4_BYTES : IP6_BYTES);
  }

  override isForClient(errno: number, destination: Uint8Array): boolean {
    if (this.#path?.relay === undefined) return super.isForClient(errno, destination);
    // About the relay's endpoint, whatever is behind that. Too big is what the next datagram will be told.
    if (errno !== EMSGSIZE && errno !== 0) this.#brokenBy = errno;
    return false;
  }

  override onEvents(fd: number, events: number): void {
    if (fd === this.#control) return this.#endPath("the server has closed the connection");
    super.onEvents(fd, events);
    this.#endIfBroken();
  }

  override onDeferred(): void {
    super.onDeferred();
    this.#endIfBroken();
  }

  override onSendError(errno: number, nameAt: number, payloadAt: number, length: number): boolean {
    const { undelivered, reactor } = this.context;
    const destinationAt = nameAt === NAMELESS ? this.#destinationOf(payloadAt, length) : nameAt;
    const header = this.headerBytes;
    const again = undelivered.onSendError(this, errno, destinationAt, payloadAt + header, length - header);
    // Not now: the socket is in use.
    if (this.#brokenBy !== 0 && !this.#ends) {
      this.#ends = true;
      reactor.defer(this);
    }
    return again;
  }

  endByUpstream(): void {
    // What is on its way out is sent by the socket that is about to be closed.
    this.context.flushOutboxes();
    this.context.count("udpUpstreamFailed");
    this.end(PATH_ENDED);
  }

  override end(end: ConnectionEnd): void {
    const { reactor, sys } = this.context;
    this.#task?.abort();
    this.#task = undefined;
    this.#path?.liveFlows?.delete(this);
    this.#dropWaiting();
    super.end(end);
    if (this.#control < 0) return;
    reactor.forget(this.#control);
    sys.close(this.#control);
    this.#control = -1;
  }

  protected override get peer(): Uint8Array | undefined {
    return this.#path?.relay;
  }

  protected override passAnswer(first: number, i: number): void {
    this.#answers?.pass(first, i);
  }

  /** @param size of each datagram without its header. */
  #heedFragmenting(sender: PathSender, dontFragment: boolean, size: number): void {
    if (size + sender.headerBytes > ALWAYS_FITS_BYTES) this.setDontFragment(dontFragment, sender.path.isV4);
  }

  /** Keeps the datagram that the inbox looks at; those that are merged one by one. */
  #wait(i: number): void {
    const { inbox, arena: { bytes } } = this.context;
    const { destinationAt, trafficClass, dontFragment, segmentBytes } = inbox;
    const payloadAt = inbox.payloadAt(i), length = inbox.payloadLength(i);
    const destination = bytes.slice(destinationAt, destinationAt + SOCKADDR_IN6_BYTES);
    const step = segmentBytes === 0 ? length : segmentBytes;
    let at = 0;
    do {
      const size = Math.min(step, length - at);
      this.noteTaken(destinationAt >> 2, size, 0);
      if (this.#waiting.hasRoom(size)) {
        const payload = bytes.slice(payloadAt + at, payloadAt + at + size);
        this.#waiting.push({ destination, payload, trafficClass, dontFragment });
      } else this.#loseWaiting(1, size);
      at += step;
    } while (at < length);
  }

  #onOpened(outcome: Outcome<DatagramPath | StreamFailure>): void {
    this.#task = undefined;
    if (!outcome.ok) return this.#fail(INTERNAL, String(outcome.error));
    const path = outcome.value;
    if ("fd" in path) return this.#fail(path.end, path.detail);
    this.#path = path;
    this.#openedMs = this.context.reactor.now;
    path.liveFlows?.add(this);
    this.#control = path.control;
    const failure = this.#openSocket(path);
    if (failure < 0) {
      const { reason, side } = dialFailure(-failure);
      const end: ConnectionEnd = reason === "limit" ? { reason, side } : PATH_ENDED;
      return this.#fail(end, `${this.#upstream.name}: socket towards the relay: ${errnoName(-failure)}`);
    }
    this.#sendWaiting(this.#sender!);
  }

  /** @returns 0 or -errno; what is open then is closed with the session. */
  #openSocket({ relay, options = AS_SET, framing, control }: DatagramPath): number {
    const { context } = this;
    const { reactor, address } = context;
    if (control >= 0) {
      const watched = reactor.add(control, EPOLLIN | EPOLLRDHUP, this);
      if (watched < 0) return watched;
    }
    writeEndpoint(this, address.words, 0);
    const fd = relay === undefined ? openUpstreamSocket(context, options) : openRelaySocket(context, relay);
    if (fd < 0) return fd;
    this.fd = fd;
    if (relay === undefined) this.owner.onSessionSocket(this);
    const isV4 = relay === undefined ? this.isV4 : sockaddrFamily(relay) === AF_INET;
    const { dscp } = options;
    this.#sender = new PathSender(context, this, {
      fd,
      isV4,
      isConnected: relay !== undefined,
      framing,
      dscp,
    });
    this.#answers = new PathAnswers(context, this, relay !== undefined, framing);
    return reactor.add(fd, WATCHED, this);
  }

  #sendWaiting(sender: PathSender): void {
    const { client } = this.context;
    for (const datagram of this.#waiting.drain()) {
      this.#heedFragmenting(sender, datagram.dontFragment, datagram.payload.length);
      writeEndpoint(this, client.words, 0);
      sender.sendWaiting(client.offset, datagram);
    }
    this.context.flushOutboxes();
  }

  #dropWaiting(): void {
    for (const { payload } of this.#waiting.drain()) this.#loseWaiting(1, payload.length);
  }

  #loseWaiting(datagrams: number, bytes: number): void {
    this.onLost(datagrams, bytes);
    this.context.count("udpWaitDrops", datagrams);
  }

  /** There is no path. */
  #fail(end: ConnectionEnd, detail: string): void {
    const { failedUpstreams, reactor, undelivered, client } = this.context;
    // Not the upstream's fault, and mended by one session less.
    const isShortage = end.reason === "limit";
    if (!isShortage) failedUpstreams.add(this.#upstream, end, reactor.now);
    const errno = refusalErrno(end);
    for (const { destination, payload } of this.#waiting.drain()) {
      writeEndpoint(this, client.words, 0);
      undelivered.refuse(errno, client.bytes, destination, { offset: 0, length: 0 }, payload.length);
      this.#loseWaiting(1, payload.length);
    }
    this.#count(detail);
    this.end(end);
    if (isShortage) this.owner.onShortage();
  }

  #endIfBroken(): void {
    if (this.isOver || this.#brokenBy === 0) return;
    this.#endPath(`the relay cannot be reached: ${errnoName(this.#brokenBy)}`);
  }

  /** The path is over. One that brought nothing in the moment that it lasted is not opened again at once. */
  #endPath(detail: string): void {
    const { failedUpstreams, reactor } = this.context;
    const isShort = reactor.now - this.#openedMs < LEFT_ALONE_MS;
    if (isShort && !this.hasAnswered) failedUpstreams.add(this.#upstream, PATH_ENDED, reactor.now);
    this.#count(`${this.#upstream.name}: ${detail}`);
    this.end(PATH_ENDED);
  }

  #count(detail: string): void {
    this.context.count("udpUpstreamFailed");
    this.context.warn("udp-upstream-failed", detail);
  }

  /** Where the datagram was going whose header, and payload, lie there: its sockaddr. */
  #destinationOf(at: number, length: number): number {
    const { value, arena } = this.context;
    const framing = this.#path?.framing;
    const isRead = framing?.framesAnswers === true && framing.readHeader(at, length, value.offset) > 0;
    if (!isRead) this.lastDestination.write(arena.words, value.offset >> 2);
    return value.offset;
  }
}
