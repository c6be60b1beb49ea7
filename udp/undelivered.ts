/**
 * What happens about datagrams of clients that were not delivered: errors that came back for them, and refusals of this
 * host's own kernel. The client is told what a router would have told it.
 *
 * @module
 */
import {
  EACCES,
  ECONNREFUSED,
  EHOSTUNREACH,
  EMSGSIZE,
  ENETUNREACH,
  SO_EE_ORIGIN_LOCAL,
  SOCKADDR_IN6_BYTES,
} from "../ffi/mod.ts";
import { ErrorQueue } from "./error_queue.ts";
import { IcmpSender } from "./icmp_sender.ts";
import { type EndpointKey, writeEndpoint } from "./session_table.ts";
import type { UdpContext } from "./worker_context.ts";

/** Errors read at once: more than a socket's buffer holds. What stayed there would fail what is sent next. */
const MAX_ERRORS = 4096;

/** A client and its socket towards destinations. */
export interface Sender extends EndpointKey {
  readonly fd: number;
  /** What the path adds to the client's packets; and of that, what lies in front of a payload. */
  readonly overheadBytes: number;
  readonly headerBytes: number;
  /** Whether an error for a datagram that was sent there is for the client, who has, or may have, written to there. */
  isForClient(errno: number, destination: Uint8Array): boolean;
}

/** One worker's. */
export class Undelivered {
  readonly #context: UdpContext;
  readonly #errors: ErrorQueue;
  readonly #icmp: IcmpSender;
  /** Of the last datagram that was too big: what would have passed. */
  #pathMtu = 0;

  constructor(context: UdpContext) {
    this.#context = context;
    this.#errors = new ErrorQueue(context.sys, context.arena);
    this.#icmp = new IcmpSender(context.sys, context.arena, {
      mark: context.settings.bypassMark,
      now: () => context.reactor.now,
      onUnavailable: (detail) => context.warn("icmp-unavailable", detail),
      onSuppressed: () => context.count("udpIcmpSuppressed"),
    });
  }

  /** Passes on what came back for a client's datagrams. @returns whether anything had. */
  readErrors(sender: Sender): boolean {
    const errors = this.#errors;
    let some = false;
    for (let i = 0; i < MAX_ERRORS && errors.read(sender.fd); i++) {
      some = true;
      if (errors.origin === SO_EE_ORIGIN_LOCAL) {
        // Whoever called sendmmsg knows of it too.
        if (errors.errno === EMSGSIZE) this.#pathMtu = errors.info;
        continue;
      }
      // The socket is not connected, so the kernel takes any error that names its port: anyone could send one.
      if (!sender.isForClient(errors.errno, errors.destination)) continue;
      this.#writeClient(sender);
      const header = Math.min(sender.headerBytes, errors.payloadLength);
      const told = this.#icmp.relay(errors, errors.offender, {
        client: this.#context.client.bytes,
        remote: errors.destination,
        offset: errors.payloadOffset + header,
        length: errors.payloadLength - header,
        sentLength: errors.payloadLength - header,
      });
      if (told) this.#context.count("udpIcmpSent");
    }
    return some;
  }

  /**
   * A datagram could not be sent.
   *
   * @param nameAt where the sockaddr of its destination lies in the arena.
   * @returns whether it is worth trying once more: what came for earlier datagrams is reported by the next call,
   * whatever that is about.
   */
  onSendError(sender: Sender, errno: number, nameAt: number, payloadAt: number, length: number): boolean {
    this.#pathMtu = 0;
    const earlier = this.readErrors(sender);
    switch (errno) {
      case EMSGSIZE:
        // A router's "too big" for an earlier datagram is reported so too, but then the kernel did not say it itself.
        if (this.#pathMtu === 0) return earlier;
        this.#context.count("udpTooBig");
        this.#tell(sender, errno, nameAt, payloadAt, length);
        return false;
      case ENETUNREACH:
      case EHOSTUNREACH:
      case EACCES:
        if (!earlier) this.#tell(sender, errno, nameAt, payloadAt, length);
        return earlier;
      default:
        return earlier || errno === ECONNREFUSED;
    }
  }

  /**
   * Tells a client that its datagram is not carried.
   *
   * @param errno ECONNREFUSED: as the destination would, where nobody listens; EACCES: as a router would that forbids it.
   * @param payload where in the arena the payload lies; of one that is there no more, nothing is quoted.
   */
  refuse(
    errno: number,
    client: Uint8Array,
    remote: Uint8Array,
    payload: { readonly offset: number; readonly length: number },
    sentLength: number,
  ): void {
    const offender = errno === ECONNREFUSED ? remote : undefined;
    const told = this.#icmp.unreachable(errno, { client, remote, ...payload, sentLength }, offender);
    if (told) this.#context.count("udpIcmpSent");
  }

  close(): void {
    this.#icmp.close();
  }

  #writeClient(sender: Sender): void {
    writeEndpoint(sender, this.#context.client.words, 0);
  }

  #tell(sender: Sender, errno: number, nameAt: number, payloadAt: number, length: number): void {
    const { client, arena } = this.#context;
    this.#writeClient(sender);
    const about = {
      client: client.bytes,
      remote: arena.bytes.subarray(nameAt, nameAt + SOCKADDR_IN6_BYTES),
      offset: payloadAt,
      length,
      sentLength: length,
    };
    const told = errno === EMSGSIZE
      ? this.#icmp.tooBig(this.#pathMtu - sender.overheadBytes, about)
      : this.#icmp.unreachable(errno, about);
    if (told) this.#context.count("udpIcmpSent");
  }
}
