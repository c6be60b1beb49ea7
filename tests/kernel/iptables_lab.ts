/**
 * What the kernel tests of the iptables backends share: a backend that acts in a lab host, plans, and a plan by hand
 * that holds every kind of match and verdict.
 *
 * @module
 */
import { buildPlan } from "../../nft/build_plan.ts";
import type { Backend } from "../../nft/backend.ts";
import { DEFAULT_KERNEL_NUMBERS, type InterceptIntent } from "../../nft/intent.ts";
import { IptablesBackend, type IptablesOptions } from "../../nft/iptables_backend.ts";
import type { IptablesName } from "../../nft/iptables_programs.ts";
import type { Match, Plan, Rule, Verdict } from "../../nft/plan.ts";
import { type IntentChanges, intentWith } from "../fixtures/intents.ts";
import type { LabHost } from "../lab/mod.ts";
import { labExec } from "./nft_lab.ts";

/** Both flavours: every test runs with each. */
export const FLAVOURS: readonly IptablesName[] = ["iptables", "iptables-legacy"];

/** A backend for a lab host. */
export function iptablesBackend(
  host: LabHost,
  name: IptablesName,
  changes: Partial<IptablesOptions> = {},
): IptablesBackend {
  return new IptablesBackend(name, {
    exec: labExec(host),
    ipv6: true,
    tableName: DEFAULT_KERNEL_NUMBERS.tableName,
    hold: "plain",
    by: null,
    sysctls: [],
    afterwards: "",
    ...changes,
  });
}

/** Traffic from lan0 over TPROXY, both protocols, unless `changes` says otherwise. */
export function labIntent(changes: IntentChanges = {}): InterceptIntent {
  return intentWith({
    udp: "tproxy",
    udpWorkers: 3,
    from: ["lan0"],
    otherInterfaces: changes.source === "keep" ? ["wan0"] : [],
    ...changes,
  });
}

/** The plan for {@linkcode labIntent}. */
export function labPlan(changes: IntentChanges = {}): Plan {
  return buildPlan(labIntent(changes));
}

/**
 * The text of `iptables-save` of both flavours and families, without its notes about time and others, and without the
 * counters of policies: the lab's neighbours count there, and iptables-legacy sets them to 0 with every change.
 */
export async function savedRules(host: LabHost): Promise<string> {
  const texts: string[] = [];
  for (const flavour of ["nft", "legacy"]) {
    for (const family of ["iptables", "ip6tables"]) {
      const text = await host.output([`${family}-${flavour}-save`]);
      const lines = text.split("\n").filter((line) => line !== "" && !line.startsWith("#"));
      texts.push(...lines.map((line) => line.replace(/^(:\S+ \S+) .*$/, "$1")));
    }
  }
  return texts.join("\n");
}

/** Names of the host's ipsets. */
export async function ipsetNames(host: LabHost): Promise<string[]> {
  return (await host.output(["ipset", "list", "-n"])).split("\n").filter((name) => name !== "");
}

/** What differs, as sentences. */
export async function differenceTexts(
  backend: Backend,
  plan: Plan,
  phase: "intercept" | "drain" = "intercept",
): Promise<string[]> {
  return (await backend.differences(plan, phase)).map(({ kind, message }) => `${kind}: ${message}`);
}

/** A rule for tests. */
export function rule(id: string, matches: readonly Match[], verdict: Verdict): Rule {
  return { id, during: "always", matches, verdict, why: `says "${id}"`.replaceAll('"', "'") };
}

/** So many prefixes that no two of them are one. */
export function prefixes(count: number, family: 4 | 6 = 4): string[] {
  return Array.from({ length: count }, (_, i) => {
    const [high, low] = [i >> 7, (i & 127) * 2];
    if (family === 6) return `2001:db8:${high.toString(16)}:${low.toString(16)}::/64`;
    return `10.${high >> 8}.${high & 255}.${low}/32`;
  });
}
