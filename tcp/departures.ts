/**
 * Which way accepted connections leave: asks the router, dials or has an upstream dial, and keeps the set of all that
 * have left and are not over. The listener has accepted and admitted them, and hears when one is over.
 *
 * @module
 */
import { EADDRNOTAVAIL, EMFILE, ENFILE, errnoName, MSG_PEEK } from "../ffi/mod.ts";
import { type ConnectionEnd, dialFailure } from "../flow/connection_end.ts";
import type {
  BlockRoute,
  DirectRoute,
  LiveFlows,
  Route,
  StreamFailure,
  StreamOpen,
  UpstreamRoute,
} from "../flow/mod.ts";
import { Connection, type ConnectionAddresses, type ConnectionOwner } from "./connection.ts";
import { acknowledgeAtOnce, dial, dialByRoute, isPlain } from "./dial.ts";
import { ResolverDial, type ResolverDialOwner } from "./resolver_dial.ts";
import { SilentClient, type SilentClientOwner } from "./silent_client.ts";
import { UpstreamDial, type UpstreamDialOwner } from "./upstream_dial.ts";
import type { TcpContext } from "./worker_context.ts";

const IPPROTO_TCP = 6;
const BLOCKED: ConnectionEnd = { reason: "blocked", side: "proxy" };

/** In the order of how often they are met. */
type Departed = Connection | UpstreamDial | ResolverDial | SilentClient;

/** Told what concerns the listener. */
export interface DeparturesOwner {
  /** A connection is over that was admitted with this slot, see flow/client_limit.ts. */
  onOver(slot: number): void;
  /** No descriptor was left for one. */
  onFdsExhausted(detail: string): void;
}

/** Every connection of one listener that is being dialled or carried. */
export class Departures implements ConnectionOwner, ResolverDialOwner, UpstreamDialOwner, SilentClientOwner {
  readonly #context: TcpContext;
  readonly #owner: DeparturesOwner;
  readonly #departed = new Set<Departed>();
  #onIdle: (() => void) | undefined;

  constructor(context: TcpContext, owner: DeparturesOwner) {
    this.#context = context;
    this.#owner = owner;
  }

  /** How many there are. */
  get size(): number {
    return this.#departed.size;
  }

  /** @param onIdle called once there is none any more; possibly at once. No further one comes. */
  drain(onIdle: () => void): void {
    // Nobody has to be waited for who is told nothing anyway.
    for (const each of [...this.#departed]) if (each instanceof SilentClient) each.shutDown();
    this.#onIdle = onIdle;
    if (this.#departed.size === 0) onIdle();
  }

  /** Resets all. */
  shutDown(): void {
    this.#onIdle = undefined;
    for (const each of [...this.#departed]) each.shutDown();
    this.#context.facts.close();
  }

  /**
   * Sends an accepted connection on its way to `context.destination`.
   *
   * @param isAnswered whether resolvers of ours answer it, whatever the router says.
   */
  depart(client: number, slot: number, isAnswered: boolean): void {
    const context = this.#context;
    const addresses = context.onFlow === undefined ? undefined : this.#copyAddresses();
    const hasData = context.sys.recv(client, context.value.pointer, 1, MSG_PEEK) === 1;
    if (isAnswered) {
      const dial = new ResolverDial(context, this, client, slot, addresses, hasData);
      this.#departed.add(dial);
      dial.start();
      return;
    }
    const route = context.router.only ?? this.#choose(client);
    if (route.kind === "upstream") this.#dialUpstream(route, client, slot, addresses, hasData);
    else if (route.kind === "block") this.#block(route, client, slot, addresses);
    else this.#dial(route, client, slot, addresses, hasData);
  }

  onConnectionEnd(connection: Connection): void {
    this.#owner.onOver(connection.clientSlot);
    this.#forget(connection);
  }

  onResolverDialled(dial: ResolverDial, upstream: number): void {
    const { client, clientSlot, addresses, hasData, startMs } = dial;
    this.#relay(client, upstream, clientSlot, addresses, hasData, startMs, undefined);
    this.#forget(dial);
  }

  onResolversFailed(dial: ResolverDial, errno: number): void {
    this.#onDialFailed(dial.client, dial.clientSlot, errno, dial.addresses, undefined);
    this.#forget(dial);
  }

  onResolverDialShutDown(dial: ResolverDial): void {
    const end: ConnectionEnd = { reason: "shutdown", side: "proxy" };
    this.#giveUp(dial.client, dial.clientSlot, dial.addresses, end, undefined);
    this.#context.count("tcpDialFailed");
    this.#forget(dial);
  }

  onUpstreamDialled(dial: UpstreamDial, { fd, liveFlows }: StreamOpen): void {
    const { client, clientSlot, hasData, startMs, route } = dial;
    // What the server has said is acknowledged with the client's first bytes, unless it is the destination's turn.
    if (!hasData) acknowledgeAtOnce(this.#context, fd);
    this.#relay(client, fd, clientSlot, dial.addresses, hasData, startMs, route, liveFlows);
    this.#forget(dial);
  }

  onUpstreamFailed(dial: UpstreamDial, failure: StreamFailure): void {
    const { end, atUpstream, detail } = failure;
    this.#giveUp(dial.client, dial.clientSlot, dial.addresses, end, dial.route, dial.startMs);
    // A lack that another upstream would meet with too is one of descriptors or memory.
    if (end.reason === "limit" && !atUpstream) {
      this.#context.count("tcpRefusedFds");
      this.#owner.onFdsExhausted(detail);
    } else {
      this.#context.count("tcpDialFailed");
      if (atUpstream) this.#context.count("tcpUpstreamFailed");
      // A destination that refuses is its own affair, as it is without an upstream.
      if (atUpstream || end.reason === "denied") this.#context.warn("upstream-failed", detail);
    }
    this.#forget(dial);
  }

  onUpstreamDialAborted(dial: UpstreamDial, end: ConnectionEnd): void {
    this.#giveUp(dial.client, dial.clientSlot, dial.addresses, end, dial.route, dial.startMs);
    this.#context.count("tcpDialFailed");
    if (end.side === "client") this.#context.count("tcpClientResets");
    this.#forget(dial);
  }

  onSilenceOver(silent: SilentClient): void {
    const { client, clientSlot, addresses, startMs, route } = silent;
    this.#giveUp(client, clientSlot, addresses, BLOCKED, route, startMs);
    this.#forget(silent);
  }

  #forget(departed: Departed): void {
    this.#departed.delete(departed);
    if (this.#onIdle !== undefined && this.#departed.size === 0) this.#onIdle();
  }

  #choose(client: number): Route {
    const { router, facts, words, peer, destination } = this.#context;
    const clientAt = peer.offset >> 2, destinationAt = destination.offset >> 2;
    facts.begin(client, clientAt, destinationAt);
    return router.choose(IPPROTO_TCP, words, clientAt, destinationAt, facts);
  }

  #dial(
    route: DirectRoute,
    client: number,
    slot: number,
    addresses: ConnectionAddresses | undefined,
    hasData: boolean,
  ): void {
    const context = this.#context;
    const upstream = isPlain(route) ? dial(context, hasData) : dialByRoute(context, route, hasData);
    if (upstream < 0) this.#onDialFailed(client, slot, -upstream, addresses, route);
    else this.#relay(client, upstream, slot, addresses, hasData, context.reactor.now, route);
  }

  #dialUpstream(
    route: UpstreamRoute,
    client: number,
    slot: number,
    addresses: ConnectionAddresses | undefined,
    hasData: boolean,
  ): void {
    const dial = new UpstreamDial(
      this.#context,
      this,
      route,
      client,
      slot,
      addresses ?? this.#copyAddresses(),
      hasData,
    );
    this.#departed.add(dial);
    dial.start();
  }

  #block(
    route: BlockRoute,
    client: number,
    slot: number,
    addresses: ConnectionAddresses | undefined,
  ): void {
    this.#context.count("tcpBlocked");
    if (route.how !== "drop") return this.#giveUp(client, slot, addresses, BLOCKED, route);
    const silent = new SilentClient(this.#context, this, route, client, slot, addresses);
    this.#departed.add(silent);
    silent.start();
  }

  #relay(
    client: number,
    upstream: number,
    slot: number,
    addresses: ConnectionAddresses | undefined,
    hasData: boolean,
    startMs: number,
    route: Route | undefined,
    liveFlows?: LiveFlows,
  ): void {
    const connection = new Connection(
      this.#context,
      this,
      client,
      upstream,
      slot,
      addresses,
      hasData,
      startMs,
      route,
    );
    this.#departed.add(connection);
    if (liveFlows !== undefined) connection.joins(liveFlows);
    connection.start();
  }

  #copyAddresses(): ConnectionAddresses {
    return { client: this.#context.peer.bytes.slice(), destination: this.#context.destination.bytes.slice() };
  }

  #onDialFailed(
    client: number,
    slot: number,
    errno: number,
    addresses: ConnectionAddresses | undefined,
    route: Route | undefined,
  ): void {
    this.#giveUp(client, slot, addresses, dialFailure(errno), route);
    if (errno === EMFILE || errno === ENFILE) {
      this.#context.count("tcpRefusedFds");
      this.#owner.onFdsExhausted(`socket: ${errnoName(errno)}`);
      return;
    }
    this.#context.count("tcpDialFailed");
    if (errno === EADDRNOTAVAIL && this.#context.fixedSource !== undefined) {
      this.#context.warn("source-address", "a connection's source address, such as ::6, is not this host's");
    }
  }

  #giveUp(
    client: number,
    slot: number,
    addresses: ConnectionAddresses | undefined,
    end: ConnectionEnd,
    route: Route | undefined,
    startMs = this.#context.reactor.now,
  ): void {
    this.#context.reset(client);
    this.#owner.onOver(slot);
    if (addresses === undefined) return;
    const durationMs = this.#context.reactor.now - startMs;
    this.#context.onFlow?.(addresses.client, addresses.destination, undefined, 0, 0, durationMs, end, route);
  }
}
