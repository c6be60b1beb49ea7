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
  noteDescriptors,
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
  makeCarrier,
  TcpListener,
  type TcpSettings,
} from "../tcp/mod.ts";
import { PolicyTable } from "../policy/mod.ts";
import { UDP_BYTES, UdpListener, type UdpSettings } from "../udp/mod.ts";
import {
  makeUpstreams,
  UPSTREAM_BYTES,
  UpstreamEnvironment,
  type Upstreams,
  type UpstreamSeat,
} from "../upstream/mod.ts";
import { LifeTakenError } from "./life_memory.ts";
import type { PolicyFunction } from "./policy_function.ts";
import { importPolicy, importPolicySoon } from "./policy_module.ts";
import { POLICY_SEAT_BYTES, PolicySeat } from "./policy_seat.ts";
import { FlowRingWriter } from "./flow_ring.ts";
import { FlowSinks } from "./flow_sinks.ts";
import { giveBack } from "./give_back.ts";
import type {
  FromWorker,
  Listeners,
  PolicyModuleSettings,
  RoutingSettings,
  ToWorker,
  WorkerConfig,
  WorkerFailure,
} from "./protocol.ts";
import { COUNTER_SLOTS } from "./stats.ts";
import { WarningLimiter } from "./warnings.ts";
import { ALWAYS_DIRECT, RouteWords, WorkerRouter } from "./worker_router.ts";

/** Beside what TCP, UDP and DNS take: epoll events, doorbell, clock, limits, alignment. */
const OTHER_BYTES = 16 * 1024;

/**
 * Starts a worker and stays in its loop until `stop` arrives. Blocks the calling thread, but while a policy module is
 * imported: before it starts, and when there is another one.
 *
 * @param receive the end of the message port that this thread may read.
 * @param send posts a message to the control plane.
 */
export async function runWorker(
  config: WorkerConfig,
  receive: MessagePort,
  send: (message: FromWorker) => void,
): Promise<void> {
  let worker: DataPlaneWorker | undefined;
  try {
    const { module } = config.routing;
    const policy = module && { module, decide: await importPolicy(module.url) };
    worker = new DataPlaneWorker(config, policy, receive, send);
    for (let wanted = worker.run(); wanted !== undefined; wanted = worker.run()) {
      await worker.exchangePolicy(wanted);
    }
    worker.close();
    send({ kind: "stopped" });
  } catch (error) {
    // All that was this thread's is another's now.
    if (error instanceof LifeTakenError) return;
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
  /** Hears that the router has been exchanged. */
  seeRouter?(): void;
}

/** A policy module that has been imported. */
interface ImportedPolicy {
  readonly module: PolicyModuleSettings;
  readonly decide: PolicyFunction;
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
  readonly #flowSinks: FlowSinks | undefined;
  readonly #listeners: Listener[] = [];
  readonly #forwarders: DnsForwarder[] = [];
  /** Of all listeners but those of connections to a pod. */
  readonly #routing: Routing = { current: ALWAYS_DIRECT };
  readonly #routeWords = new RouteWords();
  /** Of the routing in force. */
  #policyMemory: ArrayBuffer | undefined;
  readonly #environment: UpstreamEnvironment;
  readonly #policySeat: PolicySeat | undefined;
  /** Of the routing that is in force. */
  #upstreams: Upstreams | undefined;
  #carrier: Carrier | undefined;
  #policy: ImportedPolicy | undefined;
  /** A routing that waits for its policy module to be imported. */
  #wanted: RoutingSettings | undefined;

  constructor(
    config: WorkerConfig,
    policy: ImportedPolicy | undefined,
    receive: MessagePort,
    send: (message: FromWorker) => void,
  ) {
    this.#config = config;
    this.#policy = policy;
    this.#receive = receive;
    this.#send = send;
    const sys = openSyscalls();
    const { life, leftBehind } = config;
    this.#sys = life === undefined ? sys : noteDescriptors(sys, life.descriptors);
    this.#arena = new Arena(arenaBytes(config));
    if (leftBehind !== undefined) giveBack(sys, this.#arena, config, leftBehind);
    raiseFileLimit(this.#sys, this.#arena.allocate(16));
    this.#reactor = new Reactor(this.#sys, this.#arena, archOf());
    this.#warnings = new WarningLimiter(this.#reactor, send);
    this.#counters = new Float64Array(config.stats);
    this.#flowSinks = config.flowRing && new FlowSinks(
      new FlowRingWriter(config.flowRing),
      this.#routeWords,
      () => this.#counters[COUNTER_SLOTS.flowRecordsDropped]!++,
      () => send({ kind: "records" }),
    );
    this.#policySeat = life && new PolicySeat(this.#sys, this.#arena, life, {
      count: (counter) => this.#counters[COUNTER_SLOTS[counter]]!++,
      warn: (warning, detail) => this.#warnings.warn(warning, detail),
    });
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

  /**
   * Messages are heard by the doorbell alone: it is rung on `ready` for what was posted before that.
   *
   * @returns a routing whose policy module is to be imported before it goes on; undefined: it was told to stop.
   */
  run(): RoutingSettings | undefined {
    this.#reactor.run();
    return this.#wanted;
  }

  /** Imports the module of a routing and puts that in force. The rules alone decide if it cannot be imported. */
  async exchangePolicy(routing: RoutingSettings): Promise<void> {
    this.#wanted = undefined;
    const module = routing.module!;
    try {
      this.#policy = { module, decide: await importPolicySoon(module.url) };
    } catch (error) {
      this.#policy = undefined;
      this.#warnings.warn(
        "policy-unavailable",
        `policy module: ${(error as Error).message}; the rules decide`,
      );
    }
    this.#routeAsTold(routing);
    // What has come meanwhile; in the loop, which one of them may be there to end.
    this.#reactor.defer({ onDeferred: () => this.#readMessages() });
  }

  close(): void {
    for (const forwarder of this.#forwarders) forwarder.close();
    for (const listener of this.#listeners) listener.close();
    this.#upstreams?.close();
    this.#policySeat?.close();
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
    const { clientTable, clientSeed, openConnections, maxPipes, life } = this.#config;
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
      clientLimit: clientTable &&
        new ClientLimit(clientTable, settings.maxConnectionsPerClient, clientSeed, life?.clients),
      onFlow: this.#flowSinks?.tcp(settings.direction),
      onWarning: (warning, detail) => this.#warnings.warn(warning, detail),
    });
  }

  #openUdp(settings: UdpSettings): UdpListener {
    const { udpClientTable, clientSeed, life } = this.#config;
    const listener = new UdpListener({
      sys: this.#sys,
      arena: this.#arena,
      reactor: this.#reactor,
      settings,
      routing: this.#routing,
      counters: { values: this.#counters, slots: COUNTER_SLOTS },
      clientLimit: udpClientTable &&
        new ClientLimit(udpClientTable, settings.maxSessionsPerClient, clientSeed, life?.udpClients),
      onFlow: this.#flowSinks?.udp(),
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
    // Those that come after a routing wait until that is in force.
    while (this.#wanted === undefined) {
      const received = receiveMessageOnPort(
        this.#receive as unknown as Parameters<typeof receiveMessageOnPort>[0],
      );
      if (received === undefined) return;
      const message = received.message as ToWorker;
      if (message.kind === "drain") this.#drain();
      else if (message.kind === "routing") this.#exchangeRouting(message.routing);
      else if (message.kind === "stop") this.#reactor.stop();
    }
  }

  #exchangeRouting(routing: RoutingSettings): void {
    const { module } = routing;
    if (module === undefined || module.url === this.#policy?.module.url) {
      this.#policy = module && { module, decide: this.#policy!.decide };
      this.#routeAsTold(routing);
      return;
    }
    // A module is imported by the event loop, to which this thread has to return for it.
    this.#wanted = routing;
    this.#reactor.stop();
  }

  #routeAsTold(routing: RoutingSettings): void {
    this.#route(routing);
    for (const listener of this.#listeners) listener.seeRouter?.();
    this.#send({ kind: "routed" });
  }

  /** From now on new flows leave in these ways. */
  #route({ generation, upstreams, policy, otherwise }: RoutingSettings): void {
    const { routes } = this.#upstreams = makeUpstreams(upstreams, this.#environment, this.#upstreams);
    this.#routeWords.add(generation, routes);
    const rules = new WorkerRouter(routes, policy && new PolicyTable(policy), otherwise);
    this.#routing.current = rules;
    // Nobody looks anything up in the one before. A worker leaves so little garbage that it would not be collected
    // for hundreds of routings.
    if (this.#policyMemory !== policy) this.#policyMemory?.transfer(0);
    this.#policyMemory = policy;
    if (this.#policy === undefined || this.#policySeat === undefined) return;
    const { module, decide } = this.#policy;
    const router = this.#policySeat.router(decide, rules, routes, module.budgetMs);
    this.#routeWords.add(generation, router.ownRoutes);
    this.#routing.current = router;
  }

  #drain(): void {
    let busy = this.#listeners.length;
    for (const listener of this.#listeners) {
      listener.drain(() => {
        if (--busy === 0) this.#send({ kind: "drained" });
      });
    }
  }
}

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
  return OTHER_BYTES + POLICY_SEAT_BYTES + UPSTREAM_BYTES +
    (tcp.length === 0 ? 0 : CARRIER_BYTES + tcp.length * CONTEXT_BYTES) +
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
