/**
 * Datagrams that are not carried, because the policy blocks them or their upstream cannot take them: counted, told to
 * their client as far as that is wanted, and recorded, each flow once in a while.
 *
 * @module
 */
import { AF_INET, EACCES, ECONNREFUSED, SOCKADDR_IN6_BYTES } from "../ffi/mod.ts";
import type { BlockRoute, ConnectionEnd, Route, UpstreamRoute } from "../flow/mod.ts";
import type { Carriage } from "./carriage.ts";
import { countSegments } from "./inbox.ts";

/** Flows that have been recorded lately are told apart by a hash; of two that share a slot the later one counts. */
const SLOTS = 1024;
const RECORDED_MS = 10_000;

const BLOCKED: ConnectionEnd = { reason: "blocked", side: "proxy" };

/** How a client is told that an upstream would not carry its datagrams: as a router that forbids it, or refused. */
export function refusalErrno({ reason }: ConnectionEnd): number {
  return reason === "blocked" || reason === "denied" || reason === "upstream-auth" ? EACCES : ECONNREFUSED;
}

/** One worker's. */
export class Refusals {
  readonly #context: Carriage;
  readonly #seed: number;
  readonly #hashes = new Int32Array(SLOTS);
  readonly #recordedMs = new Float64Array(SLOTS).fill(-RECORDED_MS);

  constructor(context: Carriage) {
    this.#context = context;
    this.#seed = context.random() | 0;
  }

  /** The policy blocks the datagram that the inbox looks at, number `i` of its batch. */
  block(i: number, route: BlockRoute): void {
    this.#count("udpBlocked", i);
    if (route.how !== "drop") this.#tell(i, route.how === "icmp" ? EACCES : ECONNREFUSED);
    this.#record(i, BLOCKED, route);
  }

  /** Its upstream carries none, or has just failed in this way. */
  refuse(i: number, route: UpstreamRoute, end: ConnectionEnd = BLOCKED): void {
    this.#count("udpUpstreamRefused", i);
    this.#tell(i, refusalErrno(end));
    this.#record(i, end, route);
  }

  #count(name: "udpBlocked" | "udpUpstreamRefused", i: number): void {
    const { inbox } = this.#context;
    this.#context.count(name, countSegments(inbox.payloadLength(i), inbox.segmentBytes));
  }

  #tell(i: number, errno: number): void {
    const { inbox, undelivered } = this.#context;
    const length = inbox.payloadLength(i);
    const first = inbox.segmentBytes === 0 ? length : Math.min(inbox.segmentBytes, length);
    const payload = { offset: inbox.payloadAt(i), length: first };
    undelivered.refuse(errno, this.#client(i), this.#destination(), payload, first);
  }

  #record(i: number, end: ConnectionEnd, route: Route): void {
    const { onFlow, reactor } = this.#context;
    if (onFlow === undefined) return;
    const client = this.#client(i), destination = this.#destination();
    const hash = this.#hash(client) ^ Math.imul(this.#hash(destination), 0x9e3779b1);
    const slot = (hash ^ hash >>> 16) & SLOTS - 1;
    if (this.#hashes[slot] === hash && reactor.now - this.#recordedMs[slot]! < RECORDED_MS) return;
    this.#hashes[slot] = hash;
    this.#recordedMs[slot] = reactor.now;
    onFlow(client, destination, undefined, 0, 0, 0, 0, 0, end, route);
  }

  #client(i: number): Uint8Array {
    const { arena, inbox } = this.#context;
    return arena.bytes.subarray(inbox.nameAt(i), inbox.nameAt(i) + SOCKADDR_IN6_BYTES);
  }

  #destination(): Uint8Array {
    const { arena, inbox: { destinationAt } } = this.#context;
    return arena.bytes.subarray(destinationAt, destinationAt + SOCKADDR_IN6_BYTES);
  }

  /** FNV-1a over port and address. */
  #hash(sockaddr: Uint8Array): number {
    const end = sockaddr[0] === AF_INET ? 8 : 24;
    let hash = this.#seed;
    for (let i = 2; i < end; i++) hash = Math.imul(hash ^ sockaddr[i]!, 0x01000193);
    return hash;
  }
}
