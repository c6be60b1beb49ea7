/**
 * Which backend is taken on hosts that have rules already, and on hosts where a program is missing.
 */
import { applyPlan, chooseBackend, detectHost, type Exec, findBackendInPlace } from "../../nft/mod.ts";
import { assertEquals } from "../assert.ts";
import { gatewayLab, labTest } from "../lab/mod.ts";
import { gatewayPlan, labExec } from "./nft_lab.ts";

/** A host that lacks programs: as a shell says it. */
function without(exec: Exec, programs: readonly string[]): Exec {
  return {
    run: (argv, options) =>
      programs.includes(argv[0]!)
        ? Promise.resolve({ code: 127, stdout: "", stderr: `${argv[0]}: not found` })
        : exec.run(argv, options),
    open: (argv) => exec.open(argv),
    watch: (argv, onLine) => exec.watch(argv, onLine),
  };
}

const CASES: readonly {
  readonly name: string;
  readonly setup: string;
  readonly missing: readonly string[];
  readonly wanted: string;
}[] = [
  { name: "an empty host", setup: "true", missing: [], wanted: "nft: it works here" },
  {
    name: "iptables-nft rules",
    setup: "iptables-nft -A INPUT -j ACCEPT",
    missing: [],
    wanted: "nft: it works here",
  },
  {
    name: "legacy rules",
    setup: "iptables-legacy -t mangle -A INPUT -j ACCEPT; ip6tables-legacy -A INPUT -j ACCEPT",
    missing: [],
    wanted: "iptables-legacy: its mangle, filter hold rules here, and nft has none",
  },
  {
    name: "legacy tables without rules",
    setup: "iptables-legacy -t mangle -S",
    missing: [],
    wanted: "nft: it works here",
  },
  {
    name: "legacy rules beside nft ones",
    setup: "iptables-legacy -A INPUT -j ACCEPT; iptables-nft -A INPUT -j ACCEPT",
    missing: [],
    wanted: "nft: it works here",
  },
  {
    name: "no nft",
    setup: "true",
    missing: ["nft"],
    wanted: "iptables: nft is not installed, and iptables works here",
  },
  {
    name: "no nft, legacy rules",
    setup: "iptables-legacy -A INPUT -j ACCEPT",
    missing: ["nft"],
    wanted: "iptables-legacy: nft is not installed, and iptables-legacy in use and works here",
  },
  {
    name: "no nft, legacy iptables alone",
    setup: "true",
    missing: ["nft", "iptables-nft", "iptables"],
    wanted: "iptables-legacy: nft is not installed, and iptables-legacy works here",
  },
];

for (const { name, setup, missing, wanted } of CASES) {
  labTest(`choose: ${name}`, async () => {
    await using lab = await gatewayLab();
    const here = lab.host("gateway");
    await here.output(["sh", "-c", setup]);
    const exec = without(labExec(here), missing);
    const { reason } = await chooseBackend(gatewayPlan(), await detectHost(exec), exec);
    assertEquals(reason, wanted);
  });
}

labTest("choose: what is in place, by whichever tool, under the plan's name", async () => {
  await using lab = await gatewayLab();
  const exec = labExec(lab.host("gateway"));
  const host = await detectHost(exec);
  const plan = gatewayPlan();
  assertEquals(await findBackendInPlace(plan, exec), undefined);
  for (const backend of ["iptables-legacy", "iptables", "nft"] as const) {
    const rules = await applyPlan(plan, { exec, host, backend, keep: "kept" });
    const reason = `${backend}: rules of ours are there by it`;
    assertEquals(await findBackendInPlace(plan, exec), { backend, reason });
    const other = { ...plan, intent: { ...plan.intent, tableName: "other" } };
    assertEquals(await findBackendInPlace(other, exec), undefined);
    await rules.revert({ force: true });
  }
});
