/**
 * One direction of a relay: takes bytes from the source socket, hands them to the sink socket.
 *
 * Knows nothing of the other direction, of timeouts or of epoll: its owner tells it what has become ready and
 * does what its answer says. All it holds between two calls is how many bytes wait in its pipe; a stalled sink
 * therefore stops the reading, and the sender's own window does the rest.
 *
 * Small messages are copied with one recv and one send. When a read fills the whole buffer, there is a stream,
 * and what follows is spliced. When no pipe can be had, bytes are peeked at, sent, and only then taken from the
 * source: slower, but nothing needs to be kept.
 *
 * @module
 */
import {
  type Arena,
  type Block,
  EAGAIN,
  MSG_NOSIGNAL,
  MSG_PEEK,
  MSG_TRUNC,
  SO_OOBINLINE,
  SOL_SOCKET,
  SPLICE_F_MOVE,
  SPLICE_F_NONBLOCK,
  type Syscalls,
} from "../ffi/mod.ts";
import { LARGE_PIPE_BYTES, type Pipe, PIPE_BYTES, type PipePool } from "./pipe_pool.ts";

/** Nothing to do until the source or the sink is ready again. */
export const WAIT = 0;
/** There is more to do at once, but others should have their turn. */
export const MORE = 1;
/** The source's end of stream was read and every byte before it handed over. */
export const ENDED = 2;

/** What one call of `pump` moves at most, so that one fast flow does not hold up a thousand slow ones. */
const PUMP_BUDGET = LARGE_PIPE_BYTES;
/** Asked of one splice: a pipe takes what it can. It counts pages, which may hold more than 4 KiB each. */
const SPLICE_BYTES = LARGE_PIPE_BYTES;

/** What all half pipes of a worker share. */
export interface Carrier {
  readonly sys: Syscalls;
  readonly arena: Pick<Arena, "pointerAt">;
  /** The copy buffer, at least PIPE_BYTES long. */
  readonly buffer: Pick<Block, "offset" | "pointer">;
  readonly pipes: PipePool;
  /** int 1, for options. */
  readonly one: Pick<Block, "pointer">;
}

/** State of one direction. */
export class HalfPipe {
  /** The source may have bytes: set by the owner on EPOLLIN, cleared here when it is known to be drained. */
  readable = false;
  /** The source has signalled its end of stream (EPOLLRDHUP): a short read does not mean drained. */
  hungUp = false;
  /**
   * Urgent data has come (EPOLLPRI): a read stops short of it, so a short read does not mean drained, and splice
   * does not get past it.
   */
  urgent = false;
  /** The sink takes no more: the owner clears it on EPOLLOUT. */
  blocked = false;
  /** ENDED was answered. */
  ended = false;
  /** Bytes that the sink's socket has taken. */
  bytes = 0;
  /** Of an error that `pump` answered: whether the sink had it, and not the source. */
  failedAtSink = false;

  readonly #carrier: Carrier;
  readonly #source: number;
  readonly #sink: number;
  #pipe: Pipe | null = null;
  #inPipe = 0;
  #sourceEnded = false;
  #streaming = false;

  constructor(carrier: Carrier, source: number, sink: number) {
    this.#carrier = carrier;
    this.#source = source;
    this.#sink = sink;
  }

  /**
   * Moves what can be moved.
   *
   * @returns WAIT, MORE, ENDED, or -errno with `failedAtSink`.
   */
  pump(): number {
    const limit = this.bytes + PUMP_BUDGET;
    for (;;) {
      if (this.#inPipe > 0) {
        const result = this.#drainPipe();
        if (result !== MORE) return result;
      }
      if (this.#sourceEnded) {
        this.#returnPipe();
        this.ended = true;
        return ENDED;
      }
      if (!this.readable) {
        this.#returnPipe();
        return WAIT;
      }
      if (this.bytes >= limit) return MORE;
      const result = this.#streaming && !this.urgent ? this.#fillPipe() : this.#copy();
      if (result !== MORE) return result;
    }
  }

  /** Lets go of the pipe; call it once, when the connection ends. */
  close(): void {
    if (this.#pipe === null) return;
    if (this.#inPipe > 0) this.#carrier.pipes.discard(this.#pipe);
    else this.#carrier.pipes.giveBack(this.#pipe);
    this.#pipe = null;
  }

  /** Pipe to sink until one of them stops; MORE when the pipe is empty. */
  #drainPipe(): number {
    const sys = this.#carrier.sys;
    while (this.#inPipe > 0) {
      const n = sys.splice(
        this.#pipe!.readEnd,
        this.#sink,
        this.#inPipe,
        SPLICE_F_MOVE | SPLICE_F_NONBLOCK,
      );
      if (n === -EAGAIN) {
        this.blocked = true;
        return WAIT;
      }
      if (n < 0) return this.#sinkFailed(n);
      this.#inPipe -= n;
      this.bytes += n;
    }
    return MORE;
  }

  /** Source to empty pipe; MORE when there is something to drain or a change of method. */
  #fillPipe(): number {
    const { sys, pipes } = this.#carrier;
    this.#pipe ??= pipes.borrow();
    if (this.#pipe === null) {
      this.#streaming = false;
      return MORE;
    }
    const n = sys.splice(
      this.#source,
      this.#pipe.writeEnd,
      SPLICE_BYTES,
      SPLICE_F_MOVE | SPLICE_F_NONBLOCK,
    );
    if (n > 0) {
      this.#inPipe = n;
      return MORE;
    }
    if (n === 0) {
      // The end of stream, or urgent data with the end of stream somewhere behind it: a read tells, when it
      // does not leave out what is urgent.
      sys.setsockopt(this.#source, SOL_SOCKET, SO_OOBINLINE, this.#carrier.one.pointer, 4);
      this.#streaming = false;
      return MORE;
    }
    // The pipe is empty, so EAGAIN can only mean that the source is.
    if (n === -EAGAIN) this.#streaming = false;
    return this.#sourceGaveNothing(n);
  }

  /** Source to sink through the buffer; MORE when the source may have more. */
  #copy(): number {
    const { sys, buffer, pipes } = this.#carrier;
    const mayKeep = this.#pipe !== null || pipes.hasSpare();
    const got = sys.recv(this.#source, buffer.pointer, PIPE_BYTES, mayKeep ? 0 : MSG_PEEK);
    if (got <= 0) return this.#sourceGaveNothing(got);
    const sent = sys.send(this.#sink, buffer.pointer, got, MSG_NOSIGNAL);
    if (sent < 0 && sent !== -EAGAIN) return this.#sinkFailed(sent);
    const taken = sent < 0 ? 0 : sent;
    this.bytes += taken;
    if (mayKeep) {
      // Edge-triggered, and a read that did not fill the buffer has emptied the socket: the next byte is a new
      // edge, and there is no need to hear EAGAIN. Not so when the end of stream is waiting behind the bytes.
      if (got < PIPE_BYTES && !this.hungUp && !this.urgent) this.readable = false;
      else if (got === PIPE_BYTES) this.#streaming = true;
      if (taken < got) return this.#keepRest(taken, got);
      return MORE;
    }
    if (taken > 0) {
      const dropped = sys.recv(this.#source, null, taken, MSG_TRUNC);
      // What is not dropped would be sent twice.
      if (dropped !== taken) return dropped < 0 ? dropped : -EAGAIN;
    }
    if (taken < got) {
      this.blocked = true;
      return WAIT;
    }
    if (got < PIPE_BYTES && !this.hungUp && !this.urgent) this.readable = false;
    return MORE;
  }

  /** Puts what the sink refused into a pipe. */
  #keepRest(taken: number, got: number): number {
    const { sys, arena, buffer, pipes } = this.#carrier;
    // What came while the sink was stalled is copied with the pipe of the last time still in hand.
    const pipe = this.#pipe ??= pipes.borrow()!;
    this.#inPipe = got - taken;
    this.blocked = true;
    // An empty pipe of PIPE_BYTES takes this in one piece; were it ever otherwise, bytes would be missing from
    // the stream, and no connection is better than a wrong one.
    const kept = sys.write(pipe.writeEnd, arena.pointerAt(buffer.offset + taken), got - taken);
    if (kept === got - taken) return WAIT;
    return this.#sinkFailed(kept < 0 ? kept : -EAGAIN);
  }

  #sourceGaveNothing(result: number): number {
    if (result === -EAGAIN) this.readable = false;
    else if (result < 0) return result;
    else this.#sourceEnded = true;
    return MORE;
  }

  #sinkFailed(result: number): number {
    this.failedAtSink = true;
    return result;
  }

  #returnPipe(): void {
    if (this.#pipe === null) return;
    this.#carrier.pipes.giveBack(this.#pipe);
    this.#pipe = null;
  }
}
