/**
 * What comes back by the path of an upstream, on its way to the client: without the path's header, and from whoever that
 * names.
 *
 * @module
 */
import { AF_INET, AF_INET6, isLoopbackDestination, SOCKADDR_IN6_BYTES } from "../ffi/mod.ts";
import type { DatagramFraming } from "../flow/mod.ts";
import type { Carriage } from "./carriage.ts";
import type { LastDestination } from "./last_destination.ts";

const NAME_WORDS = SOCKADDR_IN6_BYTES >> 2;
/** The port in the first word of a sockaddr. */
const PORT_BITS = 0xffff0000;
/** First byte of addresses that are nobody's own: multicast, reserved and broadcast ones; multicast ones. */
const FIRST_GROUP_V4 = 224, FIRST_GROUP_V6 = 0xff;

/** The session that answers are for. */
export interface AnsweredSession {
  readonly isV4: boolean;
  readonly lastDestination: LastDestination;
  /** Whether the client takes anything of the remote at word `at`; counts what it does not. */
  accepts(at: number, length: number, segmentBytes: number): boolean;
  /** It is on its way. */
  noteAnswered(length: number, segmentBytes: number): void;
}

/** One session's. */
export class PathAnswers {
  readonly #context: Carriage;
  readonly #session: AnsweredSession;
  /** Whether all of it comes from one endpoint, which is not the remote's. */
  readonly #isRelayed: boolean;
  /** Of answers. */
  readonly #framing: DatagramFraming | undefined;

  constructor(
    context: Carriage,
    session: AnsweredSession,
    isRelayed: boolean,
    framing: DatagramFraming | undefined,
  ) {
    this.#context = context;
    this.#session = session;
    this.#isRelayed = isRelayed;
    this.#framing = framing?.framesAnswers === true ? framing : undefined;
  }

  /** Passes on datagram `i` of the answers' inbox, which is looked at, one of those from `first` on. */
  pass(first: number, i: number): void {
    const { inbox } = this.#context.answers;
    const payloadAt = inbox.payloadAt(i), length = inbox.payloadLength(i), { segmentBytes } = inbox;
    if (this.#framing === undefined) return this.#passWhole(first, i, payloadAt, length, segmentBytes);
    const step = segmentBytes === 0 ? length : segmentBytes;
    let at = 0;
    do {
      this.#passFramed(this.#framing, first, payloadAt + at, Math.min(step, length - at));
      at += step;
    } while (at < length);
  }

  #passWhole(first: number, i: number, payloadAt: number, length: number, segmentBytes: number): void {
    const { answers, arena } = this.#context, session = this.#session;
    let sourceAt = answers.inbox.nameAt(i);
    if (this.#isRelayed) {
      // Nothing says who has answered: whom the client has asked last.
      sourceAt = answers.nextSource;
      session.lastDestination.write(arena.words, sourceAt >> 2);
    }
    if (!session.accepts(sourceAt >> 2, length, segmentBytes)) return;
    if (this.#isRelayed) answers.sendPart(first, payloadAt, length, segmentBytes);
    else answers.send(first, i);
    session.noteAnswered(length, segmentBytes);
  }

  #passFramed(framing: DatagramFraming, first: number, at: number, length: number): void {
    const { answers, arena } = this.#context, session = this.#session;
    const sourceAt = answers.nextSource;
    arena.words.fill(0, sourceAt >> 2, (sourceAt >> 2) + NAME_WORDS);
    const header = framing.readHeader(at, length, sourceAt);
    if (header < 0 || !this.#canBeSource(sourceAt)) {
      this.#context.count("udpBadAnswers");
      return;
    }
    if (!session.accepts(sourceAt >> 2, length - header, 0)) return;
    answers.sendPart(first, at + header, length - header, 0);
    session.noteAnswered(length - header, 0);
  }

  /**
   * Whether the client could have had a datagram from there: of its family, from the port and address of one host, which
   * is not the client's own. Whoever names the source is not to speak for programs that trust only each other.
   */
  #canBeSource(sourceAt: number): boolean {
    const { bytes, words } = this.#context.arena;
    const at = sourceAt >> 2, { isV4 } = this.#session;
    if ((words[at]! & 0xffff) !== (isV4 ? AF_INET : AF_INET6) || (words[at]! & PORT_BITS) === 0) return false;
    const isGroup = isV4 ? bytes[sourceAt + 4]! >= FIRST_GROUP_V4 : bytes[sourceAt + 8] === FIRST_GROUP_V6;
    return !isGroup && !isLoopbackDestination(words, at);
  }
}
