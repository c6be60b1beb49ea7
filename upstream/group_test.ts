import type { DatagramPath, LiveFlow, StreamFailure, StreamOpened } from "../flow/mod.ts";
import {
  assert,
  assertEquals,
  assertGreaterOrEqual,
  assertLess,
  assertLessOrEqual,
  assertMatch,
} from "../tests/assert.ts";
import { GroupClock, groupSettings, type ToldMember } from "../tests/group_clock.ts";
import { sockaddrOf } from "../tests/upstream_world.ts";
import { makeGroup, type Member } from "./group.ts";
import type { GroupSettings } from "./settings.ts";

const COOL_DOWN_MS = 10_000;
const CLIENT = sockaddrOf("198.51.100.1:4000"), DESTINATION = sockaddrOf("203.0.113.9:443");
const CHECK = { target: undefined, intervalMs: 1000, timeoutMs: 500 };
/** Members open it themselves, so that no socket is needed. */
const TARGET_CHECK = { ...CHECK, target: { host: "host.example", port: 443 } };

function open(world: GroupClock, group: Member, ms = 5000): StreamOpened {
  return world.run(group.streams.open({
    client: CLIENT,
    destination: DESTINATION,
    target: DESTINATION,
    deadlineMs: world.reactor.now + ms,
  }));
}

/** Opens and closes. @returns whether there was a stream. */
function opens(world: GroupClock, group: Member): boolean {
  const opened = open(world, group);
  return "detail" in opened ? false : world.open.delete(opened.fd);
}

function asked(members: readonly ToldMember[]): number[] {
  return members.map((member) => member.asked);
}

function made(world: GroupClock, count: number, change: Partial<GroupSettings> = {}) {
  const members = world.members(count);
  const settings = groupSettings(count, change);
  return { members, settings, group: makeGroup(world.environment(), settings, members) };
}

Deno.test("group: a flow goes on to the next member, each once; after so many failures nobody goes there first", () => {
  using world = new GroupClock();
  const { members, group } = made(world, 3, { fall: 2 });
  members[0]!.behaviour = "fails";
  members[1]!.behaviour = "fails";
  assert(opens(world, group));
  assertEquals([asked(members), world.changes], [[1, 1, 1], []]);
  assert(opens(world, group));
  assertEquals(asked(members), [2, 2, 2]);
  assertEquals(world.changes, [
    {
      group: "g",
      member: "m0",
      isUp: false,
      reason: "m0: fails",
      downMs: undefined,
      membersUp: 2,
      members: 3,
    },
    {
      group: "g",
      member: "m1",
      isUp: false,
      reason: "m1: fails",
      downMs: undefined,
      membersUp: 1,
      members: 3,
    },
  ]);
  assert(opens(world, group));
  assertEquals(asked(members), [2, 2, 3]);
});

Deno.test("group: what the destination does is passed on, and held against nobody", () => {
  using world = new GroupClock();
  const { members, group } = made(world, 2, { fall: 1 });
  members[0]!.behaviour = "refuses";
  for (let i = 0; i < 5; i++) {
    const refused = open(world, group) as StreamFailure;
    assertEquals([refused.end.reason, refused.atUpstream], ["refused", false]);
  }
  assertEquals([asked(members), world.changes], [[5, 0], []]);
});

Deno.test("group: a member towards which no port is free is passed by, and stays up", () => {
  using world = new GroupClock();
  const { members, group } = made(world, 2, { fall: 1 });
  members[0]!.behaviour = "is crowded";
  for (let i = 0; i < 3; i++) assert(opens(world, group));
  assertEquals([asked(members), world.changes], [[3, 3], []]);
  members[1]!.behaviour = "is crowded";
  const failed = open(world, group) as StreamFailure;
  assertEquals([failed.end, world.changes], [{ reason: "limit", side: "proxy" }, []]);
});

Deno.test("group: with all members down a flow fails at once and asks nobody, until one flow may try again", () => {
  using world = new GroupClock();
  const { members, group } = made(world, 2, { fall: 1 });
  for (const member of members) member.behaviour = "fails";
  assertEquals((open(world, group) as StreamFailure).detail, "m1: fails");
  assertEquals(world.changes.map(({ membersUp }) => membersUp), [1, 0]);
  const startMs = world.reactor.now;
  const failed = open(world, group) as StreamFailure;
  assertEquals([failed.fd, failed.end.reason, failed.atUpstream], [-1, "upstream-failed", true]);
  assertEquals(failed.detail, "failover g: all members are down");
  assertEquals([world.reactor.now, asked(members)], [startMs, [1, 1]]);
  // Each is tried by one flow, and only by one.
  world.pass(COOL_DOWN_MS);
  assert(!opens(world, group));
  assert(!opens(world, group));
  assertEquals(asked(members), [2, 2]);
  world.pass(COOL_DOWN_MS);
  members[1]!.behaviour = "opens";
  assert(opens(world, group));
  assertEquals(asked(members), [3, 3]);
  const back = world.changes.at(-1)!;
  assertEquals([back.member, back.isUp, back.reason, back.membersUp], ["m1", true, undefined, 1]);
  assertGreaterOrEqual(back.downMs!, 2 * COOL_DOWN_MS);
  assert(opens(world, group));
  assertEquals([asked(members), world.changes.length], [[3, 4], 3]);
});

Deno.test("group: a member that says nothing leaves time for those after it", () => {
  using world = new GroupClock();
  const members = world.members(3);
  const shares: number[] = [];
  const waiting = members.map((member): Member => ({
    ...member,
    streams: {
      name: member.name,
      *open({ deadlineMs }) {
        shares.push(deadlineMs - world.reactor.now);
        yield { fd: 0, timeoutMs: deadlineMs - world.reactor.now };
        return yield* member.streams.open({
          client: CLIENT,
          destination: DESTINATION,
          target: DESTINATION,
          deadlineMs,
        });
      },
    },
  }));
  for (const member of members) member.behaviour = "fails";
  const group = makeGroup(world.environment(), groupSettings(3), waiting);
  const startMs = world.reactor.now;
  assertEquals((open(world, group, 9000) as StreamFailure).detail, "m2: fails");
  assertEquals([shares, world.reactor.now - startMs], [[3000, 3000, 3000], 9000]);
});

Deno.test("group: datagrams leave by those who carry them, and count like streams", () => {
  using world = new GroupClock();
  const members = world.members(3).map((member, i) => i === 0 ? { ...member, datagrams: undefined } : member);
  const told = world.members(2);
  const group = makeGroup(world.environment(), groupSettings(3, { fall: 1, liveFlows: "reset" }), [
    members[0]!,
    ...told,
  ]);
  told[0]!.behaviour = "fails";
  const path = (): DatagramPath =>
    world.run(group.datagrams!.openDatagrams({ client: CLIENT, deadlineMs: Infinity })) as DatagramPath;
  assert(path().liveFlows !== undefined);
  path();
  assertEquals([asked(told), world.changes.map(({ member }) => member)], [[1, 2], ["m0"]]);
  const none = makeGroup(world.environment(), groupSettings(1), [members[0]!]);
  assertEquals(none.datagrams, undefined);
});

Deno.test("group, checks: so many failures take a member out, so many successes bring it back, no flow is needed", () => {
  using world = new GroupClock();
  const { members, group } = made(world, 2, { check: TARGET_CHECK, rise: 3, fall: 2 });
  world.pass(5000);
  const [first, second] = asked(members);
  assertGreaterOrEqual(first!, 3);
  assertLessOrEqual(first!, 6);
  assertGreaterOrEqual(second!, 3);
  assertEquals([world.open.size, world.changes], [0, []]);
  // A destination that refuses a check is no better than a server that fails.
  members[0]!.behaviour = "refuses";
  world.pass(4000);
  assertEquals(world.changes.map(({ member, isUp, reason }) => [member, isUp, reason]), [
    ["m0", false, "m0: refused"],
  ]);
  const before = members[0]!.asked;
  for (let i = 0; i < 10; i++) assert(opens(world, group));
  assertEquals(members[0]!.asked, before);
  members[0]!.behaviour = "opens";
  // At most two checks.
  world.pass(1800);
  assertEquals(world.changes.length, 1);
  world.pass(4000);
  assertEquals(world.changes.map(({ member, isUp }) => [member, isUp]), [["m0", false], ["m0", true]]);
});

Deno.test("group, checks: no flow tries a member that is down; while all are, flows fail at once", () => {
  using world = new GroupClock();
  const { members, group } = made(world, 2, { check: TARGET_CHECK, fall: 1 });
  for (const member of members) member.behaviour = "fails";
  world.pass(3000);
  for (let seconds = 0; seconds < 30; seconds++) {
    const before = asked(members), startMs = world.reactor.now;
    assertMatch((open(world, group) as StreamFailure).detail, /all members are down/);
    assertEquals([asked(members), world.reactor.now], [before, startMs]);
    world.pass(1000);
  }
  members[1]!.behaviour = "opens";
  world.pass(3000);
  assert(opens(world, group));
});

Deno.test("group, checks: one that hangs ends at its deadline, and the next one comes nevertheless", () => {
  using world = new GroupClock();
  const { members } = made(world, 1, { check: TARGET_CHECK, fall: 1 });
  members[0]!.behaviour = "hangs";
  world.pass(5000);
  assertEquals(world.changes.map(({ isUp }) => isUp), [false]);
  members[0]!.behaviour = "opens";
  world.pass(5000);
  assertEquals(world.changes.map(({ isUp }) => isUp), [false, true]);
});

Deno.test("group, checks: each member is one worker's to check, and what it finds out all know", () => {
  using world = new GroupClock();
  const settings = groupSettings(3, { check: TARGET_CHECK, fall: 1 });
  const workers = [0, 1].map((index) => {
    const members = world.members(3);
    members[1]!.behaviour = "fails";
    return { members, group: makeGroup(world.environment(index, 2), settings, members) };
  });
  world.pass(3000);
  assertEquals(workers.map(({ members }) => asked(members).map((n) => n > 0)), [
    [true, false, true],
    [false, true, false],
  ]);
  assertEquals(world.changes.map(({ member }) => member), ["m1"]);
  // The other worker's flows never go there.
  const [{ members, group }] = workers as [typeof workers[0]];
  members[0]!.behaviour = "fails";
  const before = members[1]!.asked;
  assert(opens(world, group));
  assertEquals(members[1]!.asked, before);
});

Deno.test("group, checks: closed, no check comes, one under way is given up, and flows still find their way", () => {
  using world = new GroupClock();
  const { members, group } = made(world, 2, { check: TARGET_CHECK, fall: 1 });
  members[0]!.behaviour = "hangs";
  // A check of the first hangs now.
  while (members[0]!.asked === 0) world.pass(100);
  group.close!();
  assertEquals(world.reactor.timers.size, 0);
  const before = asked(members);
  world.pass(10_000);
  assertEquals([asked(members), world.changes], [before, []]);
  members[0]!.behaviour = "fails";
  assert(opens(world, group));
  assertEquals(world.changes.map(({ member }) => member), ["m0"]);
});

Deno.test("group, checks: straight from here, there is nothing to check without a target", () => {
  using world = new GroupClock();
  const members = world.members(2);
  makeGroup(world.environment(), groupSettings(2, { check: CHECK }), members);
  assertEquals(world.reactor.timers.size, 0);
  makeGroup(world.environment(), groupSettings(2, { check: TARGET_CHECK }), members);
  assertEquals(world.reactor.timers.size, 2);
});

Deno.test("group, checks: a lack of descriptors here is nobody's failure", () => {
  using world = new GroupClock();
  const { members } = made(world, 1, { check: TARGET_CHECK, fall: 1 });
  members[0]!.behaviour = "lacks";
  world.pass(5000);
  assertGreaterOrEqual(members[0]!.asked, 3);
  assertEquals(world.changes, []);
});

Deno.test("group, checks: a worker that takes the place of another goes on where that was", () => {
  using world = new GroupClock();
  const { members, settings, group } = made(world, 1, { check: TARGET_CHECK, fall: 1, rise: 2 });
  members[0]!.behaviour = "fails";
  world.pass(3000);
  // A worker that dies closes nothing, and checks no more.
  group.close!();
  const again = world.members(1);
  const next = makeGroup(world.environment(), settings, again);
  assert(!opens(world, next));
  assertEquals(again[0]!.asked, 0);
  world.pass(5000);
  assert(opens(world, next));
  assertEquals(world.changes.map(({ isUp }) => isUp), [false, true]);
});

/** A flow that notes when it was ended. */
class NotedFlow implements LiveFlow {
  ended = 0;
  endByUpstream(): void {
    this.ended++;
  }
}

Deno.test("group: flows of a member that goes down end, if they are to; the others' do not, nor later ones", () => {
  using world = new GroupClock();
  const { members, group } = made(world, 2, { fall: 1, kind: "round-robin", liveFlows: "reset" });
  const flowBy = (): [NotedFlow, () => void] => {
    const opened = open(world, group);
    assert(!("detail" in opened) && opened.liveFlows !== undefined);
    const flow = new NotedFlow();
    opened.liveFlows.add(flow);
    return [flow, () => opened.liveFlows!.delete(flow)];
  };
  const [first] = flowBy(), [second] = flowBy();
  const [over, leave] = flowBy();
  leave();
  flowBy();
  members[0]!.behaviour = "fails";
  flowBy();
  assertEquals([first.ended, second.ended, over.ended], [1, 0, 0]);
  members[0]!.behaviour = "opens";
  world.pass(COOL_DOWN_MS);
  const [later] = flowBy(), [latest] = flowBy();
  assertEquals(world.changes.map(({ isUp }) => isUp), [false, true]);
  world.pass(3000);
  assertEquals([first.ended, second.ended, later.ended, latest.ended], [1, 0, 0, 0]);
});

Deno.test("group: what another worker finds out ends flows within a second or so, after a reload too", () => {
  using world = new GroupClock();
  const settings = groupSettings(2, { fall: 1, liveFlows: "reset" });
  const here = makeGroup(world.environment(0, 2), settings, world.members(2));
  const others = world.members(2);
  const there = makeGroup(world.environment(1, 2), settings, others);
  const opened = open(world, here);
  assert(!("detail" in opened));
  const flow = new NotedFlow();
  opened.liveFlows!.add(flow);
  here.close!();
  others[0]!.behaviour = "fails";
  opens(world, there);
  assertEquals(flow.ended, 0);
  const startMs = world.reactor.now;
  while (flow.ended === 0 && world.reactor.now - startMs < 5000) world.pass(100);
  assertEquals(flow.ended, 1);
  assertLess(world.reactor.now - startMs, 1500);
  // Nobody to look after.
  opened.liveFlows!.delete(flow);
  world.pass(2000);
  assertEquals(world.reactor.timers.size, 0);
});

Deno.test("group: flows that are to be left alone are not entered anywhere", () => {
  using world = new GroupClock();
  const { group } = made(world, 1);
  const opened = open(world, group);
  assert(!("detail" in opened));
  assertEquals(opened.liveFlows, undefined);
  assertEquals(world.reactor.timers.size, 0);
});

Deno.test("group, least-latency: flows go where the checks are answered soonest", () => {
  using world = new GroupClock();
  const { members, group } = made(world, 2, { kind: "least-latency", check: TARGET_CHECK });
  members[0]!.latencyMs = 60;
  members[1]!.latencyMs = 20;
  world.pass(3000);
  const flows = (): number[] => {
    const before = asked(members), latencies = members.map(({ latencyMs }) => latencyMs);
    // No time passes, and so no check comes.
    for (const member of members) member.latencyMs = 0;
    for (let i = 0; i < 10; i++) opens(world, group);
    members.forEach((member, i) => member.latencyMs = latencies[i]!);
    return asked(members).map((n, i) => n - before[i]!);
  };
  assertEquals(flows(), [0, 10]);
  // Better, but not clearly.
  members[0]!.latencyMs = 17;
  world.pass(60_000);
  assertEquals(flows(), [0, 10]);
  members[0]!.latencyMs = 5;
  world.pass(60_000);
  assertEquals(flows(), [10, 0]);
});
