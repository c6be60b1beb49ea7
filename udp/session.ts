/**
 * One client endpoint and its socket towards destinations: what sessions have in common, whichever way they leave.
 * They keep time, remember whom the client has written to, pass on what remotes send, and report what they were.
 *
 * Called by the listener (datagrams of the client), by the reactor (events, timer, deferred work) and by the session
 * store (end).
 *
 * @module
 */
import {
  AF_INET,
  type Deferred,
  EAGAIN,
  EPOLLERR,
  EPOLLIN,
  type EventHandler,
  IP_MTU_DISCOVER,
  IP_PMTUDISC_DO,
  IP_PMTUDISC_DONT,
  IPV6_MTU_DISCOVER,
  SO_RCVBUF,
  SO_RCVBUFFORCE,
  SOCKADDR_IN6_BYTES,
  sockaddrLength,
  SOL_IP,
  SOL_IPV6,
  SOL_SOCKET,
  SOL_UDP,
  TICK_MS,
  Timer,
  UDP_GRO,
} from "../ffi/mod.ts";
import type { ConnectionEnd, DirectRoute, UpstreamRoute } from "../flow/mod.ts";
import type { Carriage } from "./carriage.ts";
import { countSegments } from "./inbox.ts";
import type { SendObserver } from "./outbox.ts";
import { LastDestination } from "./last_destination.ts";
import { RemoteFilter } from "./remote_filter.ts";
import { QueueEntry } from "./idle_queue.ts";
import { type EndpointKey, portOf, writeEndpoint } from "./session_table.ts";
import type { Sender } from "./undelivered.ts";

/** What a session's socket is watched for. */
export const WATCHED = EPOLLIN | EPOLLERR;

/** Batches of one turn, before other sockets have theirs. */
const ROUNDS = 4;
/** A socket that has brought so many datagrams at once carries a stream, and gets what streams need. */
const STREAM_BATCH = 16;
const STREAM_BUFFER_BYTES = 4 << 20;
/** A question and its answer: such a session has no reason to stay. DNS and NTP. */
const SHORT_PORTS: readonly number[] = [53, 123];
const SHORT_TIMEOUT_MS = 10_000;

/** Half of them fit a small integer. */
const REMOTE_BITS = 60;

/** The bit of the endpoint whose sockaddr is at word `at`. */
function remoteBit(words: Int32Array, at: number): number {
  const familyPort = words[at]!;
  const address = (familyPort & 0xffff) === AF_INET ? words[at + 1]! : words[at + 4]! ^ words[at + 5]!;
  return (Math.imul(Math.imul(familyPort, 0xcc9e2d51) ^ address, 0x9e3779b1) >>> 8) % REMOTE_BITS;
}

/** A way that datagrams can leave by. */
export type OpenRoute = DirectRoute | UpstreamRoute;

/** Whoever has all sessions. */
export interface SessionOwner {
  /** The session's socket, which it sends to destinations by, is bound to what `context.address` says. */
  onSessionSocket(session: Session): void;
  /** A session could not be begun, and has ended, for want of a descriptor or memory. */
  onShortage(): void;
  /** A session has ended, and gives back what it counted for. */
  onSessionEnd(session: Session): void;
}

/** A client endpoint that sends, or has sent not long ago. */
export abstract class Session extends Timer
  implements EndpointKey, EventHandler, Deferred, SendObserver, Sender {
  // In the order in which they lie in memory: what each datagram touches comes first, and together.
  /** -1: there is none yet. */
  fd = -1;
  /** When anything was last carried, in ticks of the timer wheel; -1: the session has ended. */
  activeTick: number;
  route: OpenRoute;
  protected readonly context: Carriage;
  readonly #filter: RemoteFilter | undefined;
  /** When the client last sent something, or what else keeps the session alive happened. */
  #refreshTick: number;
  /** Whether it has only written to ports of short exchanges, and so ends soon. */
  #isShort = true;
  /** What the socket's IP_MTU_DISCOVER was set to; undefined: the kernel's default, which is to fragment. */
  #dontFragment: boolean | undefined = undefined;
  /** Whom the client has written to: a Bloom filter of one hash, in two small integers. */
  #remotesLow = 0;
  #remotesHigh = 0;
  #datagramsUp = 0;
  #bytesUp = 0;
  #datagramsDown = 0;
  #bytesDown = 0;
  // Its client.
  readonly familyPort: number;
  readonly address0: number;
  readonly address1: number;
  readonly address2: number;
  readonly address3: number;
  /** The next session of the same client, by another route. */
  sibling: Session | undefined = undefined;
  /** The slot this session is counted in, see flow/client_limit.ts. */
  readonly clientSlot: number;
  /** Place among all sessions, and among those of its client. */
  readonly entry: QueueEntry<Session> = new QueueEntry<Session>(this);
  readonly clientEntry: QueueEntry<Session> = new QueueEntry<Session>(this);
  protected readonly owner: SessionOwner;
  readonly #startMs: number;
  #isStream = false;
  #deferred = false;
  readonly lastDestination: LastDestination = new LastDestination();
  /** sockaddr of the first destination; kept only when the session's end will be reported. */
  #destination: Uint8Array | undefined = undefined;

  constructor(
    context: Carriage,
    owner: SessionOwner,
    client: EndpointKey,
    route: OpenRoute,
    clientSlot: number,
  ) {
    super();
    const { reactor, settings } = context;
    this.activeTick = this.#refreshTick = reactor.timers.tick;
    this.route = route;
    this.context = context;
    this.#filter = settings.filter === "endpoint" ? undefined : new RemoteFilter(settings.filter);
    this.owner = owner;
    this.familyPort = client.familyPort;
    this.address0 = client.address0;
    this.address1 = client.address1;
    this.address2 = client.address2;
    this.address3 = client.address3;
    this.clientSlot = clientSlot;
    this.#startMs = reactor.now;
    reactor.timers.schedule(this, SHORT_TIMEOUT_MS);
  }

  /** Puts the datagram that the inbox looks at, number `i` of its batch, on its way. */
  abstract take(i: number): void;

  abstract onSendError(errno: number, nameAt: number, payloadAt: number, length: number): boolean;

  /** Passes datagram `i`, which is looked at and one of those from `first` on, to the client. */
  protected abstract passAnswer(first: number, i: number): void;

  /** Whether the session has ended. */
  get isOver(): boolean {
    return this.activeTick < 0;
  }

  get isV4(): boolean {
    return (this.familyPort & 0xffff) === AF_INET;
  }

  /** What the path adds to the client's packets. */
  get overheadBytes(): number {
    return 0;
  }

  /** Of those, what lies in front of a payload. */
  get headerBytes(): number {
    return 0;
  }

  isForClient(_errno: number, destination: Uint8Array): boolean {
    const { address } = this.context;
    address.bytes.set(destination);
    const bit = remoteBit(address.words, 0);
    return bit < REMOTE_BITS / 2
      ? (this.#remotesLow & 1 << bit) !== 0
      : (this.#remotesHigh & 1 << bit - REMOTE_BITS / 2) !== 0;
  }

  onLost(datagrams: number, bytes: number): void {
    this.#datagramsUp -= datagrams;
    this.#bytesUp -= bytes;
  }

  onEvents(_fd: number, events: number): void {
    if ((events & EPOLLERR) !== 0) this.context.undelivered.readErrors(this);
    if ((events & EPOLLIN) !== 0) this.#receive();
  }

  onDeferred(): void {
    this.#deferred = false;
    if (!this.isOver) this.#receive();
  }

  override onTimer(): void {
    const { timers } = this.context.reactor;
    const timeoutMs = this.#isShort ? SHORT_TIMEOUT_MS : this.context.settings.idleTimeoutMs;
    const idleMs = (timers.tick - this.#refreshTick) * TICK_MS;
    if (idleMs >= timeoutMs) {
      this.context.count("udpTimeouts");
      this.end({ reason: "idle-timeout", side: "proxy" });
    } else timers.schedule(this, timeoutMs - idleMs);
  }

  /** Ends the session and closes its socket. */
  end(end: ConnectionEnd): void {
    const { reactor, sys } = this.context;
    reactor.timers.cancel(this);
    if (this.fd >= 0) this.#settleMemory();
    this.#report(end);
    if (this.fd >= 0) {
      reactor.forget(this.fd);
      sys.close(this.fd);
    }
    this.owner.onSessionEnd(this);
    this.activeTick = -1;
  }

  /** Where the socket is connected, if it is. */
  protected get peer(): Uint8Array | undefined {
    return undefined;
  }

  protected get hasAnswered(): boolean {
    return this.#datagramsDown > 0;
  }

  /** A datagram of the client is for the destination at word `at`; several of `segmentBytes` each, if they are merged. */
  protected noteTaken(at: number, length: number, segmentBytes: number): void {
    const { words } = this.context.arena;
    this.lastDestination.set(words, at);
    this.#filter?.add(words, at);
    this.#remember(remoteBit(words, at));
    if (this.#datagramsUp === 0) this.#onFirst(at);
    if (this.#isShort) this.#lengthen(words[at]!);
    this.#refreshTick = this.activeTick;
    this.#datagramsUp += countSegments(length, segmentBytes);
    this.#bytesUp += length;
  }

  /** An answer, or several of `segmentBytes` each, is on its way to the client. */
  noteAnswered(length: number, segmentBytes: number): void {
    this.#datagramsDown += countSegments(length, segmentBytes);
    this.#bytesDown += length;
  }

  /** Whether the client takes anything of the remote at word `at`; counts what it does not. */
  accepts(at: number, length: number, segmentBytes: number): boolean {
    if (this.#filter === undefined || this.#filter.has(this.context.arena.words, at)) return true;
    this.context.count("udpFiltered", countSegments(length, segmentBytes));
    return false;
  }

  /** @param isV4 of which family the socket is. */
  protected setDontFragment(dontFragment: boolean, isV4: boolean): void {
    if (dontFragment === this.#dontFragment) return;
    // What waits there was taken under the old setting.
    this.context.flushOutboxes();
    this.#dontFragment = dontFragment;
    this.#setOption(
      isV4 ? SOL_IP : SOL_IPV6,
      isV4 ? IP_MTU_DISCOVER : IPV6_MTU_DISCOVER,
      dontFragment ? IP_PMTUDISC_DO : IP_PMTUDISC_DONT,
    );
  }

  /** Passes on what waits in the socket, and counts what had no place there. */
  #settleMemory(): void {
    const context = this.context;
    if (!context.readMemory(this.fd)) return;
    context.count("udpReceiveDrops", context.drops);
    if (context.waitingBytes > 0) this.#receive();
  }

  #onFirst(word: number): void {
    const { arena, onFlow } = this.context;
    if (onFlow === undefined || this.#destination !== undefined) return;
    this.#destination = arena.bytes.slice(word << 2, (word << 2) + SOCKADDR_IN6_BYTES);
  }

  #remember(bit: number): void {
    if (bit < REMOTE_BITS / 2) this.#remotesLow |= 1 << bit;
    else this.#remotesHigh |= 1 << bit - REMOTE_BITS / 2;
  }

  /** One datagram to another port than those of short exchanges makes it a session of the usual length. */
  #lengthen(familyPort: number): void {
    if (SHORT_PORTS.includes(portOf(familyPort))) return;
    this.#isShort = false;
    this.context.reactor.timers.schedule(this, this.context.settings.idleTimeoutMs);
  }

  #setOption(level: number, name: number, setting: number): void {
    const { sys, value } = this.context;
    value.words[0] = setting;
    sys.setsockopt(this.fd, level, name, value.pointer, 4);
  }

  #receive(): void {
    const { answers, reactor, undelivered } = this.context;
    let failed = 0;
    for (let round = 0; round < ROUNDS; round++) {
      const { room } = answers;
      const count = answers.receive(this.fd);
      if (count === -EAGAIN) return;
      if (count > 0) {
        this.#passDown(count);
        if (count < room) return;
      } else {
        // Errors of earlier datagrams stand in the way of what has arrived, each once.
        undelivered.readErrors(this);
        failed = count;
      }
    }
    // Any other error stays: to go on at once would be a loop without end.
    if (failed < 0) return this.context.onReceiveError(-failed);
    if (this.#deferred) return;
    this.#deferred = true;
    reactor.defer(this);
  }

  #passDown(count: number): void {
    const { answers, reactor, settings } = this.context;
    const { inbox } = answers;
    if (count >= STREAM_BATCH && !this.#isStream) this.#becomeStream();
    this.activeTick = reactor.timers.tick;
    if (settings.refreshInbound) this.#refreshTick = this.activeTick;
    const first = answers.begin(this, count);
    for (let i = first; i < first + count; i++) {
      inbox.look(i);
      if (!inbox.truncated) this.passAnswer(first, i);
      else this.context.count("udpTruncated", countSegments(inbox.payloadLength(i), inbox.segmentBytes));
    }
    answers.finish();
  }

  /** Merged packets and a buffer for a burst: what a game or a query never needs. */
  #becomeStream(): void {
    this.#isStream = true;
    this.#setOption(SOL_UDP, UDP_GRO, 1);
    // The first up to net.core.rmem_max, the second beyond it where we may.
    this.#setOption(SOL_SOCKET, SO_RCVBUF, STREAM_BUFFER_BYTES);
    this.#setOption(SOL_SOCKET, SO_RCVBUFFORCE, STREAM_BUFFER_BYTES);
  }

  #report(end: ConnectionEnd): void {
    const { onFlow, address, client, reactor } = this.context;
    const destination = this.#destination;
    if (onFlow === undefined || destination === undefined) return;
    writeEndpoint(this, client.words, 0);
    onFlow(
      client.bytes,
      destination,
      this.fd >= 0 && this.#readLocal(this.peer ?? destination) ? address.bytes : undefined,
      this.#bytesUp,
      this.#bytesDown,
      this.#datagramsUp,
      this.#datagramsDown,
      Math.round(reactor.now - this.#startMs),
      end,
      this.route,
    );
  }

  /** Which address datagrams to there leave from is known to a socket that is connected to it. */
  #readLocal(remote: Uint8Array): boolean {
    const { sys, address, length } = this.context;
    address.bytes.set(remote);
    length.words[0] = SOCKADDR_IN6_BYTES;
    return sys.connect(this.fd, address.pointer, sockaddrLength(address.bytes)) === 0 &&
      sys.getsockname(this.fd, address.pointer, length.pointer) === 0;
  }
}
