/**
 * One data-plane worker: puts reactor, listeners, counters and records together and runs them in its own thread
 * until it is told to stop.
 *
 * @module
 */
import { receiveMessageOnPort } from "node:worker_threads";
import {
  DNS_BYTES,
  DNS_LISTENER_BYTES,
  DnsForwarder,
  DnsListener,
  type DnsListenerSettings,
} from "../dns/mod.ts";
import {
  archOf,
  Arena,
  type Block,
  isSyscallError,
  openSyscalls,
  Reactor,
  RLIMIT_NOFILE,
  type Syscalls,
} from "../ffi/mod.ts";
import { ClientLimit, type ReplySender, type Routing } from "../flow/mod.ts";
import {
  type Carrier,
  CARRIER_BYTES,
  CONTEXT_BYTES,
  type FlowSink,
  makeCarrier,
  TcpListener,
  type TcpSettings,
} from "../tcp/mod.ts";
import { PolicyTable } from "../policy/mod.ts";
import { UDP_BYTES, type UdpFlowSink, UdpListener, type UdpSettings } from "../udp/mod.ts";
import {
  makeUpstreams,
  UPSTREAM_BYTES,
  UpstreamEnvironment,
  type Upstreams,
  type UpstreamSeat,
} from "../upstream/mod.ts";
import { FlowRingWriter, IPPROTO_TCP, IPPROTO_UDP } from "./flow_ring.ts";
import type {
  FromWorker,
  Listeners,
  RoutingSettings,
  ToWorker,
  WorkerConfig,
  WorkerFailure,
} from "./protocol.ts";
import { type CounterName, COUNTERS, counterSlot } from "./stats.ts";
import { WarningLimiter } from "./warnings.ts";
import { ALWAYS_DIRECT, RouteWords, WorkerRouter } from "./worker_router.ts";

/** Beside what TCP, UDP and DNS take: epoll events, doorbell, clock, limits, alignment. */
const OTHER_BYTES = 16 * 1024;

/**
 * Starts a worker and stays in its loop until `stop` arrives. Blocks the calling thread.
 *
 * @param receive the end of the message port that this thread may read.
 * @param send posts a message to the control plane.
 */
export function runWorker(
  config: WorkerConfig,
  receive: MessagePort,
  send: (message: FromWorker) => void,
): void {
  let worker: DataPlaneWorker | undefined;
  try {
    worker = new DataPlaneWorker(config, receive, send);
    worker.run();
    worker.close();
    send({ kind: "stopped" });
  } catch (error) {
    // A dead thread's descriptors stay open in the process: whoever talks to them would wait for ever.
    worker?.close();
    send({ kind: "failed", failure: describe(error) });
  }
}

/** What takes flows from the kernel: one of TCP's listeners, UDP's, or that of redirected queries. */
interface Listener {
  readonly dualStack: boolean;
  /** Takes on nothing new; calls back once nothing is open, at once if so. */
  drain(onIdle: () => void): void;
  close(): void;
}

class DataPlaneWorker {
  readonly #config: WorkerConfig;
  readonly #receive: MessagePort;
  readonly #send: (message: FromWorker) => void;
  readonly #sys: Syscalls;
  readonly #arena: Arena;
  readonly #reactor: Reactor;
  readonly #warnings: WarningLimiter;
  readonly #counters: Float64Array;
  readonly #flowRing: FlowRingWriter | undefined;
  readonly #listeners: Listener[] = [];
  readonly #forwarders: DnsForwarder[] = [];
  /** Of all listeners but those of connections to a pod. */
  readonly #routing: Routing = { current: ALWAYS_DIRECT };
  readonly #routeWords = new RouteWords();
  readonly #environment: UpstreamEnvironment;
  /** Of the routing that is in force. */
  #upstreams: Upstreams | undefined;
  #carrier: Carrier | undefined;

  constructor(config: WorkerConfig, receive: MessagePort, send: (message: FromWorker) => void) {
    this.#config = config;
    this.#receive = receive;
    this.#send = send;
    this.#sys = openSyscalls();
    this.#arena = new Arena(arenaBytes(config));
    raiseFileLimit(this.#sys, this.#arena.allocate(16));
    this.#reactor = new Reactor(this.#sys, this.#arena, archOf());
    this.#warnings = new WarningLimiter(this.#reactor, send);
    this.#counters = new Float64Array(config.stats);
    this.#flowRing = config.flowRing && new FlowRingWriter(config.flowRing);
    this.#environment = new UpstreamEnvironment({
      sys: this.#sys,
      arena: this.#arena,
      reactor: this.#reactor,
      ...ownSockets(config),
      worker: { index: config.index, count: config.workers },
      onMemberChange: (change) => send({ kind: "member", change }),
    });
    try {
      this.#route(config.routing);
      // Before the listeners: of two listeners on one port, the kernel would give connections to a dead one too.
      const doorbell = this.#reactor.openDoorbell(this.#arena, () => this.#readMessages());
      send({ kind: "ready", doorbell, listeners: this.#listen() });
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** Messages are heard by the doorbell alone: it is rung on `ready` for what was posted before that. */
  run(): void {
    this.#reactor.run();
  }

  close(): void {
    for (const forwarder of this.#forwarders) forwarder.close();
    for (const listener of this.#listeners) listener.close();
    this.#upstreams?.close();
    this.#carrier?.pipes.close();
    this.#reactor.close();
  }

  #listen(): Listeners {
    const { tcp, udp, dns } = this.#config;
    return {
      tcp: tcp.flatMap((settings) => this.#add(this.#openTcp(settings), settings.port)),
      udp: [
        ...(udp === undefined ? [] : this.#add(this.#openUdp(udp), udp.port)),
        ...(dns === undefined ? [] : this.#add(this.#openDns(dns), dns.port)),
      ],
    };
  }

  #add(listener: Listener, port: number): string[] {
    this.#listeners.push(listener);
    return listener.dualStack ? [`[::]:${port}`, `0.0.0.0:${port}`] : [`0.0.0.0:${port}`];
  }

  #openTcp(settings: TcpSettings): TcpListener {
    const { clientTable, clientSeed, openConnections, maxPipes } = this.#config;
    const counters = { values: this.#counters, slots: COUNTER_SLOTS };
    this.#carrier ??= makeCarrier(this.#sys, this.#arena, counters, maxPipes);
    return new TcpListener({
      sys: this.#sys,
      arena: this.#arena,
      reactor: this.#reactor,
      settings,
      carrier: this.#carrier,
      resolvers: this.#config.resolvers,
      routing: settings.direction === "inbound" ? { current: ALWAYS_DIRECT } : this.#routing,
      counters,
      openConnections: new Int32Array(openConnections),
      clientLimit: clientTable && new ClientLimit(clientTable, settings.maxConnectionsPerClient, clientSeed),
      onFlow: this.#flowRing && this.#tcpFlowSink(this.#flowRing, settings.direction),
      onWarning: (warning, detail) => this.#warnings.warn(warning, detail),
    });
  }

  #openUdp(settings: UdpSettings): UdpListener {
    const { udpClientTable, clientSeed } = this.#config;
    const listener = new UdpListener({
      sys: this.#sys,
      arena: this.#arena,
      reactor: this.#reactor,
      settings,
      routing: this.#routing,
      counters: { values: this.#counters, slots: COUNTER_SLOTS },
      clientLimit: udpClientTable &&
        new ClientLimit(udpClientTable, settings.maxSessionsPerClient, clientSeed),
      onFlow: this.#flowRing && this.#udpFlowSink(this.#flowRing),
      onWarning: (warning, detail) => this.#warnings.warn(warning, detail),
    });
    if (this.#config.resolvers.length > 0) {
      listener.serveDns(this.#openForwarder(listener.replies, settings.bypassMark));
    }
    return listener;
  }

  #openDns(settings: DnsListenerSettings): DnsListener {
    const listener = new DnsListener({
      sys: this.#sys,
      arena: this.#arena,
      reactor: this.#reactor,
      settings,
      counters: { values: this.#counters, slots: COUNTER_SLOTS },
      onWarning: (warning, detail) => this.#warnings.warn(warning, detail),
    });
    listener.serve(this.#openForwarder(listener, settings.bypassMark));
    return listener;
  }

  #openForwarder(replies: ReplySender, bypassMark: number): DnsForwarder {
    const forwarder = new DnsForwarder({
      sys: this.#sys,
      arena: this.#arena,
      reactor: this.#reactor,
      resolvers: this.#config.resolvers,
      bypassMark,
      replies,
      counters: { values: this.#counters, slots: COUNTER_SLOTS },
      onWarning: (warning, detail) => this.#warnings.warn(warning, detail),
    });
    this.#forwarders.push(forwarder);
    return forwarder;
  }

  #readMessages(): void {
    for (;;) {
      const received = receiveMessageOnPort(
        this.#receive as unknown as Parameters<typeof receiveMessageOnPort>[0],
      );
      if (received === undefined) return;
      const message = received.message as ToWorker;
      if (message.kind === "drain") this.#drain();
      else if (message.kind === "routing") {
        this.#route(message.routing);
        this.#send({ kind: "routed" });
      } else if (message.kind === "stop") this.#reactor.stop();
    }
  }

  /** From now on new flows leave in these ways. */
  #route(settings: RoutingSettings): void {
    this.#upstreams?.close();
    const { routes } = this.#upstreams = makeUpstreams(settings.upstreams, this.#environment);
    this.#routeWords.add(settings.generation, routes);
    const table = settings.policy && new PolicyTable(settings.policy);
    this.#routing.current = new WorkerRouter(routes, table, settings.otherwise);
  }

  #drain(): void {
    let busy = this.#listeners.length;
    for (const listener of this.#listeners) {
      listener.drain(() => {
        if (--busy === 0) this.#send({ kind: "drained" });
      });
    }
  }

  #tcpFlowSink(ring: FlowRingWriter, direction: TcpSettings["direction"]): FlowSink {
    const kind = { protocol: IPPROTO_TCP, direction };
    return (client, destination, local, bytesUp, bytesDown, durationMs, end, route) => {
      const word = this.#routeWords.of(route);
      this.#recorded(
        ring.write(kind, client, destination, local, bytesUp, bytesDown, 0, 0, durationMs, end, word),
      );
    };
  }

  #udpFlowSink(ring: FlowRingWriter): UdpFlowSink {
    const kind = { protocol: IPPROTO_UDP, direction: undefined };
    return (
      client,
      destination,
      local,
      bytesUp,
      bytesDown,
      datagramsUp,
      datagramsDown,
      durationMs,
      end,
      route,
    ) => {
      const word = this.#routeWords.of(route);
      this.#recorded(
        ring.write(
          kind,
          client,
          destination,
          local,
          bytesUp,
          bytesDown,
          datagramsUp,
          datagramsDown,
          durationMs,
          end,
          word,
        ),
      );
    };
  }

  #recorded(outcome: ReturnType<FlowRingWriter["write"]>): void {
    if (outcome === "dropped") this.#counters[counterSlot("flowRecordsDropped")]!++;
    else if (outcome === "wake") this.#send({ kind: "records" });
  }
}

const COUNTER_SLOTS = Object.fromEntries(COUNTERS.map((name) => [name, counterSlot(name)])) as Record<
  CounterName,
  number
>;

/** What upstreams' sockets have in common with those that connect to destinations. */
function ownSockets({ tcp, udp }: WorkerConfig): Pick<UpstreamSeat, "mark" | "source"> {
  // What comes to a pod never leaves by an upstream.
  const outbound = tcp.find(({ direction }) => direction !== "inbound");
  return {
    mark: outbound?.dialMark ?? udp?.bypassMark ?? 0,
    source: outbound?.source === "keep" || outbound === undefined && udp?.source === "keep" ? "keep" : "own",
  };
}

function arenaBytes({ tcp, udp, dns, resolvers }: WorkerConfig): number {
  return OTHER_BYTES + UPSTREAM_BYTES + (tcp.length === 0 ? 0 : CARRIER_BYTES + tcp.length * CONTEXT_BYTES) +
    (udp === undefined ? 0 : UDP_BYTES + (resolvers.length === 0 ? 0 : DNS_BYTES)) +
    (dns === undefined ? 0 : DNS_LISTENER_BYTES + DNS_BYTES);
}

/** The soft limit of open files up to the hard one (getrlimit(2)): it holds for the whole process. */
function raiseFileLimit(sys: Syscalls, limit: Block): void {
  if (sys.getrlimit(RLIMIT_NOFILE, limit.pointer) < 0) return;
  // struct rlimit: two 64-bit words, soft then hard.
  limit.words.copyWithin(0, 2, 4);
  sys.setrlimit(RLIMIT_NOFILE, limit.pointer);
}

function describe(error: unknown): WorkerFailure {
  if (!(error instanceof Error)) return { message: String(error) };
  const failure = { message: error.message, ...(error.stack === undefined ? {} : { stack: error.stack }) };
  return isSyscallError(error) ? { ...failure, syscall: error.syscall, code: error.code } : failure;
}
