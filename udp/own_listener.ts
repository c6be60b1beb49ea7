/**
 * Tells datagrams that must not be carried on, because it would be to send them to this host: those that were sent
 * straight to a listening port of ours, without end; those to a loopback address to services that other hosts are not
 * meant to reach.
 *
 * @module
 */
import {
  isLoopbackDestination,
  setSockaddrPort,
  SOCK_CLOEXEC,
  SOCK_DGRAM,
  SOCKADDR_IN6_BYTES,
  sockaddrFamily,
  sockaddrLength,
} from "../ffi/mod.ts";
import { endpointKey } from "./session_table.ts";
import type { UdpContext } from "./worker_context.ts";

/** How long an answer holds: addresses come and go, but not in each other's milliseconds. */
const HOLDS_MS = 1000;

/** Knows the ports of all workers, and asks the kernel which addresses are this host's. */
export class OwnListener {
  readonly #context: UdpContext;
  /** The last question and its answer: whoever sends to such a port sends many. */
  #asked: ReturnType<typeof endpointKey> | undefined;
  #answer = false;
  #askedMs = 0;

  constructor(context: UdpContext) {
    this.#context = context;
  }

  /**
   * Whether the destination whose sockaddr is at `destinationAt` is a listening port of ours, or a loopback address.
   *
   * Another host may serve the same port number. An address is this host's if a socket may be bound to it (with
   * net.ipv4.ip_nonlocal_bind=1 every address may: then our port numbers on other hosts are refused too).
   */
  is(destinationAt: number): boolean {
    const { arena, settings, reactor } = this.#context;
    if (isLoopbackDestination(arena.words, destinationAt >> 2)) return true;
    const familyPort = arena.words[destinationAt >> 2]!;
    const port = (familyPort >>> 16 & 0xff) << 8 | familyPort >>> 24;
    if (port < settings.firstPort || port >= settings.firstPort + settings.workers) return false;
    const key = endpointKey(arena.words, destinationAt >> 2);
    if (this.#isAsked(key) && reactor.now - this.#askedMs < HOLDS_MS) return this.#answer;
    this.#asked = key;
    this.#askedMs = reactor.now;
    return this.#answer = this.#isHere(destinationAt);
  }

  #isAsked(key: ReturnType<typeof endpointKey>): boolean {
    const asked = this.#asked;
    return asked !== undefined && asked.familyPort === key.familyPort && asked.address0 === key.address0 &&
      asked.address1 === key.address1 && asked.address2 === key.address2 && asked.address3 === key.address3;
  }

  #isHere(destinationAt: number): boolean {
    const { sys, arena, address } = this.#context;
    address.bytes.set(arena.bytes.subarray(destinationAt, destinationAt + SOCKADDR_IN6_BYTES));
    const probe = sys.socket(sockaddrFamily(address.bytes), SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (probe < 0) return true;
    setSockaddrPort(address.bytes, 0);
    const result = sys.bind(probe, address.pointer, sockaddrLength(address.bytes));
    sys.close(probe);
    return result === 0;
  }
}
