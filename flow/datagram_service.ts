/**
 * What answers datagrams here instead of passing them on, and how its answers reach clients: the seam between the
 * UDP listener and a service such as DNS, neither of which knows the other.
 *
 * @module
 */

/** Takes datagrams off the listener's hands. */
export interface DatagramService {
  /** Datagrams whose answer may still come: a drain waits for them. */
  readonly pending: number;
  /**
   * @param client sockaddr of who sent it; valid during the call only, as the two below.
   * @param dialled sockaddr of where it was going.
   * @param payloadOffset where in the arena it lies; may be written to.
   */
  onDatagram(client: Uint8Array, dialled: Uint8Array, payloadOffset: number, length: number): void;
}

/** Sends datagrams to clients as if they came from elsewhere. */
export interface ReplySender {
  /**
   * The datagram is sent, or copied, when this returns.
   *
   * @param source sockaddr it is to come from.
   * @param payloadOffset where in the arena it lies.
   * @param tos the whole byte: DSCP and ECN.
   */
  reply(client: Uint8Array, source: Uint8Array, payloadOffset: number, length: number, tos: number): void;
}
