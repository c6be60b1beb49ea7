/**
 * Many long connections that a test talks over one word at a time, to see which of them still carry.
 *
 * @module
 */
import { type LabHost, type LabProcess, within } from "../lab/mod.ts";
import type { TalkEnd, TalkOrder, TalkReport } from "./talker_main.ts";

const ANSWER_TIMEOUT_MS = 10_000;
const START_TIMEOUT_MS = 20_000;

/** A process in a lab host that opens connections. */
export class Talker implements AsyncDisposable {
  readonly #process: LabProcess;
  readonly #talks: Talk[] = [];

  constructor(host: LabHost) {
    this.#process = host.deno(new URL("talker_main.ts", import.meta.url).href);
    this.#dispatch();
  }

  /** Opens a connection; not yet connected. The server must echo for {@linkcode Talk.say} to be of use. */
  dial(address: string, port: number): Talk {
    const talk = new Talk((order) => this.#order({ ...order, talk: id }));
    const id = this.#talks.push(talk) - 1;
    this.#order({ do: "dial", talk: id, address, port });
    return talk;
  }

  /** Opens a connection and makes sure that it reaches an echo server and back. */
  async reach(address: string, port: number): Promise<Talk> {
    const talk = this.dial(address, port);
    await talk.say("hello");
    return talk;
  }

  async #order(order: TalkOrder): Promise<void> {
    await this.#process.write(`${JSON.stringify(order)}\n`);
  }

  async #dispatch(): Promise<void> {
    const { stdout } = this.#process;
    let seen = 0;
    const takeAll = (_: string, index: number) => {
      for (; seen <= index; seen++) {
        const report: TalkReport = JSON.parse(stdout.lines[seen]!);
        this.#talks[report.talk]!.hear(report);
      }
      return undefined;
    };
    // Until the output ends, which is an error of the wait and the normal end here.
    await stdout.waitFor(takeAll, 2 ** 31 - 1).catch(() => {});
    for (const talk of this.#talks) talk.processEnded(this.#process.stderr.tail());
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#process.stop();
  }
}

/** What becomes of connections when each is to carry a word: `carried`, or how it ended. */
export function fatesOf(talks: readonly Talk[], word: string): Promise<(string | undefined)[]> {
  return Promise.all(talks.map((talk) => talk.say(word).then(() => "carried", () => talk.end)));
}

type OneTalkOrder = TalkOrder extends infer Order ? Order extends TalkOrder ? Omit<Order, "talk"> : never
  : never;

/** One connection. */
export class Talk {
  /** How it ended; undefined while it has not. */
  end: TalkEnd | undefined;
  /** Our own end of it; undefined before it is connected. */
  local: string | undefined;
  #heard = "";
  #said = "";
  #failure: string | undefined;
  #change = Promise.withResolvers<void>();
  readonly #order: (order: OneTalkOrder) => void;

  constructor(order: (order: OneTalkOrder) => void) {
    this.#order = order;
  }

  /** Resolves when the connection is there. @throws {Error} when it ends first. */
  async connected(): Promise<this> {
    await this.#until(() => this.local !== undefined, "connected", START_TIMEOUT_MS);
    return this;
  }

  /** Says a word and waits for its echo. @throws {Error} when the connection ends first. */
  async say(word: string): Promise<void> {
    await this.connected();
    this.#said += word;
    this.#order({ do: "say", text: word });
    await this.#until(() => this.#heard === this.#said, `"${word}" heard`, ANSWER_TIMEOUT_MS);
  }

  /** Says a word and waits for nothing. */
  mutter(word: string): void {
    this.#said += word;
    this.#order({ do: "say", text: word });
  }

  /** Resolves with how it ended. */
  async ended(timeoutMs = ANSWER_TIMEOUT_MS): Promise<TalkEnd> {
    await this.#until(() => this.end !== undefined, "ended", timeoutMs);
    return this.end!;
  }

  /** Closes it and waits until that is done. */
  async close(): Promise<void> {
    if (this.end === undefined) this.#order({ do: "close" });
    await this.ended();
  }

  /** For the talker only. */
  hear(report: TalkReport): void {
    if (report.event === "connected") this.local = report.local;
    else if (report.event === "heard") this.#heard += report.text;
    else this.end = report.how;
    this.#wake();
  }

  /** For the talker only. */
  processEnded(stderr: string): void {
    this.#failure = `the talker's process ended: ${stderr}`;
    this.#wake();
  }

  #wake(): void {
    this.#change.resolve();
    this.#change = Promise.withResolvers();
  }

  async #until(holds: () => boolean, what: string, timeoutMs: number): Promise<void> {
    const deadline = performance.now() + timeoutMs;
    while (!holds()) {
      if (this.#failure !== undefined) throw new Error(this.#failure);
      if (this.end !== undefined) throw new Error(`talk: ${this.end} found, ${what} wanted`);
      await within(this.#change.promise, Math.max(0, deadline - performance.now()), `talk: ${what}`);
    }
  }
}
