/**
 * A TCP connection that keeps account: how much went each way, its checksum, and how the other side ended it.
 * The lab's servers and its client are written on this, and report what it knows.
 *
 * @module
 */
import { createHash } from "node:crypto";
import { parseAddress, unmapV4 } from "../../net/address.ts";
import { formatEndpoint } from "../../net/endpoint.ts";
import { closeWithReset } from "./reset.ts";
import { SeededBytes } from "./seeded_bytes.ts";

/**
 * How the other side ended: `open` not at all as far as we read, `fin` end of stream, `reset` RST, `timeout` the
 * kernel gave up on retransmissions, `unreachable` ICMP said so.
 */
export type PeerEnd = "open" | "fin" | "reset" | "timeout" | "unreachable";

/** What one end of a connection saw. Addresses are `ip:port` or `[ip]:port`, checksums hex. */
export interface ConnectionAccount {
  readonly local: string;
  readonly peer: string;
  readonly received: number;
  readonly receivedSha256: string;
  readonly sent: number;
  readonly sentSha256: string;
  readonly end: PeerEnd;
}

/** Errors of the other side or the network become {@linkcode PeerEnd} values; only our own mistakes throw. */
export class AccountedConnection {
  readonly local: string;
  readonly peer: string;
  received = 0;
  sent = 0;
  end: PeerEnd = "open";
  readonly #connection: Deno.TcpConn;
  readonly #receivedHash = createHash("sha256");
  readonly #sentHash = createHash("sha256");
  #isClosed = false;

  constructor(connection: Deno.TcpConn) {
    this.#connection = connection;
    this.local = netAddrText(connection.localAddr);
    this.peer = netAddrText(connection.remoteAddr);
    // Ragged writes are to leave as they are made.
    connection.setNoDelay(true);
  }

  /** Reads once. Zero: the other side has ended, or we have closed. */
  async read(buffer: Uint8Array): Promise<number> {
    try {
      const n = await this.#connection.read(buffer);
      if (n === null) {
        // After a write has been told of a reset, a read is told of the end of stream.
        if (this.end === "open") this.end = "fin";
        return 0;
      }
      this.received += n;
      this.#receivedHash.update(buffer.subarray(0, n));
      return n;
    } catch (error) {
      return this.#failed(error);
    }
  }

  /** Writes all of `data`. False: the other side is gone, or we have closed. */
  async write(data: Uint8Array): Promise<boolean> {
    try {
      for (let offset = 0; offset < data.length;) {
        const n = await this.#connection.write(data.subarray(offset));
        this.#sentHash.update(data.subarray(offset, offset + n));
        this.sent += n;
        offset += n;
      }
      return true;
    } catch (error) {
      return this.#failed(error) !== 0;
    }
  }

  /** Writes `bytes` bytes made from `seed`, in pieces of the sizes `nextSize` gives. False as for `write`. */
  async writeSeeded(seed: number, bytes: number, nextSize: () => number): Promise<boolean> {
    const source = new SeededBytes(seed);
    for (let left = bytes; left > 0;) {
      const piece = source.next(Math.min(left, nextSize()));
      if (!await this.write(piece)) return false;
      left -= piece.length;
    }
    return true;
  }

  /** Reads until the other side ends, and throws away what comes. */
  async drain(): Promise<void> {
    const buffer = new Uint8Array(64 * 1024);
    while (await this.read(buffer) > 0);
  }

  /** Sends FIN and leaves the other direction open. */
  async halfClose(): Promise<void> {
    try {
      await this.#connection.closeWrite();
    } catch (error) {
      // ENOTCONN: a RST came first.
      if (error instanceof Deno.errors.NotConnected) this.end = "reset";
      else this.#failed(error);
    }
  }

  /** Sends RST. Again, or after `close`, is harmless. */
  reset(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    closeWithReset(this.#connection);
  }

  /** Closes both directions. Again, or after `reset`, is harmless. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#connection.close();
  }

  /** Of what has been received so far. */
  receivedSha256(): string {
    return this.#receivedHash.copy().digest("hex");
  }

  /** To be called once, at the end: the checksums are finished by it. */
  account(): ConnectionAccount {
    const { local, peer, received, sent, end } = this;
    const receivedSha256 = this.receivedSha256();
    const sentSha256 = this.#sentHash.digest("hex");
    return { local, peer, received, receivedSha256, sent, sentSha256, end };
  }

  #failed(error: unknown): 0 {
    // Closing while a read or a write waits interrupts it; that is our own doing and says nothing about the peer.
    if (!this.#isClosed) this.end = peerEndOf(error);
    return 0;
  }
}

/** What an error of a socket says about the other side. @throws `error` when it says nothing. */
export function peerEndOf(error: unknown): Exclude<PeerEnd, "open" | "fin"> {
  if (error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe) return "reset";
  // Reset between connect and the runtime's question who is at the other end.
  if (error instanceof Deno.errors.NotConnected) return "reset";
  if (error instanceof Deno.errors.TimedOut) return "timeout";
  const code = (error as { code?: unknown } | null)?.code;
  if (code === "EHOSTUNREACH" || code === "ENETUNREACH" || code === "EACCES") return "unreachable";
  throw error;
}

/** `ip:port`, with a v4-mapped address as the IPv4 address it stands for. */
export function netAddrText(address: Deno.NetAddr): string {
  const parsed = parseAddress(address.hostname);
  if (parsed === undefined) throw new TypeError(`no address: "${address.hostname}"`);
  return formatEndpoint({ address: unmapV4(parsed), port: address.port });
}
