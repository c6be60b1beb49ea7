/**
 * One data-plane worker: puts reactor, listener, counters and records together and runs them in its own thread
 * until it is told to stop.
 *
 * @module
 */
import { receiveMessageOnPort } from "node:worker_threads";
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
import { ClientLimit } from "../flow/mod.ts";
import { CONTEXT_BYTES, type FlowSink, TcpListener } from "../tcp/mod.ts";
import { FlowRingWriter, IPPROTO_TCP } from "./flow_ring.ts";
import type { FromWorker, ToWorker, WorkerConfig, WorkerFailure } from "./protocol.ts";
import { type CounterName, COUNTERS, counterSlot } from "./stats.ts";
import { WarningLimiter } from "./warnings.ts";

/** Beside what TCP takes: epoll events, doorbell, clock, limits, alignment. */
const ARENA_BYTES = CONTEXT_BYTES + 16 * 1024;

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

class DataPlaneWorker {
  readonly #reactor: Reactor;
  readonly #listener: TcpListener;
  readonly #receive: MessagePort;
  readonly #send: (message: FromWorker) => void;
  readonly #doorbell: number;

  constructor(config: WorkerConfig, receive: MessagePort, send: (message: FromWorker) => void) {
    this.#receive = receive;
    this.#send = send;
    const sys = openSyscalls();
    const arena = new Arena(ARENA_BYTES);
    raiseFileLimit(sys, arena.allocate(16));
    this.#reactor = new Reactor(sys, arena, archOf());
    const { tcp, clientTable } = config;
    const warnings = new WarningLimiter(this.#reactor, send);
    const counters = new Float64Array(config.stats);
    try {
      // Before the listener: of two listeners on one port, the kernel would give connections to a dead one too.
      this.#doorbell = this.#reactor.openDoorbell(arena, () => this.#readMessages());
      this.#listener = new TcpListener({
        sys,
        arena,
        reactor: this.#reactor,
        settings: tcp,
        counters: { values: counters, slots: COUNTER_SLOTS },
        openConnections: new Int32Array(config.openConnections),
        clientLimit: clientTable && new ClientLimit(clientTable, tcp.maxConnectionsPerClient),
        onFlow: config.flowRing && this.#flowSink(config.flowRing, counters),
        onWarning: (warning, detail) => warnings.warn(warning, detail),
      });
    } catch (error) {
      this.#reactor.close();
      throw error;
    }
    const addresses = this.#listener.dualStack
      ? [`[::]:${tcp.port}`, `0.0.0.0:${tcp.port}`]
      : [`0.0.0.0:${tcp.port}`];
    send({ kind: "ready", doorbell: this.#doorbell, listeners: addresses });
  }

  /** Messages are heard by the doorbell alone: it is rung on `ready` for what was posted before that. */
  run(): void {
    this.#reactor.run();
  }

  close(): void {
    this.#listener.close();
    this.#reactor.close();
  }

  #readMessages(): void {
    for (;;) {
      const received = receiveMessageOnPort(
        this.#receive as unknown as Parameters<typeof receiveMessageOnPort>[0],
      );
      if (received === undefined) return;
      const message = received.message as ToWorker;
      if (message.kind === "drain") this.#listener.drain(() => this.#send({ kind: "drained" }));
      else if (message.kind === "stop") this.#reactor.stop();
    }
  }

  #flowSink(memory: SharedArrayBuffer, counters: Float64Array): FlowSink {
    const ring = new FlowRingWriter(memory);
    const dropped = counterSlot("flowRecordsDropped");
    return (...flow) => {
      const outcome = ring.write(IPPROTO_TCP, ...flow);
      if (outcome === "dropped") counters[dropped]!++;
      else if (outcome === "wake") this.#send({ kind: "records" });
    };
  }
}

const COUNTER_SLOTS = Object.fromEntries(COUNTERS.map((name) => [name, counterSlot(name)])) as Record<
  CounterName,
  number
>;

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
