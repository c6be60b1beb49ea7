/**
 * The ways of datagrams through one worker: where clients' arrive, how they leave, how answers leave, and what becomes of
 * those that are not delivered. The listener puts datagrams on them, sessions say where to.
 *
 * @module
 */
import { Answers, ANSWERS_BYTES } from "./answers.ts";
import { ERROR_QUEUE_BYTES } from "./error_queue.ts";
import { FailedUpstreams } from "./failed_upstreams.ts";
import { DATAGRAM_FACTS_BYTES } from "./flow_facts.ts";
import { ICMP_SENDER_BYTES } from "./icmp_sender.ts";
import { Inbox, INBOX_BYTES } from "./inbox.ts";
import { Outbox, OUTBOX_BYTES } from "./outbox.ts";
import { Stage, STAGE_ARENA_BYTES } from "./stage.ts";
import { Undelivered } from "./undelivered.ts";
import type { WaitingBytes } from "./waiting_datagrams.ts";
import { CONTEXT_BYTES, UdpContext, type UdpEnvironment } from "./worker_context.ts";

/** Arena bytes that UDP takes in all. */
export const UDP_BYTES = CONTEXT_BYTES + INBOX_BYTES + 2 * OUTBOX_BYTES + ANSWERS_BYTES + ERROR_QUEUE_BYTES +
  ICMP_SENDER_BYTES + STAGE_ARENA_BYTES + DATAGRAM_FACTS_BYTES + 4096;

/** One worker's. */
export class Carriage extends UdpContext {
  /** What clients have sent. */
  readonly inbox: Inbox;
  /** Towards destinations. */
  readonly outbox4: Outbox;
  readonly outbox6: Outbox;
  readonly answers: Answers;
  /** Of what is on its way to destinations by the outboxes. */
  readonly stage: Stage;
  /** Datagrams that wait for paths of upstreams. */
  readonly waiting: WaitingBytes = { bytes: 0 };
  readonly failedUpstreams: FailedUpstreams = new FailedUpstreams();
  readonly undelivered: Undelivered;

  constructor(environment: UdpEnvironment) {
    super(environment);
    const { sys, arena, settings } = environment;
    this.inbox = new Inbox(arena, settings.dontFragmentMark);
    this.outbox4 = new Outbox(sys, arena, 4, false);
    this.outbox6 = new Outbox(sys, arena, 6, false);
    this.stage = new Stage(arena);
    this.answers = new Answers(this);
    this.undelivered = new Undelivered(this);
  }

  /** Sends towards destinations what waits. */
  flushOutboxes(): void {
    this.#flush(this.outbox4);
    this.#flush(this.outbox6);
    this.stage.clear();
  }

  #flush(outbox: Outbox): void {
    if (outbox.isEmpty) return;
    outbox.flush();
    this.count("udpDatagramsUp", outbox.sentDatagrams);
    this.count("udpBytesUp", outbox.sentBytes);
    if (outbox.lostDatagrams > 0) this.count("udpSendDropsUp", outbox.lostDatagrams);
  }
}
