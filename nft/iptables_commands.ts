/**
 * Plan → the commands that put it where nothing of ours is yet, each with what it reads. Pure: for people, for
 * scripts and for golden files; iptables_backend.ts loads the same rules over what is there.
 *
 * @module
 */
import type { IpFamily } from "../net/address.ts";
import type { IptablesName } from "./iptables_programs.ts";
import { renderRestore } from "./iptables_restore.ts";
import type { Phase, Plan } from "./plan.ts";
import { renderIptables } from "./render_iptables.ts";
import { ipsetName, ipsetsOf, renderIpset } from "./render_ipset.ts";
import type { RulesState } from "./state_comment.ts";

/** A command and its input. */
export interface RestoreCommand {
  readonly argv: readonly string[];
  readonly stdin: string;
}

/** `-w`: waits so many seconds for another program's lock (iptables-legacy) instead of failing. */
export const RESTORE_FLAGS = ["-w", "5", "--noflush"] as const;

/** In order: sets, then the rules of each family. */
export function iptablesCommands(
  name: IptablesName,
  plan: Plan,
  phase: Phase,
  families: readonly IpFamily[],
  life: Pick<RulesState, "by" | "sysctls">,
): RestoreCommand[] {
  const sets = ipsetsOf(plan, families).map((set) =>
    renderIpset(set, ipsetName(plan.intent.tableName, set.name))
  );
  const program = name === "iptables" ? "tables-nft-restore" : "tables-legacy-restore";
  return [
    { argv: ["ipset", "restore"], stdin: sets.join("") },
    ...families.map((family) => ({
      argv: [`${family === 4 ? "ip" : "ip6"}${program}`, ...RESTORE_FLAGS],
      stdin: renderRestore([], renderIptables(plan, phase, family, life)),
    })),
  ].filter(({ stdin }) => stdin !== "");
}

/** The commands as one text, each one's input under a comment that names it. */
export function formatCommands(commands: readonly RestoreCommand[]): string {
  return commands.map(({ argv, stdin }) => `# ${argv.join(" ")}\n${stdin}`).join("\n");
}
