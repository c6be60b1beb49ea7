/**
 * A client that is to hear nothing: of its connection, which is there by the time it reaches us, the kernel drops every
 * packet, so that nothing is acknowledged and its own kernel goes on trying. It costs a descriptor; after the connect
 * timeout it is reset.
 *
 * To close without a word (TCP_REPAIR) would be no way: the next packet would find no socket, be answered with a reset
 * by this host, or be forwarded to the destination (docs/kernel-facts.md).
 *
 * @module
 */
import { SO_ATTACH_FILTER, SOL_SOCKET, Timer } from "../ffi/mod.ts";
import type { BlockRoute } from "../flow/mod.ts";
import type { ConnectionAddresses } from "./connection.ts";
import type { TcpContext } from "./worker_context.ts";

/** sizeof(struct sock_fprog) */
const SOCK_FPROG_BYTES = 16;

/** Told when it is over. It owns the client's socket. */
export interface SilentClientOwner {
  onSilenceOver(silent: SilentClient): void;
}

/** A client that waits in vain. */
export class SilentClient extends Timer {
  readonly startMs: number;
  readonly #context: TcpContext;
  readonly #owner: SilentClientOwner;

  /** @param client the accepted socket, not watched. */
  constructor(
    context: TcpContext,
    owner: SilentClientOwner,
    readonly route: BlockRoute,
    readonly client: number,
    readonly clientSlot: number,
    readonly addresses: ConnectionAddresses | undefined,
  ) {
    super();
    this.#context = context;
    this.#owner = owner;
    this.startMs = context.reactor.now;
  }

  /** The owner may hear that it is over before this returns: where the kernel refuses the filter. */
  start(): void {
    const { sys, reactor, dropAll, settings } = this.#context;
    const result = sys.setsockopt(
      this.client,
      SOL_SOCKET,
      SO_ATTACH_FILTER,
      dropAll.pointer,
      SOCK_FPROG_BYTES,
    );
    if (result < 0) this.#owner.onSilenceOver(this);
    else reactor.timers.schedule(this, settings.connectTimeoutMs);
  }

  override onTimer(): void {
    this.#owner.onSilenceOver(this);
  }

  /** Ends it at once because the worker does. */
  shutDown(): void {
    this.#context.reactor.timers.cancel(this);
    this.#owner.onSilenceOver(this);
  }
}
