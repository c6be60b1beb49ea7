/**
 * Several upstreams by one name: one is chosen for each flow, and another one when the first fails by its own fault. The
 * client has not been heard yet by then, so it notices nothing but the time.
 *
 * A flow tries each member once at most, and those that are up alone. When all are down it fails at once: clients hear
 * of it, and need not wait to find out.
 *
 * @module
 */
import type { Dialogue } from "../ffi/mod.ts";
import type { DatagramUpstream, LiveFlows, StreamFailure, StreamUpstream } from "../flow/mod.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import { upstreamFailed } from "./failure.ts";
import { COOL_DOWN_MS, GroupHealth } from "./health.ts";
import type { Service } from "./health_state.ts";
import type { Hop } from "./hop.ts";
import { type Order, orderOf } from "./member_order.ts";
import type { GroupSettings } from "./settings.ts";

/** A way to leave, whatever its kind. */
export interface Member {
  readonly name: string;
  readonly streams: StreamUpstream;
  /** undefined: it carries none. */
  readonly datagrams: DatagramUpstream | undefined;
  /** Opening a stream has to be done by then; Infinity: as the flow has it. */
  readonly timeoutMs: number;
  /** The first server on the way; undefined: there is none but the destination. */
  readonly entry?: Hop | undefined;
  /** Ends what it does beside flows. */
  close?(): void;
}

/**
 * Makes a group a way like any other. Its checks begin.
 *
 * @param members as `settings.members` has them; at least one.
 */
export function makeGroup(
  environment: UpstreamEnvironment,
  settings: GroupSettings,
  members: readonly Member[],
  coolDownMs: number = COOL_DOWN_MS,
): Member {
  const { name } = settings;
  const health = new GroupHealth(environment, settings, members, coolDownMs);
  const opener = (service: Service) => new GroupOpener(environment, settings, members, health, service);
  const streams = opener("streams");
  const hasDatagrams = members.some(({ datagrams }) => datagrams !== undefined);
  const datagrams = hasDatagrams ? opener("datagrams") : undefined;
  return {
    name,
    timeoutMs: members.reduce((sum, { timeoutMs }) => sum + timeoutMs, 0),
    streams: {
      name,
      open: (request) =>
        streams.open(
          request.deadlineMs,
          (member, deadlineMs) => member.streams.open({ ...request, deadlineMs }),
        ),
    } satisfies StreamUpstream,
    datagrams: datagrams && {
      name,
      openDatagrams: (request) =>
        datagrams.open(
          request.deadlineMs,
          (member, deadlineMs) => member.datagrams!.openDatagrams({ ...request, deadlineMs }),
        ),
    } satisfies DatagramUpstream,
    close: () => health.close(),
  };
}

/** Opens streams, or paths for datagrams. */
class GroupOpener {
  readonly #environment: UpstreamEnvironment;
  readonly #members: readonly Member[];
  readonly #health: GroupHealth;
  /** Those that carry the service. */
  readonly #able: readonly number[];
  readonly #order: Order;
  readonly #allDown: StreamFailure;

  constructor(
    environment: UpstreamEnvironment,
    { kind, name }: GroupSettings,
    members: readonly Member[],
    health: GroupHealth,
    service: Service,
  ) {
    this.#environment = environment;
    this.#members = members;
    this.#health = health;
    this.#able = members.flatMap((member, i) => member[service] === undefined ? [] : i);
    this.#order = orderOf(kind, {
      state: health.state,
      service,
      members: this.#able,
      isChecked: (member) => health.isChecked(member),
    });
    this.#allDown = upstreamFailed(`${kind} ${name}: all members are down`);
  }

  /** Tries one after the other while it is their own fault. @returns the last one's failure when all fail. */
  *open<T extends object>(
    deadlineMs: number,
    openBy: (member: Member, deadlineMs: number) => Dialogue<T | StreamFailure>,
  ): Dialogue<T & { liveFlows?: LiveFlows } | StreamFailure> {
    const { reactor } = this.#environment;
    const tried: number[] = [];
    let failure = this.#allDown;
    for (const member of this.#order(reactor.sharedNow)) {
      const startMs = reactor.now;
      const leftMs = deadlineMs - startMs;
      if (leftMs <= 0) break;
      tried.push(member);
      const shareMs = Math.ceil(leftMs / (1 + this.#othersUp(tried)));
      const outcome = yield* openBy(this.#members[member]!, startMs + shareMs);
      if (!isFailure(outcome)) {
        this.#health.onOpened(member, reactor.now - startMs);
        const liveFlows = this.#health.flowsOf(member);
        return liveFlows === undefined ? outcome : { ...outcome, liveFlows };
      }
      // What the destination does says nothing of the way there.
      if (!outcome.atUpstream) return outcome;
      if (outcome.end.side !== "proxy") this.#health.fail(member, outcome.detail);
      failure = outcome;
    }
    return failure;
  }

  /** Those that may yet be tried: a member that says nothing is not to use up their time. */
  #othersUp(tried: readonly number[]): number {
    return this.#able.filter((member) => !tried.includes(member) && this.#health.state.isUp(member)).length;
  }
}

function isFailure(outcome: object): outcome is StreamFailure {
  return "atUpstream" in outcome;
}
