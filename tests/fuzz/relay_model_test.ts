/**
 * The relay's state machine under fast-check: arbitrary peers, on a kernel that returns short counts, EAGAIN, ends
 * of stream and errors at every point, also between two system calls of one turn.
 *
 * What must hold is in ../relay_world.ts: each peer reads a prefix of what the other wrote; while both live and
 * read, all of it arrives; a death on one side is a reset on the other; nothing is left over.
 *
 * @module
 */
import fc from "fast-check";
import { ECONNREFUSED, ECONNRESET, ETIMEDOUT } from "../../ffi/mod.ts";
import { assertLess } from "../assert.ts";
import { type Flow, RelayWorld } from "../relay_world.ts";

/** Something that happens to one flow, or to the kernel. */
type Action =
  | { readonly kind: "send" | "read"; readonly side: Side; readonly bytes: number }
  | { readonly kind: "finish" | "reset" | "lose" | "wake"; readonly side: Side }
  | { readonly kind: "accept" }
  | { readonly kind: "refuse" }
  | { readonly kind: "descriptors"; readonly exhausted: boolean }
  | { readonly kind: "pipes"; readonly tooSmall: boolean }
  | { readonly kind: "limits"; readonly limits: readonly number[] }
  | { readonly kind: "sleep"; readonly ms: number };
type Side = "client" | "upstream";

/** `delay`: how many transfers into the turn it happens; 0: before it. */
interface Step {
  readonly flow: number;
  readonly delay: number;
  readonly action: Action;
}

interface Script {
  readonly maxPipes: number;
  readonly fragmentBytes: number;
  readonly largestPipeBytes: number;
  readonly flows: readonly (readonly [receiveCapacity: number, sendCapacity: number])[];
  readonly steps: readonly (readonly Step[])[];
  /** How it ends: the peers finish, or fall silent for good. */
  readonly ending: "finish" | "silence";
}

const side = fc.constantFrom<Side>("client", "upstream");
const bytes = fc.oneof(
  fc.constantFrom(1, 64, 1448, 4096, 65535, 65536, 65537, 131072, 200_000, 2_500_000),
  fc.integer({ min: 1, max: 100_000 }),
);
const action: fc.Arbitrary<Action> = fc.oneof(
  { weight: 8, arbitrary: fc.record({ kind: fc.constant("send" as const), side, bytes }) },
  { weight: 6, arbitrary: fc.record({ kind: fc.constant("read" as const), side, bytes }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant("finish" as const), side }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("reset" as const, "lose" as const), side }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("wake" as const), side }) },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constant("limits" as const),
      limits: fc.array(fc.oneof(fc.constantFrom(0, 1), fc.nat(70_000)), { maxLength: 8 }),
    }),
  },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant("accept" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("refuse" as const) }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("descriptors" as const), exhausted: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("pipes" as const), tooSmall: fc.boolean() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("sleep" as const), ms: fc.nat(6_000) }) },
);
const capacity = fc.constantFrom(700, 5_000, 65_536, 70_000, 300_000, 4_000_000);
const script: fc.Arbitrary<Script> = fc.record({
  maxPipes: fc.constantFrom(0, 1, 2, 3, 100),
  fragmentBytes: fc.constantFrom(512, 1448, 4096, 32768),
  largestPipeBytes: fc.constantFrom(65536, 1024 * 1024),
  flows: fc.array(fc.tuple(capacity, capacity), { minLength: 1, maxLength: 3 }),
  steps: fc.array(
    fc.array(
      fc.record({ flow: fc.nat(2), delay: fc.oneof(fc.constant(0), fc.nat(6)), action }),
      { minLength: 1, maxLength: 5 },
    ),
    { maxLength: 25 },
  ),
  ending: fc.constantFrom("finish", "silence"),
});

/** Turns of the loop in which nothing happens, before all that can happen has happened: more is a loop without end. */
const MAX_ROUNDS = 100_000;

/** Runs a script: each time the relay has nothing more to do, something happens. */
class Director {
  readonly world: RelayWorld;
  readonly #script: Script;
  #next = 0;
  #pending: Step[] = [];
  #rounds = 0;
  /** Until then the clock may jump. */
  #clockRunsFromMs = Infinity;
  #phase: "steps" | "drain" | "ending" = "steps";

  constructor(plan: Script) {
    this.#script = plan;
    this.world = new RelayWorld(plan.maxPipes);
    const { kernel } = this.world;
    kernel.fragmentBytes = plan.fragmentBytes;
    kernel.largestPipeBytes = plan.largestPipeBytes;
    kernel.beforeTransfer = () => this.#betweenCalls();
    kernel.onIdle = (timeoutMs) => this.#onIdle(timeoutMs);
    for (const [receive, send] of plan.flows) this.world.openFlow(receive, send);
    // Somebody is let through at once in most scripts.
    if (plan.flows.length !== 2) this.world.flows.forEach((flow) => flow.accept());
  }

  run(): void {
    this.world.reactor.run();
    for (const flow of this.world.flows) {
      this.#readAll(flow);
      flow.assertEndIsTrue();
      flow.assertEndedInTime(this.#clockRunsFromMs);
    }
    this.world.assertNothingLeft();
  }

  #betweenCalls(): void {
    const due = this.#pending.filter((step) => step.delay === 1);
    this.#pending = this.#pending.filter((step) => step.delay > 1).map((step) => ({
      ...step,
      delay: step.delay - 1,
    }));
    for (const step of due) this.#perform(step);
  }

  #onIdle(timeoutMs: number): void {
    assertLess(this.#rounds++, MAX_ROUNDS);
    const wakesMs = timeoutMs < 0 ? Infinity : this.world.kernel.nowMs + timeoutMs;
    this.world.assertBytesAccountedFor();
    for (const step of this.#pending.splice(0)) this.#perform(step);
    if (this.#phase === "steps") {
      const steps = this.#script.steps[this.#next++];
      if (steps !== undefined) return this.#begin(steps);
      this.#phase = "drain";
      this.world.kernel.limits = [];
      for (const flow of this.world.flows) if (flow.isOpen) flow.accept();
    }
    if (this.#phase === "drain") {
      // While both ends live and read, all of it arrives: without another byte or end of stream to help.
      const before = this.#progress();
      this.world.flows.forEach((flow) => this.#readAll(flow));
      if (this.#progress() !== before || this.world.kernel.hasReady) return;
      for (const flow of this.world.flows) if (flow.isHealthy) flow.assertDelivered();
      this.#phase = "ending";
      this.#clockRunsFromMs = this.world.kernel.nowMs;
      if (this.#script.ending === "finish") {
        for (const { client, upstream } of this.world.flows) {
          client.finish();
          upstream.finish();
        }
        return;
      }
    }
    this.world.flows.forEach((flow) => this.#readAll(flow));
    if (this.world.flows.every((flow) => !flow.isOpen)) this.world.reactor.stop();
    else if (!this.world.kernel.hasReady) this.#sleepUntil(wakesMs);
  }

  #sleepUntil(wakesMs: number): void {
    if (wakesMs === Infinity) {
      throw new Error("a connection is open, nothing happens, and no timer will end it");
    }
    if (this.#script.ending === "finish") {
      throw new Error("both peers have finished and the connection stays open");
    }
    const { kernel } = this.world;
    kernel.nowMs = Math.max(kernel.nowMs, wakesMs);
  }

  #progress(): number {
    return this.world.flows.reduce(
      (sum, { client, upstream }) =>
        sum + client.received + upstream.received + client.socket.bytesTaken + upstream.socket.bytesTaken,
      0,
    );
  }

  #readAll(flow: Flow): void {
    flow.client.read(Infinity, flow.upstream);
    flow.upstream.read(Infinity, flow.client);
  }

  #begin(steps: readonly Step[]): void {
    for (const step of steps) {
      // A turn takes no time: the relay reads the clock once in it.
      if (step.delay === 0 || step.action.kind === "sleep") this.#perform(step);
      else this.#pending.push(step);
    }
  }

  #perform({ flow: index, action }: Step): void {
    const { kernel, flows } = this.world;
    const flow = flows[index % flows.length]!;
    if (action.kind === "limits") kernel.limits = [...action.limits];
    else if (action.kind === "descriptors") kernel.outOfDescriptors = action.exhausted;
    else if (action.kind === "pipes") {
      kernel.pipeBytes = action.tooSmall ? 8192 : 65536;
      kernel.largestPipeBytes = action.tooSmall ? 8192 : this.#script.largestPipeBytes;
    } else if (action.kind === "sleep") kernel.nowMs += action.ms;
    else this.#performOn(flow, action);
  }

  #performOn(
    flow: Flow,
    action: Exclude<Action, { kind: "limits" | "descriptors" | "pipes" | "sleep" }>,
  ): void {
    if (action.kind === "accept") return flow.accept();
    if (action.kind === "refuse") return flow.connected ? undefined : flow.upstream.die(ECONNREFUSED);
    const [peer, other] = action.side === "client"
      ? [flow.client, flow.upstream]
      : [flow.upstream, flow.client];
    if (peer === flow.upstream && !flow.connected) return;
    switch (action.kind) {
      case "send":
        return peer.send(action.bytes);
      case "read":
        return peer.read(action.bytes, other);
      case "finish":
        return peer.finish();
      case "reset":
        return peer.die(ECONNRESET);
      case "lose":
        return peer.die(ETIMEDOUT);
      case "wake":
        return peer.socket.onWake();
    }
  }
}

Deno.test("relay: every script of peers and kernel ends well", () => {
  fc.assert(fc.property(script, (plan) => new Director(plan).run()), { numRuns: 1000 });
});
