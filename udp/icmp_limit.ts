/**
 * How many ICMP errors clients are sent, in all and each.
 *
 * In all it is what the kernel allows itself: net.ipv4.icmp_msgs_per_sec, 1,000 a second, with bursts of
 * net.ipv4.icmp_msgs_burst, 50. The kernel's limit for each destination (icmp_ratelimit: one a second after six)
 * would leave a resolver that asks a dead server 20 questions waiting for most of them; here a client is allowed
 * a tenth of the whole, so that one that scans cannot use up what the others need.
 *
 * @module
 */
import { AF_INET, sockaddrFamily } from "../ffi/mod.ts";

const INTERVAL_MS = 1;
const BURST = 50;
const CLIENT_INTERVAL_MS = 10;
const CLIENT_BURST = 20;
/** Clients are told apart by a hash; two that share a slot share its allowance. */
const SLOTS = 256;

/**
 * Token buckets, each kept as one number: the time at which it will be full again (the "generic cell rate
 * algorithm"). Nothing has to be refilled, and a bucket never used is a full one.
 */
export class IcmpLimit {
  #fullAt = 0;
  readonly #clientFullAt = new Float64Array(SLOTS);

  /** Whether one more error may go to `client`, a sockaddr; counts it if so. Times in milliseconds. */
  take(client: Uint8Array, now: number): boolean {
    const slot = slotOf(client);
    const fullAt = Math.max(this.#fullAt, now), clientFullAt = Math.max(this.#clientFullAt[slot]!, now);
    if (fullAt - now > (BURST - 1) * INTERVAL_MS) return false;
    if (clientFullAt - now > (CLIENT_BURST - 1) * CLIENT_INTERVAL_MS) return false;
    this.#fullAt = fullAt + INTERVAL_MS;
    this.#clientFullAt[slot] = clientFullAt + CLIENT_INTERVAL_MS;
    return true;
  }
}

function slotOf(client: Uint8Array): number {
  const isV4 = sockaddrFamily(client) === AF_INET;
  const start = isV4 ? 4 : 8, end = isV4 ? 8 : 24;
  let hash = 0;
  for (let i = start; i < end; i++) hash = Math.imul(hash ^ client[i]!, 0x01000193);
  return (hash ^ hash >>> 8 ^ hash >>> 16) & (SLOTS - 1);
}
