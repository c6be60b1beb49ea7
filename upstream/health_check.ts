/**
 * Finding out whether a member works without any flow: every now and then its server is connected to, or it is asked for
 * a stream, which is closed at once.
 *
 * @module
 */
import { AF_INET, type Dialogue, runTask, SOCKADDR_IN6_BYTES, Timer } from "../ffi/mod.ts";
import type { StreamFailure, StreamOpened, StreamTarget } from "../flow/mod.ts";
import { reach } from "./chain.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import { serverTarget } from "./hop.ts";
import type { Member } from "./group.ts";
import type { HealthCheckSettings } from "./settings.ts";

/** How much sooner or later than the interval a check may come, so that those of many proxies do not meet. */
const JITTER = 0.1;
/** The first one comes within this, or the interval. */
const FIRST_MS = 1000;

/** How a check went. @param failure undefined: well. */
export type CheckObserver = (failure: string | undefined, tookMs: number) => void;

/** Whether there is anything to check: a way that leads through no server of ours fails by its destinations alone. */
export function canCheck(member: Member, check: HealthCheckSettings | undefined): boolean {
  return check !== undefined && (check.target !== undefined || member.entry !== undefined);
}

/** The checks of one member, one after the other. */
export class MemberCheck extends Timer {
  readonly #environment: UpstreamEnvironment;
  readonly #settings: HealthCheckSettings;
  readonly #member: Member;
  readonly #onChecked: CheckObserver;
  readonly #target: StreamTarget | undefined;
  #task: { abort(): void } | undefined;

  /** The first check is yet to come. */
  constructor(
    environment: UpstreamEnvironment,
    settings: HealthCheckSettings,
    member: Member,
    onChecked: CheckObserver,
  ) {
    super();
    this.#environment = environment;
    this.#settings = settings;
    this.#member = member;
    this.#onChecked = onChecked;
    this.#target = settings.target && serverTarget(settings.target);
    environment.reactor.timers.schedule(this, Math.min(settings.intervalMs, FIRST_MS) * Math.random());
  }

  override onTimer(): void {
    const { reactor } = this.#environment;
    const startMs = reactor.now;
    const deadlineMs = startMs + this.#settings.timeoutMs;
    let isDone = false;
    const task = runTask(reactor, this.#ask(deadlineMs), (outcome) => {
      isDone = true;
      this.#task = undefined;
      const tookMs = reactor.now - startMs;
      this.#scheduleNext(tookMs);
      if (!outcome.ok) this.#onChecked(String(outcome.error), tookMs);
      // What this host lacks says nothing of a member.
      else if (outcome.value?.end.reason !== "limit") this.#onChecked(outcome.value?.detail, tookMs);
    });
    if (!isDone) this.#task = task;
  }

  /** No check comes any more; one that is under way says nothing. */
  close(): void {
    this.#environment.reactor.timers.cancel(this);
    this.#task?.abort();
    this.#task = undefined;
  }

  #scheduleNext(tookMs: number): void {
    const delayMs = this.#settings.intervalMs * (1 - JITTER + 2 * JITTER * Math.random());
    this.#environment.reactor.timers.schedule(this, Math.max(0, delayMs - tookMs));
  }

  /** @returns what went wrong, if anything. */
  *#ask(deadlineMs: number): Dialogue<StreamFailure | undefined> {
    const { reactor, sys } = this.#environment;
    const opened = yield* this.#open(deadlineMs);
    if ("detail" in opened) return opened;
    // Whether it is still watched depends on who has opened it.
    reactor.forget(opened.fd);
    sys.close(opened.fd);
    return undefined;
  }

  #open(deadlineMs: number): Dialogue<StreamOpened> {
    const { entry, streams } = this.#member;
    const target = this.#target;
    if (target === undefined) return reach(this.#environment, entry!, entry!.server!, deadlineMs);
    const client = anyOf(target);
    const destination = target instanceof Uint8Array ? target : client;
    return streams.open({ client, destination, target, deadlineMs });
  }
}

/** No address and no port, of the family of the target: nobody's. */
function anyOf(target: StreamTarget): Uint8Array {
  const any = new Uint8Array(SOCKADDR_IN6_BYTES);
  any[0] = target instanceof Uint8Array ? target[0]! : AF_INET;
  return any;
}
