/**
 * Which session carries a datagram: the one that its client already has for there, or one by the way that the router
 * names. Datagrams that are to go nowhere end here.
 *
 * A client endpoint has a session for each way that is in use, all of one way through one socket. The router is asked
 * for a destination that is not the last one of any of them; so a flow that goes on keeps its way when the router is
 * exchanged.
 *
 * @module
 */
import { IPPROTO_UDP } from "../ffi/mod.ts";
import type { Route, Router } from "../flow/mod.ts";
import type { Carriage } from "./carriage.ts";
import { DatagramFacts } from "./flow_facts.ts";
import { Refusals } from "./refusal.ts";
import type { Session } from "./session.ts";
import type { SessionStore } from "./session_store.ts";

/** Asks for sessions, one datagram after the other. */
export class Steering {
  readonly #context: Carriage;
  readonly #sessions: SessionStore;
  readonly #facts: DatagramFacts;
  readonly #refusals: Refusals;

  constructor(context: Carriage, sessions: SessionStore) {
    this.#context = context;
    this.#sessions = sessions;
    this.#facts = new DatagramFacts(context, context.inbox);
    this.#refusals = new Refusals(context);
  }

  /**
   * The session of datagram `i` of the inbox, which is looked at.
   *
   * @param known the first session of its client, as it was before this batch; it may be over.
   * @returns undefined: the datagram is not carried, which has been counted and told.
   */
  sessionOf(i: number, router: Router, known: Session | undefined): Session | undefined {
    const { inbox, reactor, arena: { words } } = this.#context;
    const nameAt = inbox.nameAt(i), at = inbox.destinationAt >> 2;
    const first = known !== undefined && !known.isOver ? known : this.#sessions.find(nameAt);
    for (let session = first; session !== undefined; session = session.sibling) {
      if (!session.lastDestination.is(words, at)) continue;
      if (router.only !== undefined) adopt(session, router.only);
      // The listener has said so of the first one alone.
      session.activeTick = reactor.timers.tick;
      return session;
    }
    const route = router.only ?? this.#choose(router, nameAt >> 2, at);
    if (route.kind === "block") {
      this.#refusals.block(i, route);
      return undefined;
    }
    for (let session = first; session !== undefined; session = session.sibling) {
      if (!adopt(session, route)) continue;
      session.activeTick = reactor.timers.tick;
      return session;
    }
    return route.kind === "direct" ? this.#open(nameAt, route) : this.#openBy(i, route);
  }

  close(): void {
    this.#facts.close();
  }

  #choose(router: Router, clientAt: number, destinationAt: number): Route {
    this.#facts.begin(clientAt);
    return router.choose(IPPROTO_UDP, this.#context.arena.words, clientAt, destinationAt, this.#facts);
  }

  #open(nameAt: number, route: Route & { readonly kind: "direct" }): Session | undefined {
    // To make room, a session may be closed that has datagrams waiting.
    this.#context.flushOutboxes();
    return this.#sessions.open(nameAt, route, undefined);
  }

  #openBy(i: number, route: Route & { readonly kind: "upstream" }): Session | undefined {
    const { failedUpstreams, reactor, inbox } = this.#context;
    const { datagrams } = route;
    if (datagrams === undefined) {
      this.#refusals.refuse(i, route);
      return undefined;
    }
    if (failedUpstreams.find(datagrams, reactor.now) === undefined) {
      this.#context.flushOutboxes();
      const opened = this.#sessions.open(inbox.nameAt(i), route, datagrams);
      if (opened !== undefined) return opened;
    }
    const end = failedUpstreams.find(datagrams, reactor.now);
    if (end !== undefined) this.#refusals.refuse(i, route, end);
    return undefined;
  }
}

/** Lets a session be found by a route that leads the same way as its own. @returns whether it does. */
function adopt(session: Session, route: Route): boolean {
  if (route.kind === "block" || !isSameWay(session.route, route)) return false;
  session.route = route;
  return true;
}

/** Whether what leaves by one would leave in just the same way by the other, of another router perhaps. */
function isSameWay(one: Route, other: Route): boolean {
  if (one === other) return true;
  if (one.kind === "upstream") return other.kind === "upstream" && one.datagrams === other.datagrams;
  return one.kind === "direct" && other.kind === "direct" && one.source === other.source &&
    one.interface === other.interface && one.mark === other.mark && one.dscp === other.dscp;
}
