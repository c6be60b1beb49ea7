/**
 * A session whose datagrams leave from here for any destination; what any remote sends to its socket goes to the client,
 * with that remote as its source.
 *
 * @module
 */
import type { DirectRoute } from "../flow/mod.ts";
import type { Carriage } from "./carriage.ts";
import type { Outbox } from "./outbox.ts";
import { Session, type SessionOwner } from "./session.ts";
import type { EndpointKey } from "./session_table.ts";
import { withCodepoint } from "./traffic_class.ts";

/** Payloads up to this pass every link undivided (RFC 1122, section 3.3.3: 576 bytes, 60 of them IP options). */
export const ALWAYS_FITS_BYTES = 508;

/** Straight from here. */
export class DirectSession extends Session {
  readonly #outbox: Outbox;
  readonly #dscp: number | undefined;

  /** @param fd a socket that {@linkcode openUpstreamSocket} has opened. */
  constructor(
    context: Carriage,
    owner: SessionOwner,
    client: EndpointKey,
    route: DirectRoute,
    clientSlot: number,
    fd: number,
  ) {
    super(context, owner, client, route, clientSlot);
    this.fd = fd;
    this.#outbox = this.isV4 ? context.outbox4 : context.outbox6;
    this.#dscp = route.dscp;
  }

  override take(i: number): void {
    const { inbox } = this.context;
    const { destinationAt, segmentBytes } = inbox;
    const length = inbox.payloadLength(i);
    this.noteTaken(destinationAt >> 2, length, segmentBytes);
    const size = segmentBytes === 0 ? length : segmentBytes;
    if (size > ALWAYS_FITS_BYTES) this.setDontFragment(inbox.dontFragment, this.isV4);
    this.#outbox.add(
      this.fd,
      this,
      destinationAt,
      0,
      withCodepoint(inbox.trafficClass, this.#dscp),
      inbox.payloadAt(i),
      length,
      segmentBytes,
    );
  }

  override onSendError(errno: number, nameAt: number, payloadAt: number, length: number): boolean {
    return this.context.undelivered.onSendError(this, errno, nameAt, payloadAt, length);
  }

  protected override passAnswer(first: number, i: number): void {
    const { answers } = this.context;
    const { inbox } = answers;
    const length = inbox.payloadLength(i);
    if (!this.accepts(inbox.nameAt(i) >> 2, length, inbox.segmentBytes)) return;
    answers.send(first, i);
    this.noteAnswered(length, inbox.segmentBytes);
  }
}
