/**
 * What rules cost to put in place and to change: `./dev bench rules`.
 *
 * For each backend, in turn, in a gateway of its own: the time to apply a plan with a long list, to swap the list for
 * another one, and to change something else and keep it; then the datagrams lost while the plan is swapped a hundred
 * times under a load of two kinds, taken by the proxy and passed on by an exclusion.
 *
 * @module
 */
import {
  type AppliedRules,
  applyPlan,
  type BackendName,
  buildPlan,
  detectHost,
  type Plan,
} from "../nft/mod.ts";
import { intentWith } from "../tests/fixtures/intents.ts";
import { labExec } from "../tests/kernel/nft_lab.ts";
import type { DatagramLoadResult } from "../tests/lab/datagram_load_main.ts";
import { runLoad } from "../tests/lab/datagram_load_run.ts";
import { GATEWAY_LAB, gatewayLab, type Lab } from "../tests/lab/mod.ts";
import { ProxyRun } from "../tests/e2e/proxy_run.ts";
import { median } from "./summary.ts";

/** What a run of this size looks like. */
export interface RulesSize {
  readonly rounds: number;
  /** In the long list. */
  readonly prefixes: number;
  /** Under load. */
  readonly swaps: number;
}

/** Worth publishing, and enough to see that everything works. */
export const FULL: RulesSize = { rounds: 3, prefixes: 100_000, swaps: 100 };
/** The same in short. */
export const QUICK: RulesSize = { rounds: 1, prefixes: 2_000, swaps: 10 };

const BACKENDS: readonly BackendName[] = ["nft", "iptables", "iptables-legacy"];
/** In the lists that are swapped under load: enough for a set of every backend's own kind. */
const SHORT_LIST = 1_000;
const LOAD = { flows: 20, datagrams: 2_000 } as const;
const LOAD_TIMEOUT_MS = 60_000;

/** One backend's figures of one round. */
interface RulesSample {
  readonly applyMs: number;
  readonly swapListMs: number;
  readonly swapRestMs: number;
  readonly swapUnderLoadMs: number;
  readonly sent: number;
  readonly lost: number;
}

/** Runs everything and gives the table; progress goes to standard error. */
export async function benchRules(size: RulesSize): Promise<string> {
  const samples = new Map<BackendName, RulesSample[]>(BACKENDS.map((name) => [name, []]));
  for (let round = 0; round < size.rounds; round++) {
    for (let turn = 0; turn < BACKENDS.length; turn++) {
      const backend = BACKENDS[(round + turn) % BACKENDS.length]!;
      const sample = await measure(backend, size);
      samples.get(backend)!.push(sample);
      console.error(`round ${round + 1}/${size.rounds}  ${backend.padEnd(15)}  ${JSON.stringify(sample)}`);
    }
  }
  return renderTable(samples, size);
}

async function measure(backend: BackendName, { prefixes, swaps }: RulesSize): Promise<RulesSample> {
  await using lab = await gatewayLab();
  const here = lab.host("gateway");
  const exec = labExec(here);
  const host = await detectHost(exec);
  await using proxy = await ProxyRun.start(here, ["--rules", "none", "--from", "lan0", "--workers", "1"]);
  const started = performance.now();
  await using rules = await applyPlan(planWith(prefixes, 0), { exec, host, backend, keep: "process" });
  const applyMs = performance.now() - started;
  const swapListMs = await timed(() => rules.replace(planWith(prefixes, 1)));
  const swapRestMs = await timed(() => rules.replace(planWith(prefixes, 1, [{ first: 9, last: 9 }])));
  await rules.replace(planWith(SHORT_LIST, 0));
  const loaded = await swapUnderLoad(lab, rules, swaps);
  await rules.revert();
  await proxy.stopByForce();
  return { applyMs, swapListMs, swapRestMs, ...loaded };
}

/** A gateway's plan that leaves alone one of the servers and a list in which nobody is. */
function planWith(prefixes: number, which: number, exclude: { first: number; last: number }[] = []): Plan {
  // Apart from one another, or they would be merged. Nothing is ever sent to them.
  const list = Array.from({ length: prefixes }, (_, i) => {
    const block = 2 * i + which;
    return `${10 + (block >> 20)}.${(block >> 12) & 0xff}.${(block >> 4) & 0xff}.${(block & 0xf) << 4}/32`;
  });
  const { v4b } = GATEWAY_LAB.servers;
  return buildPlan(intentWith({
    udp: "tproxy",
    from: ["lan0"],
    select: {
      destinations: { include: [], exclude: [...list, `${v4b}/32`] },
      tcpPorts: { include: [], exclude },
    },
  }));
}

async function timed(work: () => Promise<void>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

async function swapUnderLoad(
  lab: Lab,
  rules: AppliedRules,
  swaps: number,
): Promise<Pick<RulesSample, "swapUnderLoadMs" | "sent" | "lost">> {
  let sent = 0, lost = 0, isSwapping = true;
  const load = (async () => {
    const deadline = performance.now() + LOAD_TIMEOUT_MS;
    while (isSwapping && performance.now() < deadline) {
      const result = await loadOnce(lab);
      sent += result.sent;
      lost += result.sent - result.answered;
    }
  })();
  const times: number[] = [];
  for (let i = 0; i < swaps; i++) {
    times.push(await timed(() => rules.replace(planWith(SHORT_LIST, (i + 1) % 2))));
  }
  isSwapping = false;
  await load;
  return { swapUnderLoadMs: median(times), sent, lost };
}

/** Half of the flows are taken, half pass by. A server answers each number once, so each load has servers of its own. */
async function loadOnce(lab: Lab): Promise<DatagramLoadResult> {
  const { v4, v4b } = GATEWAY_LAB.servers;
  const internet = lab.host("internet");
  await using taken = await internet.serveDatagrams({ kind: "load", addresses: [v4] });
  await using passed = await internet.serveDatagrams({ kind: "load", addresses: [v4b] });
  return await runLoad(lab.host("client"), { to: [`${v4}:${taken.port}`, `${v4b}:${passed.port}`], ...LOAD });
}

function renderTable(samples: ReadonlyMap<BackendName, readonly RulesSample[]>, size: RulesSize): string {
  const rows: [string, (sample: RulesSample) => number][] = [
    [`apply with ${size.prefixes.toLocaleString("en")} prefixes, ms`, ({ applyMs }) => applyMs],
    ["swap that list for another, ms", ({ swapListMs }) => swapListMs],
    ["change another selector, keep the list, ms", ({ swapRestMs }) => swapRestMs],
    [
      `swap ${SHORT_LIST.toLocaleString("en")} prefixes under load, ms`,
      ({ swapUnderLoadMs }) => swapUnderLoadMs,
    ],
  ];
  const cell = (values: readonly number[]) =>
    `${Math.round(median(values)).toLocaleString("en")} (${
      Math.round(Math.min(...values)).toLocaleString("en")
    }–${Math.round(Math.max(...values)).toLocaleString("en")})`;
  const total = (pick: (sample: RulesSample) => number, of: readonly RulesSample[]) =>
    of.reduce((sum, sample) => sum + pick(sample), 0).toLocaleString("en");
  return [
    `|  | ${[...samples.keys()].join(" | ")} |`,
    `| --- | ${[...samples.keys()].map(() => "---:").join(" | ")} |`,
    ...rows.map(([title, pick]) =>
      `| ${title} | ${[...samples.values()].map((of) => cell(of.map(pick))).join(" | ")} |`
    ),
    `| datagrams lost in ${size.rounds * size.swaps} swaps, of | ${
      [...samples.values()].map((of) =>
        `${total(({ lost }) => lost, of)} of ${total(({ sent }) => sent, of)}`
      )
        .join(" | ")
    } |`,
  ].join("\n");
}
