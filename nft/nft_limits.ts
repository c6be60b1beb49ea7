/**
 * What of a plan nft cannot do on any host. Pure; each message names the option.
 *
 * @module
 */
import type { Hold } from "./backend.ts";
import type { PlanIssue } from "./check_plan.ts";
import type { InterceptIntent } from "./intent.ts";
import type { Plan } from "./plan.ts";

/** All that nft cannot do of `plan` where rules are held like that. */
export function nftLimits(plan: Plan, hold: Hold): PlanIssue[] {
  // `nft -f` takes names as they are.
  if (hold === "plain") return [];
  return interfaceNames(plan.intent).flatMap(([option, names]) =>
    // `nft -i`, which owns the table, leaves out every byte that is not ASCII: the rest may be another one's name.
    names.filter((name) => /\P{ASCII}/u.test(name)).map((name) => ({
      option,
      message: `${option}: "${name}" found, ASCII wanted where nft ties rules to a process ` +
        "(--rules iptables and --on-proxy-down closed take other names)",
    }))
  );
}

function interfaceNames(intent: InterceptIntent): [option: string, names: readonly string[]][] {
  const { from, otherInterfaces, select, sidecar } = intent;
  return [
    ["--from", from],
    ["otherInterfaces", otherInterfaces],
    ["--to", select.outgoing.include],
    ["--exclude-to", select.outgoing.exclude],
    ["--exclude-interface", sidecar?.excludeInterfaces ?? []],
    ["--virtual-interface", sidecar?.virtualInterfaces ?? []],
  ];
}
