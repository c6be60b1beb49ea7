/**
 * Four equal verdicts: every packet of the table goes through the rules of every case, made by nft, iptables-nft and
 * iptables-legacy, with the proxy up and after its end, under both policies; each kernel has to do what `evaluate`
 * says.
 *
 * How one packet's verdict comes about:
 * - A lab has a gateway, whose rules are tried, and a host that sends to it by each of its interfaces (places.ts).
 *   Two programs send bursts (sender_main.ts), one holds the proxy's sockets (sockets_main.ts). Each backend has a
 *   lab of its own; the three work at the same time.
 * - Flows that were there before are opened first, then the rules come, then flows that are to have been taken are
 *   begun; then the table is sent with the proxy up, and again when its sockets have been closed: under the closed
 *   policy with the rules still there, under the open one when the backend has removed them (world.ts).
 * - An nft table around the rules writes down what became of each packet, known by its source port (observer.ts), and
 *   outcome.ts puts that into the words of the interpreter's own result: verdict and port, packet and flow mark, zone,
 *   untracked.
 *
 * A packet more: a value in one of the lists of rows.ts, or a function there for a new kind. What only one row needs
 * to have happened before is its `history` (row.ts); how the kernel is brought there is in bursts.ts, and what the
 * interpreter is told of it in row_packet.ts.
 *
 * A case more: a folder of tests/golden with its intent.json. Its addresses and interfaces are those of places.ts
 * (lan0, lan1, wan0, lo); the edges of its prefixes, ports and resolvers are sent as well (rows_of_case.ts). A selector
 * of a new kind wants its edges there.
 *
 * Not tried here: cgroups, and users and groups other than 0, of which the lab has none; that the three backends give
 * one endpoint to the same worker (each does so by itself); the drain phase.
 *
 * `PARITY_CASES=REGEX` tries only the cases whose names match.
 *
 * @module
 */
import type { BackendName } from "../../nft/backend.ts";
import { BACKENDS } from "../../nft/open_backend.ts";
import type { Plan } from "../../nft/plan.ts";
import { assert, assertEquals } from "../assert.ts";
import { labTest } from "../lab/mod.ts";
import { LEFT_OUT, type ParityCase, readCases } from "./cases.ts";
import { compare, formatDisagreement, RowNumbers, runOf } from "./comparison.ts";
import type { Sightings } from "./observer.ts";
import { tableRows } from "./rows.ts";
import { rowsOfCase } from "./rows_of_case.ts";
import { ParityWorld, type Run } from "./world.ts";

const LEAST_PACKETS = 400, LEAST_CASES = 30;
const SHOWN_DISAGREEMENTS = 40;

/** One case in one policy. */
interface Trial {
  readonly title: string;
  readonly run: Run;
  readonly seen: Map<string, ReadonlyMap<number, Sightings>>;
}

labTest(
  "parity: nft, iptables, iptables-legacy and evaluate agree on every packet of every case",
  async () => {
    const wanted = Deno.env.get("PARITY_CASES");
    const cases = (await readCases()).filter(({ name }) => new RegExp(wanted ?? "").test(name));
    const trials = trialsOf(cases);
    await Promise.all(BACKENDS.map((name) => sendAll(name, trials)));
    const results = trials.map(({ title, run, seen }) => {
      assertEquals([...seen.keys()].sort(), [...BACKENDS].sort(), `${title}: every backend has tried it`);
      return { title, ...compare(run, seen) };
    });
    const sum = (verdict: "pass" | "drop" | "taken") =>
      results.reduce((total, { agreed }) => total + agreed[verdict], 0);
    const [passed, dropped, taken] = [sum("pass"), sum("drop"), sum("taken")];
    const agreed = passed + dropped + taken;
    const disagreements = results.flatMap(({ title, disagreements }) =>
      disagreements.map((disagreement) => formatDisagreement(title, disagreement))
    );
    const packets = trials.map(({ run }) => run.up.rows.length);
    console.log(
      `parity: ${cases.length} cases × ${Math.min(...packets)} to ${
        Math.max(...packets)
      } packets, open and closed, ` +
        `proxy up and down: ${BACKENDS.join(", ")} and evaluate agree on ${agreed} of ` +
        `${
          agreed + disagreements.length
        } packets: ${passed} pass, ${taken} taken, ${dropped} dropped (left out: ${LEFT_OUT.join(", ")})`,
    );
    assert(
      disagreements.length === 0,
      `${disagreements.length} packets of which not all are of one mind:\n` +
        disagreements.slice(0, SHOWN_DISAGREEMENTS).join("\n"),
    );
    if (wanted !== undefined) return;
    assert(Math.min(passed, dropped, taken) > agreed / 50, "a verdict that hardly any packet has");
    assert(cases.length >= LEAST_CASES, `${LEAST_CASES} cases wanted, ${cases.length} found`);
    assert(
      Math.min(...packets) >= LEAST_PACKETS,
      `${LEAST_PACKETS} packets wanted, found ${Math.min(...packets)}`,
    );
  },
  { timeoutMs: 300_000 },
);

labTest("parity: rules of another plan are noticed", async () => {
  const cases = await readCases();
  const planOf = (name: string) => cases.find((other) => other.name === name)!.closed;
  await using world = await ParityWorld.start();
  const rows = tableRows(false);
  const numbers = new RowNumbers();
  for (const [name, least] of [["udp_from", 100], ["tproxy_from_two", 10], ["tproxy_from", 0]] as const) {
    const run = runOf(planOf("tproxy_from"), rows, numbers);
    const other = { ...run, plan: planOf(name) };
    const seen = await world.send(world.backend("nft", other.plan), other);
    const { agreed, disagreements } = compare(run, new Map([["nft", seen]]));
    assert(agreed.pass > 0 && disagreements.length >= least, `${name}: ${disagreements.length} differ`);
    if (least === 0) assertEquals(disagreements, []);
  }
});

function trialsOf(cases: readonly ParityCase[]): Trial[] {
  const numbers = new RowNumbers();
  return cases.flatMap(({ name, open, closed }, i) =>
    policiesOf(name, i, open, closed).map((plan): Trial => {
      const rows = [...tableRows(plan.intent.sidecar !== null), ...rowsOfCase(plan.intent)];
      return {
        title: `${name}, ${plan.intent.onProxyDown}`,
        run: runOf(plan, rows, numbers),
        seen: new Map(),
      };
    })
  );
}

/** Both, but: of the many pairs of a pod's parameters one each, in turn; of closed cases, whose other one is a case. */
function policiesOf(name: string, index: number, open: Plan, closed: Plan): Plan[] {
  if (/^closed_|_closed$/.test(name)) return [closed];
  return name.startsWith("sidecar_pairs_") ? [index % 2 === 0 ? open : closed] : [open, closed];
}

async function sendAll(name: BackendName, trials: readonly Trial[]): Promise<void> {
  await using world = await ParityWorld.start();
  for (const { title, run, seen } of trials) {
    const backend = world.backend(name, run.plan);
    assertEquals(backend.unsupported(run.plan), [], `${name}: ${title}`);
    try {
      seen.set(name, await world.send(backend, run));
    } catch (error) {
      throw new Error(`${name}: ${title}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
  }
}
