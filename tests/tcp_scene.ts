/**
 * A TCP listener with its reactor on loopback, for tests of what becomes of connections that it accepts. Nothing
 * intercepts them: where they were going is made up.
 *
 * @module
 */
import {
  archOf,
  checked,
  decodeSockaddr,
  EAGAIN,
  encodeSockaddr,
  EPERM,
  Reactor,
  SO_ATTACH_FILTER,
  SO_ORIGINAL_DST,
  SOCK_CLOEXEC,
  SOCK_NONBLOCK,
  type Socket,
  SOL_IP,
  SOL_SOCKET,
  type Syscalls,
  Timer,
} from "../ffi/mod.ts";
import type { Routing } from "../flow/mod.ts";
import { type Endpoint, formatEndpoint, parseEndpoint } from "../net/mod.ts";
import { COUNTERS, counterSlot } from "../dataplane/stats.ts";
import { makeCarrier } from "../tcp/carrier.ts";
import type { ConnectionEnd } from "../flow/connection_end.ts";
import { TcpListener } from "../tcp/listener.ts";
import { assert, assertEquals } from "./assert.ts";
import { directRouting } from "./direct_routing.ts";
import { Loopback } from "./loopback.ts";
import { tcpCounters } from "./tcp_counters.ts";

/** One record of a flow. */
export interface SceneFlow {
  readonly destination: string;
  readonly bytesUp: number;
  readonly durationMs: number;
  readonly end: ConnectionEnd;
  /** Name of its route. */
  readonly route: string | undefined;
}

/** What a test may vary. */
export interface SceneOptions {
  readonly resolvers?: readonly Endpoint[];
  readonly dialled?: string;
  readonly routing?: Routing;
  /** Keeping takes privilege. */
  readonly source?: "own" | "keep";
  /** Whether a socket may have a filter. */
  readonly filters?: boolean;
}

/** Ends a loop that would have no reason to end. */
class StopAfter extends Timer {
  constructor(readonly reactor: Reactor, ms: number) {
    super();
    reactor.timers.schedule(this, ms);
  }
  override onTimer(): void {
    this.reactor.stop();
  }
}

const ENOENT = 2;
/** Where every connection seems to have been going, unless it is said otherwise. */
export const DIALLED = "203.0.113.1:53";

/** A TCP listener whose connections all seem to have been on their way to one destination. */
export class Scene implements Disposable {
  readonly loopback = new Loopback();
  /** The program's: what it opens by them it has to close. */
  readonly sys: Syscalls;
  readonly reactor: Reactor;
  readonly listener: TcpListener;
  readonly flows: SceneFlow[] = [];
  readonly warnings: string[] = [];
  readonly openConnections = new Int32Array(new SharedArrayBuffer(4));
  readonly counters = new Float64Array(COUNTERS.length);
  readonly buffer = this.loopback.arena.allocate(64);
  readonly #open = new Set<number>();
  readonly #port: number;
  #jumpedSeconds = 0;

  constructor(
    { resolvers = [], dialled = DIALLED, routing = directRouting(), source = "own", filters = true }:
      SceneOptions,
  ) {
    const { loopback } = this;
    const { sys } = loopback;
    const opened = (fd: number): number => {
      if (fd >= 0) this.#open.add(fd);
      return fd;
    };
    this.sys = {
      ...sys,
      socket: (...args) => opened(sys.socket(...args)),
      accept4: (...args) => opened(sys.accept4(...args)),
      close: (fd) => {
        assert(this.#open.delete(fd), `close of ${fd}, which is not open`);
        return sys.close(fd);
      },
      getsockopt: (fd, level, name, value, length) => {
        if (level !== SOL_IP || name !== SO_ORIGINAL_DST) {
          return sys.getsockopt(fd, level, name, value, length);
        }
        const bytes = new Uint8Array(Deno.UnsafePointerView.getArrayBuffer(value!, 16));
        encodeSockaddr(parseEndpoint(dialled)!, bytes);
        return 0;
      },
      // Not every kernel lets an ordinary user have one; that it keeps a client waiting is shown in a lab.
      setsockopt: (fd, level, name, value, length) => {
        if (level !== SOL_SOCKET || name !== SO_ATTACH_FILTER) {
          return sys.setsockopt(fd, level, name, value, length);
        }
        return filters ? 0 : -EPERM;
      },
      // No descriptor in reserve, which would be one more to account for.
      open: () => -ENOENT,
    };
    const probe = loopback.listen();
    this.#port = probe.localEndpoint().port;
    loopback.close(probe.fd);
    const clock_gettime: typeof sys.clock_gettime = (clock, time) => {
      const result = sys.clock_gettime(clock, time);
      // tv_sec of struct timespec.
      new Int32Array(Deno.UnsafePointerView.getArrayBuffer(time!, 16))[0]! += this.#jumpedSeconds;
      return result;
    };
    this.reactor = new Reactor({ ...sys, clock_gettime }, loopback.arena, archOf());
    const counters = tcpCounters(this.counters);
    this.listener = new TcpListener({
      sys: this.sys,
      arena: loopback.arena,
      reactor: this.reactor,
      settings: {
        mode: "redirect",
        port: this.#port,
        ownPorts: [this.#port],
        direction: undefined,
        dns: true,
        source,
        listenerMark: 0,
        dialMark: 0,
        maxConnections: 10,
        maxConnectionsPerClient: 0,
        connectTimeoutMs: 1000,
        idleTimeoutMs: 0,
        halfClosedTimeoutMs: 0,
        keepaliveSeconds: 0,
        userTimeoutMs: 0,
      },
      resolvers,
      routing,
      carrier: makeCarrier(this.sys, loopback.arena, counters, 0),
      counters,
      openConnections: this.openConnections,
      clientLimit: undefined,
      onFlow: (_client, destination, _local, bytesUp, _bytesDown, durationMs, end, route) => {
        this.flows.push({
          destination: formatEndpoint(decodeSockaddr(destination)!),
          bytesUp,
          durationMs,
          end,
          route: route?.name,
        });
      },
      onWarning: (warning, detail) => this.warnings.push(`${warning}: ${detail}`),
    });
  }

  /** Intercepts a connection that sends five bytes. */
  dial(): number {
    const client = this.dialSilently();
    this.buffer.bytes.set(new TextEncoder().encode("query"));
    assertEquals(this.loopback.sys.send(client, this.buffer.pointer, 5, 0), 5);
    return client;
  }

  /** The same by a client that waits for the destination to speak. */
  dialSilently(): number {
    return this.loopback.connect(this.#port);
  }

  run(ms: number): void {
    new StopAfter(this.reactor, ms);
    this.reactor.run();
  }

  /** Lets time pass, and has one turn. */
  jump(seconds: number): void {
    this.#jumpedSeconds += seconds;
    this.run(0);
  }

  /** Sends to the other end of one of the scene's sockets. */
  send(fd: number, text: string): void {
    const { written } = new TextEncoder().encodeInto(text, this.buffer.bytes);
    assertEquals(this.loopback.sys.send(fd, this.buffer.pointer, written, 0), written);
  }

  /** What has arrived. */
  text(fd: number): string {
    const length = this.receive(fd);
    return new TextDecoder().decode(this.buffer.bytes.slice(0, Math.max(0, length)));
  }

  /** The next connection to a server. */
  accept(server: Socket): number {
    const fd = this.loopback.sys.accept4(server.fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
    return this.loopback.own(checked("accept4", fd));
  }

  receive(fd: number): number {
    return this.loopback.sys.recv(fd, this.buffer.pointer, 64, 0);
  }

  /** What has reached a resolver: its bytes, or undefined when nobody dialled it. */
  heardBy(resolver: Socket): string | undefined {
    const fd = this.loopback.sys.accept4(resolver.fd, null, null, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd === -EAGAIN) return undefined;
    this.loopback.own(checked("accept4", fd));
    const length = this.receive(fd);
    return new TextDecoder().decode(this.buffer.bytes.slice(0, Math.max(0, length)));
  }

  [Symbol.dispose](): void {
    this.listener.close();
    this.reactor.close();
    assertEquals(this.#open.size, 0, "descriptors left open");
    assertEquals([this.openConnections[0], this.counters[counterSlot("tcpOpenNow")]], [0, 0]);
    this.loopback[Symbol.dispose]();
  }
}
