/**
 * Several upstreams by one name: one is chosen for each flow, and another one when the first fails by its own fault. The
 * client has not been heard yet by then, so it notices nothing but the time.
 *
 * @module
 */
import type { Dialogue } from "../ffi/mod.ts";
import type { DatagramUpstream, StreamFailure, StreamUpstream } from "../flow/mod.ts";
import type { UpstreamEnvironment } from "./environment.ts";
import type { GroupSettings } from "./settings.ts";

/** A way to leave, whatever its kind. */
export interface Member {
  readonly name: string;
  readonly streams: StreamUpstream;
  /** undefined: it carries none. */
  readonly datagrams: DatagramUpstream | undefined;
  /** Opening a stream has to be done by then; Infinity: as the flow has it. */
  readonly timeoutMs: number;
}

/**
 * Makes a group a way like any other.
 *
 * @param members as `settings.members` has them; at least one.
 */
export function makeGroup(
  _environment: UpstreamEnvironment,
  settings: GroupSettings,
  members: readonly Member[],
): Member {
  const { name } = settings;
  const withDatagrams = members.filter(({ datagrams }) => datagrams !== undefined);
  return {
    name,
    timeoutMs: members.reduce((sum, { timeoutMs }) => sum + timeoutMs, 0),
    streams: {
      name,
      open: (request) => firstThatOpens(members, (member) => member.streams.open(request)),
    } satisfies StreamUpstream,
    datagrams: withDatagrams.length === 0 ? undefined : {
      name,
      openDatagrams: (request) =>
        firstThatOpens(withDatagrams, (member) => member.datagrams!.openDatagrams(request)),
    } satisfies DatagramUpstream,
  };
}

/** Tries one after the other while it is their own fault. @returns the last one's failure when all fail. */
function* firstThatOpens<T extends object>(
  members: readonly Member[],
  open: (member: Member) => Dialogue<T | StreamFailure>,
): Dialogue<T | StreamFailure> {
  let outcome: T | StreamFailure | undefined;
  for (const member of members) {
    outcome = yield* open(member);
    if (!("atUpstream" in outcome && outcome.atUpstream)) return outcome;
  }
  return outcome!;
}
