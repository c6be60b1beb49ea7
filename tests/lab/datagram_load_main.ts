/**
 * The asking end of a load, as a program: `deno run -A datagram_load_main.ts SPEC`, with SPEC a DatagramLoadSpec as
 * JSON. Sends numbered datagrams over many flows to `load` servers, never more at a time than any buffer on the way
 * holds, and prints a DatagramLoadResult.
 *
 * @module
 */
import { encodeSockaddr, SOCKADDR_IN6_BYTES } from "../../ffi/mod.ts";
import { parseEndpoint } from "../../net/mod.ts";
import { ANSWER, isWhole, loadBytes, REQUEST, SeenNumbers, writeLoad } from "./datagram_load.ts";
import { DatagramProgram, reportLine } from "./datagram_program.ts";
import type { DatagramSocket } from "./datagram_socket.ts";

/** Each flow is one socket of the client and writes to one of `to`, in turn. */
export interface DatagramLoadSpec {
  /** `ip:port` of load servers. */
  readonly to: readonly string[];
  readonly flows: number;
  /** Of each flow. Each of them is answered, so twice as many cross in all. */
  readonly datagrams: number;
}

/** What came of it. */
export interface DatagramLoadResult {
  readonly sent: number;
  /** Answers that were what they claim to be, each once. */
  readonly answered: number;
  readonly duplicates: number;
  readonly corrupt: number;
  /** Another flow's answers. */
  readonly misdelivered: number;
  /** Answers from another endpoint than the one asked. */
  readonly wrongSource: number;
  /** Sends that failed, by the name of the error. */
  readonly sendErrors: Readonly<Record<string, number>>;
  readonly durationMs: number;
}

/** What may be on its way at one time: in the kernel's count, half of the usual receive buffer. */
const WINDOW_TRUESIZE = 100_000;
const WINDOW = 40;
/** A packet with its bookkeeping, in the kernel's count; a long datagram comes in as many as it has fragments. */
const PACKET_TRUESIZE = 2304;
const FRAGMENT = 1448;
/** When nothing has come for so long, what is outstanding is lost. */
const GIVE_UP_MS = 300;

class DatagramLoad {
  readonly #program = new DatagramProgram();
  readonly #spec: DatagramLoadSpec;
  readonly #sockets: DatagramSocket[] = [];
  /** By flow: the sockaddr of who is asked. */
  readonly #destinations: Uint8Array[] = [];
  readonly #nextNumber: Int32Array;
  readonly #seen: SeenNumbers;
  readonly #startedAt = performance.now();
  readonly #result = { sent: 0, answered: 0, duplicates: 0, corrupt: 0, misdelivered: 0, wrongSource: 0 };
  readonly #sendErrors: Record<string, number> = {};
  #outstanding = 0;
  #truesize = 0;
  #turn = 0;
  #takenAtLastLook = -1;
  #taken = 0;

  constructor(spec: DatagramLoadSpec) {
    this.#spec = spec;
    this.#nextNumber = new Int32Array(spec.flows);
    this.#seen = new SeenNumbers(spec.datagrams);
  }

  run(): void {
    const { to, flows } = this.#spec;
    for (let flow = 0; flow < flows; flow++) {
      const destination = parseEndpoint(to[flow % to.length]!)!;
      const sockaddr = new Uint8Array(SOCKADDR_IN6_BYTES);
      this.#destinations.push(sockaddr.subarray(0, encodeSockaddr(destination, sockaddr)));
      // Not connected: an answer from elsewhere would not be seen. Unfragmented ones carry don't-fragment, as the
      // kernel has it by itself.
      const from = destination.address.family === 4 ? "0.0.0.0:0" : "[::]:0";
      this.#sockets.push(this.#program.open({ from }, () => this.#take(flow)));
    }
    this.#look();
    this.#fill();
    this.#program.run(() => {});
  }

  get #total(): number {
    return this.#spec.flows * this.#spec.datagrams;
  }

  #fill(): void {
    const { messages } = this.#program;
    while (this.#result.sent < this.#total) {
      const flow = this.#turn;
      const number = this.#nextNumber[flow]!;
      const cost = costOf(flow, number);
      const isFull = this.#outstanding >= WINDOW || this.#truesize + cost > WINDOW_TRUESIZE;
      // One that is larger than the window goes alone.
      if (this.#outstanding > 0 && isFull) return;
      const bytes = writeLoad(messages.payload, REQUEST, flow, number);
      const destination = this.#destinations[flow]!;
      messages.name.bytes.set(destination);
      const sent = messages.sendBack(this.#sockets[flow]!.fd, bytes, destination.length);
      if (sent < 0) this.#sendErrors[-sent] = (this.#sendErrors[-sent] ?? 0) + 1;
      this.#result.sent++;
      this.#nextNumber[flow] = number + 1;
      this.#outstanding++;
      this.#truesize += cost;
      this.#turn = (flow + 1) % this.#spec.flows;
    }
  }

  #take(flow: number): void {
    const { messages } = this.#program;
    const { payload, name } = messages;
    const destination = this.#destinations[flow]!;
    const result = this.#result;
    for (;;) {
      const bytes = messages.receiveBytes(this.#sockets[flow]!.fd);
      if (bytes < 0) {
        if (typeof messages.receiveError(this.#sockets[flow]!.fd) === "number") break;
        continue;
      }
      const [kind, of, number] = payload.words as unknown as [number, number, number];
      if (kind !== ANSWER || number >= this.#spec.datagrams || !isWhole(payload, bytes)) result.corrupt++;
      else if (destination.some((byte, at) => byte !== name.bytes[at])) result.wrongSource++;
      else if (of !== flow) result.misdelivered++;
      else if (!this.#seen.add(flow, number)) result.duplicates++;
      else {
        result.answered++;
        this.#taken++;
        this.#outstanding = Math.max(0, this.#outstanding - 1);
        this.#truesize = Math.max(0, this.#truesize - costOf(flow, number));
      }
    }
    this.#fill();
    if (result.answered === this.#total) this.#finish();
  }

  /** Gives up what does not come. */
  #look(): void {
    this.#program.after(GIVE_UP_MS, () => {
      if (this.#taken === this.#takenAtLastLook) {
        this.#outstanding = 0;
        this.#truesize = 0;
        if (this.#result.sent === this.#total) this.#finish();
        this.#fill();
      }
      this.#takenAtLastLook = this.#taken;
      this.#look();
    });
  }

  #finish(): never {
    const durationMs = Math.round(performance.now() - this.#startedAt);
    const result: DatagramLoadResult = { ...this.#result, sendErrors: this.#sendErrors, durationMs };
    reportLine(result);
    Deno.exit(0);
  }
}

/** Of a request and of its answer, whichever is more. */
function costOf(flow: number, number: number): number {
  const bytes = Math.max(loadBytes(REQUEST, flow, number), loadBytes(ANSWER, flow, number));
  return Math.ceil(bytes / FRAGMENT) * PACKET_TRUESIZE;
}

if (import.meta.main) new DatagramLoad(JSON.parse(Deno.args[0]!) as DatagramLoadSpec).run();
