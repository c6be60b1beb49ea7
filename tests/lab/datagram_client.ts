/**
 * A lab's datagram client, from the test's side: UDP sockets in a host, driven one step at a time.
 *
 * ```ts
 * await using client = new DatagramClient(lab.host("client"));
 * const socket = await client.open({ from: "192.0.2.2:40000" });
 * await socket.send({ to: "198.51.100.10:53", text: "hello", tos: 0x02 });
 * const { from, text, tos } = await socket.received();
 * ```
 *
 * @module
 */
import type {
  DatagramOrder,
  DatagramReport,
  DatagramSpec,
  ReceivedDatagram,
  ReceivedDatagramError,
  SendOutcome,
} from "./datagram_client_spec.ts";
import type { DatagramSocketOptions } from "./datagram_socket.ts";
import type { LabHost } from "./host.ts";
import type { LabProcess } from "./process.ts";

const ANSWER_TIMEOUT_MS = 10_000;
/** So many small datagrams fit into any socket's buffer, also when nobody reads meanwhile. */
const BUFFERED = 100;
const START_TIMEOUT_MS = 20_000;

/** A process in a lab host that holds UDP sockets. Ends with the lab, or earlier with `await using`. */
export class DatagramClient implements AsyncDisposable {
  readonly process: LabProcess;
  #opened = 0;

  /** `command` takes the place of the program. */
  constructor(host: LabHost, command?: readonly string[]) {
    const program = new URL("datagram_client_main.ts", import.meta.url).href;
    this.process = command === undefined ? host.deno(program) : host.spawn(command);
  }

  /** @throws {Error} that names the error number when it cannot be opened. */
  async open(options: DatagramSocketOptions): Promise<ClientSocket> {
    const number = this.#opened++;
    await this.#order({ do: "open", socket: number, options });
    const local = await this.process.stdout.waitFor((line) => {
      const report = JSON.parse(line) as DatagramReport;
      if (report.socket !== number) return undefined;
      if (report.event === "failed") throw new Error(`${JSON.stringify(options)}: ${report.code}`);
      return report.event === "opened" ? report.local : undefined;
    }, START_TIMEOUT_MS);
    return new ClientSocket(number, local, this.process, (order) => this.#order(order));
  }

  async #order(order: DatagramOrder): Promise<void> {
    await this.process.write(`${JSON.stringify(order)}\n`);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.process.stop();
  }
}

/** One UDP socket in a lab host. What it was given is kept, and asked for in the order in which it came. */
export class ClientSocket {
  /** For each kind of report, the line of the output from which to look for the next one. */
  readonly #next = { received: 0, error: 0, sent: 0, closed: 0 };
  readonly #order: (order: DatagramOrder) => Promise<void>;

  constructor(
    readonly number: number,
    readonly local: string,
    readonly process: LabProcess,
    order: (order: DatagramOrder) => Promise<void>,
  ) {
    this.#order = order;
  }

  /** The port it is bound to. */
  get port(): number {
    return Number(this.local.slice(this.local.lastIndexOf(":") + 1));
  }

  /** Resolves when all of them have left. */
  async send(...datagrams: DatagramSpec[]): Promise<SendOutcome> {
    await this.#order({ do: "send", socket: this.number, datagrams });
    return await this.#report("sent", ANSWER_TIMEOUT_MS);
  }

  /** The next datagram. */
  received(timeoutMs = ANSWER_TIMEOUT_MS): Promise<ReceivedDatagram> {
    return this.#report("received", timeoutMs);
  }

  /** The next `count` datagrams. */
  async receivedAll(count: number, timeoutMs = ANSWER_TIMEOUT_MS): Promise<ReceivedDatagram[]> {
    const all: ReceivedDatagram[] = [];
    while (all.length < count) all.push(await this.received(timeoutMs));
    return all;
  }

  /** Sends one and waits for what comes next. */
  async ask(datagram: DatagramSpec, timeoutMs = ANSWER_TIMEOUT_MS): Promise<ReceivedDatagram> {
    await this.send(datagram);
    return await this.received(timeoutMs);
  }

  /** Sends many, a buffer's worth at a time, and waits for as many answers. */
  async askAll(datagrams: readonly DatagramSpec[]): Promise<ReceivedDatagram[]> {
    const answers: ReceivedDatagram[] = [];
    for (let from = 0; from < datagrams.length; from += BUFFERED) {
      const some = datagrams.slice(from, from + BUFFERED);
      await this.send(...some);
      answers.push(...await this.receivedAll(some.length));
    }
    return answers;
  }

  /** The next error. */
  failed(timeoutMs = ANSWER_TIMEOUT_MS): Promise<ReceivedDatagramError> {
    return this.#report("error", timeoutMs);
  }

  /** How many datagrams have come in all, asked for or not. */
  get receivedCount(): number {
    return this.#count("received");
  }

  /** How many errors have come in all, asked for or not. */
  get errorCount(): number {
    return this.#count("error");
  }

  #count(event: "received" | "error"): number {
    const prefix = `{"event":"${event}","socket":${this.number},`;
    return this.process.stdout.lines.filter((line) => line.startsWith(prefix)).length;
  }

  async close(): Promise<void> {
    await this.#order({ do: "close", socket: this.number });
    await this.#report("closed", ANSWER_TIMEOUT_MS);
  }

  async #report<E extends "received" | "error" | "sent" | "closed">(
    event: E,
    timeoutMs: number,
  ): Promise<Extract<DatagramReport, { event: E }>> {
    const prefix = `{"event":"${event}","socket":${this.number}`;
    return await this.process.stdout.waitFor(
      (line, index) => {
        if (!line.startsWith(prefix)) return undefined;
        const report = JSON.parse(line) as DatagramReport;
        if (report.socket !== this.number) return undefined;
        this.#next[event] = index + 1;
        return report as Extract<DatagramReport, { event: E }>;
      },
      timeoutMs,
      this.#next[event],
    );
  }
}
