/**
 * Upstreams on a real reactor, and servers on loopback that do what a script says: for what a handshake meets with.
 *
 * @module
 */
import {
  AF_INET6,
  checked,
  type Deferred,
  type Dialogue,
  EAGAIN,
  encodeSockaddr,
  EPOLLIN,
  EPOLLRDHUP,
  type EventHandler,
  MSG_NOSIGNAL,
  type Outcome,
  type Reactor,
  runTask,
  SO_LINGER,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  SOCK_STREAM,
  SOCKADDR_IN6_BYTES,
  type Socket,
  SOL_SOCKET,
  type Syscalls,
  Timer,
} from "../ffi/mod.ts";
import { type Endpoint, parseEndpoint } from "../net/mod.ts";
import { UpstreamEnvironment } from "../upstream/environment.ts";
import type { MemberChange } from "../upstream/health_state.ts";
import { assert } from "./assert.ts";
import { Loopback } from "./loopback.ts";

/** What a server does next with a connection. After the last step it is silent. */
export type Step =
  | { readonly read: number }
  | { readonly write: readonly number[] }
  /** The same byte by byte, a turn of the loop between two. */
  | { readonly dribble: readonly number[] }
  | "close"
  | "reset";

const GUARD_MS = 8_000;
const BUFFER_BYTES = 4096;

class Alarm extends Timer {
  constructor(readonly then: () => void) {
    super();
  }
  override onTimer(): void {
    this.then();
  }
}

/** One connection to a scripted server. */
class Session implements EventHandler, Deferred {
  readonly heard: number[] = [];
  #missing = 0;
  #left: readonly number[] = [];
  #isOpen = true;

  constructor(readonly world: UpstreamWorld, readonly fd: number, readonly steps: Step[]) {
    checked("epoll_ctl", world.reactor.add(fd, EPOLLIN | EPOLLRDHUP, this));
    this.#advance();
  }

  onEvents(): void {
    this.#advance();
  }

  onDeferred(): void {
    if (!this.#isOpen) return;
    this.#send(this.#left.slice(0, 1));
    this.#left = this.#left.slice(1);
    if (this.#left.length > 0) this.world.reactor.defer(this);
    else this.#advance();
  }

  #advance(): void {
    while (this.#isOpen && this.#left.length === 0) {
      if (this.#missing > 0 && !this.#read()) return;
      const step = this.steps.shift();
      if (step === undefined) return;
      if (step === "close" || step === "reset") this.#close(step);
      else if ("read" in step) this.#missing = step.read;
      else if ("write" in step) this.#send(step.write);
      else {
        this.#left = step.dribble;
        this.world.reactor.defer(this);
      }
    }
  }

  /** @returns whether all that was wanted is there. */
  #read(): boolean {
    const { sys, buffer } = this.world;
    while (this.#missing > 0) {
      const n = sys.recv(this.fd, buffer.pointer, Math.min(this.#missing, BUFFER_BYTES), 0);
      if (n <= 0) {
        // Whoever was to say something has left.
        if (n !== -EAGAIN) this.#close("close");
        return false;
      }
      this.heard.push(...buffer.bytes.subarray(0, n));
      this.#missing -= n;
    }
    return true;
  }

  #send(bytes: readonly number[]): void {
    const { sys, buffer } = this.world;
    buffer.bytes.set(bytes);
    // Whoever has left hears no more: the dialogue under test has given up.
    sys.send(this.fd, buffer.pointer, bytes.length, MSG_NOSIGNAL);
  }

  #close(how: "close" | "reset"): void {
    const { sys, reactor, buffer } = this.world;
    this.#isOpen = false;
    buffer.words.set([1, 0]);
    if (how === "reset") sys.setsockopt(this.fd, SOL_SOCKET, SO_LINGER, buffer.pointer, 8);
    reactor.forget(this.fd);
    this.world.loopback.close(this.fd);
  }
}

/** A server whose connections all go by one script. */
export interface ScriptedServer {
  readonly endpoint: Endpoint;
  readonly sessions: readonly Session[];
}

/** Everything on one reactor; nothing may be left open. */
export class UpstreamWorld implements Disposable {
  readonly loopback = new Loopback();
  readonly sys: Syscalls = this.loopback.sys;
  readonly reactor: Reactor = this.loopback.openReactor();
  readonly environment: UpstreamEnvironment;
  readonly buffer = this.loopback.arena.allocate(BUFFER_BYTES);
  /** Descriptors that upstreams have opened. */
  readonly open = new Set<number>();
  /** What groups have told of their members. */
  readonly changes: MemberChange[] = [];

  constructor() {
    const { sys } = this.loopback;
    const watched: Syscalls = {
      ...sys,
      socket: (...args) => {
        const fd = sys.socket(...args);
        if (fd >= 0) this.open.add(fd);
        return fd;
      },
      close: (fd) => {
        assert(this.open.delete(fd), `close of ${fd}, which is not open`);
        return sys.close(fd);
      },
    };
    this.environment = new UpstreamEnvironment({
      sys: watched,
      arena: this.loopback.arena,
      reactor: this.reactor,
      mark: 0,
      source: "own",
      worker: { index: 0, count: 1 },
      onMemberChange: (change) => this.changes.push(change),
    });
  }

  /** A server on loopback. */
  serve(script: readonly Step[], family: 4 | 6 = 4): ScriptedServer {
    const listener = family === 4 ? this.loopback.listen() : this.#listenV6();
    const sessions: Session[] = [];
    const onEvents = (): void => {
      const fd = this.sys.accept4(listener.fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd === -EAGAIN) return;
      sessions.push(new Session(this, this.loopback.own(checked("accept4", fd)), [...script]));
      onEvents();
    };
    checked("epoll_ctl", this.reactor.add(listener.fd, EPOLLIN, { onEvents }));
    return { endpoint: listener.localEndpoint(), sessions };
  }

  #listenV6(): Socket {
    const socket = this.loopback.sockets.open(AF_INET6, SOCK_STREAM);
    this.loopback.own(socket.fd);
    socket.bind(parseEndpoint("[::1]:0")!);
    socket.listen(8);
    return socket;
  }

  /** Where nobody listens. */
  refusing(): Endpoint {
    const listener = this.loopback.listen();
    const endpoint = listener.localEndpoint();
    this.loopback.close(listener.fd);
    return endpoint;
  }

  /** Runs a dialogue to its end. */
  run<T>(dialogue: Dialogue<T>): T {
    let outcome: Outcome<T> | undefined;
    runTask(this.reactor, dialogue, (result) => {
      outcome = result;
      this.reactor.stop();
    });
    if (outcome === undefined) this.#turn(GUARD_MS);
    assert(outcome !== undefined, "the dialogue did not end");
    if (!outcome.ok) throw outcome.error;
    return outcome.value;
  }

  /** Runs a dialogue to its wait number `wait`, from 0, and aborts it there. @returns whether it came so far. */
  abortAt<T>(dialogue: Dialogue<T>, wait: number): boolean {
    let ended = false, waiting = false;
    const stop = (): void => this.reactor.stop();
    function* counted(): Dialogue<void> {
      try {
        let result = dialogue.next(0);
        for (let waits = 0; !result.done; waits++) {
          if (waits === wait) {
            waiting = true;
            stop();
          }
          result = dialogue.next(yield result.value);
        }
        ended = true;
      } finally {
        if (!ended) dialogue.return(undefined as T);
      }
    }
    const task = runTask(this.reactor, counted(), stop);
    if (!ended && !waiting) this.#turn(GUARD_MS);
    task.abort();
    return !ended;
  }

  /** Lets everybody go on for so long. */
  pause(ms: number): void {
    this.#turn(ms);
  }

  #turn(ms: number): void {
    const alarm = new Alarm(() => this.reactor.stop());
    this.reactor.timers.schedule(alarm, ms);
    this.reactor.run();
    this.reactor.timers.cancel(alarm);
  }

  /** Takes a descriptor that an upstream has handed over. */
  take(fd: number): number {
    assert(this.open.delete(fd), `${fd} is not open`);
    return this.loopback.own(fd);
  }

  [Symbol.dispose](): void {
    const left = [...this.open];
    for (const fd of left) this.sys.close(fd);
    this.loopback[Symbol.dispose]();
    assert(left.length === 0, `descriptors left open: ${left}`);
  }
}

/** sockaddr bytes of an endpoint. */
export function sockaddrOf(endpoint: Endpoint | string): Uint8Array {
  const bytes = new Uint8Array(SOCKADDR_IN6_BYTES);
  encodeSockaddr(typeof endpoint === "string" ? parseEndpoint(endpoint)! : endpoint, bytes);
  return bytes;
}
